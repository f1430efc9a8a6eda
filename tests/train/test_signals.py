"""How a training is asked to end."""

import os
import signal

import pytest

from train.signals import Signals, Stop


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_is_told_where_the_work_may_be_broken_off(number, status):
    with Signals() as signals:
        signals.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Stop) as stop:
            signals.check()
        assert stop.value.status == status


def test_the_first_of_two_counts():
    """As of a benchmark after Ctrl-C: its own signal finds what the terminal's has begun."""
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stop) as stop:
            signals.check()
        assert stop.value.status == 130


def test_a_second_ctrl_c_ends_at_once():
    with Signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
