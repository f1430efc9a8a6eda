"""SIGINT (Ctrl-C) and SIGTERM while a policy is trained."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_WATCHED = (signal.SIGINT, signal.SIGTERM)


class Stop(BaseException):
    """The process was asked to end; a BaseException, so that nothing on its way takes it for an error."""

    def __init__(self, number: int) -> None:
        """`number` of the signal."""
        super().__init__(number)
        self.status = 128 + number  # exit status, as a shell's: 130 for SIGINT, 143 for SIGTERM


class Signals:
    """While open, the first signal raises `Stop`, at once or at the end of what is shielded.

    A second SIGINT raises KeyboardInterrupt, wherever it comes. Outside of the main thread, where Python has
    no signals, it does nothing.
    """

    def __init__(self) -> None:
        """Nothing was asked for yet."""
        self._asked = 0
        self._interrupts = 0
        self._answered = False
        self._shielded = False

    def __enter__(self) -> Signals:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _WATCHED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """Put `Stop` off to the end of this stretch."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        self.check()

    def check(self) -> None:
        """Raise `Stop` if it was put off, or got lost: Python drops what is raised in a `__del__`."""
        if self._asked and not self._answered:
            raise Stop(self._asked)

    def answer(self) -> None:
        """`Stop` has been caught: it comes no more."""
        self._answered = True

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        if self._asked:  # a `Stop` is on its way: another would leave the handler of the first
            return
        self._asked = number
        if not self._shielded:
            self.check()
