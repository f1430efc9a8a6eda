"""kill -9, whenever it comes."""

import contextlib
import os
import random
import signal
import time

import pytest
import torch
from killing import child, ended, kill_after, resume, save_for_ever, start, weights_of

from policies import LoadError
from train import checkpoint, directory

TRIALS = [pytest.param(k, marks=[pytest.mark.long] if k >= 3 else []) for k in range(20)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of a run that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert ended(child(start, run)) == 0
    return weights_of(run)


@pytest.mark.parametrize("trial", TRIALS)
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path, whole, trial):
    run, chance = tmp_path / "run", random.Random(trial)
    process = child(start, run)
    # A moment within the run, however fast the machine is: so long after one of its 24 checkpoints.
    wait_for(run, chance.randrange(20) if trial else 0)
    kill_after(process, chance.uniform(0, 0.2))
    assert process.exitcode == -signal.SIGKILL, "in the middle"
    if (run / directory.CONFIG).exists():
        assert ended(child(resume, run)) == 0
    else:  # it had not begun
        assert ended(child(start, run)) == 0
    assert weights_of(run) == whole
    assert not list(run.glob(".step_*"))


def wait_for(run, checkpoints):
    """Until there have been so many."""
    end = time.monotonic() + 100
    while checkpoints:
        assert time.monotonic() < end
        with contextlib.suppress(LoadError):
            if checkpoint.load(run).env_steps >= 64 * checkpoints:
                return
        time.sleep(0.01)


@pytest.mark.parametrize("trial", TRIALS)
def test_whatever_moment_a_save_is_killed_a_checkpoint_loads(tmp_path, trial):
    run, count = tmp_path / "run", tmp_path / "count"
    process = child(save_for_ever, run, count)
    end = time.monotonic() + 100
    while not (run / checkpoint.LATEST).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    kill_after(process, random.Random(trial).uniform(0, 0.5))
    assert process.exitcode == -signal.SIGKILL
    saved, begun = checkpoint.load(run), int(count.read_text())
    assert saved.env_steps in (begun - 1, begun), "the one before, or the one that was being written"
    weights = saved.weights({"weight": torch.zeros(1)})
    with saved.training() as tensors:
        values = {float(tensors.read(name, torch.zeros(250_000)).mean()) for name in tensors.names}
    assert {float(weights["weight"]), *values} == {float(saved.env_steps)}


def test_two_trainings_in_one_directory(tmp_path):
    run = tmp_path / "run"
    first = child(start, run, {"total_steps": 4 * 64})
    end = time.monotonic() + 100
    while not (run / directory.CONFIG).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)  # so that it is still there when the second comes
    try:
        for second in (resume, start):
            with pytest.raises(BlockingIOError) as error:
                second(run)
            message = str(error.value)
            assert f"{run} is being trained in by process {first.pid} on " in message
            assert " since 20" in message
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert ended(first) == 0, "unharmed"
    undisturbed = tmp_path / "undisturbed"
    assert ended(child(start, undisturbed, {"total_steps": 4 * 64})) == 0
    assert weights_of(run) == weights_of(undisturbed)


def test_the_lock_of_a_process_that_is_gone_is_none(tmp_path):
    run = tmp_path / "run"
    process = child(start, run, {"total_steps": 10**6})
    end = time.monotonic() + 100
    while not (run / checkpoint.LATEST).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    kill_after(process, 0)
    assert f"process {process.pid} on " in (run / directory.LOCK).read_text(), "it is left behind"
    with directory.locked(run), pytest.raises(BlockingIOError), directory.locked(run):
        raise AssertionError("not reached")
    with contextlib.suppress(LoadError):
        checkpoint.load(run)
