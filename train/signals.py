"""SIGINT (Ctrl-C) and SIGTERM while a policy is trained."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_WATCHED = (signal.SIGINT, signal.SIGTERM)


class Stop(BaseException):
    """The process was asked to end; a BaseException, so that nothing on its way takes it for an error."""

    def __init__(self, number: int) -> None:
        """`number` of the signal."""
        super().__init__(number)
        self.status = 128 + number  # exit status, as a shell's: 130 for SIGINT, 143 for SIGTERM


class Signals:
    """While open, the first signal is told by `check`, which is called where the work may be broken off.

    Nothing is raised in the midst of other code, which may hold a lock. Only a second SIGINT raises
    KeyboardInterrupt, wherever it comes. Outside of the main thread, where Python has no signals, it does
    nothing.
    """

    def __init__(self) -> None:
        """Nothing was asked for yet."""
        self._asked = 0
        self._interrupts = 0

    def __enter__(self) -> Signals:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _WATCHED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `Stop` if it was asked for."""
        if self._asked:
            raise Stop(self._asked)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        self._asked = self._asked or number
