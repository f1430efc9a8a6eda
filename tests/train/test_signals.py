"""How a training is asked to end."""

import os
import signal

import pytest

from train.signals import Signals, Stop


def test_one_who_asks_twice_is_answered_once():
    """As a benchmark does after Ctrl-C: its own signal finds what the terminal's has begun."""
    with Signals() as signals:
        with pytest.raises(Stop) as stop:
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.value.status == 130
        with pytest.raises(Stop):
            signals.check()
        signals.answer()
        signals.check()


def test_a_second_ctrl_c_ends_at_once():
    with Signals():
        with pytest.raises(Stop):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
