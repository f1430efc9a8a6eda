"""A training of many hours, in short: nothing grows that should not."""

import csv
import os

import pytest
from killing import TINY, child, ended

from train import directory, training
from train.config import TrainConfig


def train_long(run, out, iterations):
    """Train, and write down memory and open files at every hundredth of the way."""
    small = {"n_worlds": 2, "n_steps": 4, "batch_size": 8, "n_epochs": 1, "d_model": 8, "n_agents": "2"}
    config = TrainConfig(out=run, **{**TINY, **small, "total_steps": 8 * iterations, "save_every": "800"})
    with open(out, "w") as file:

        def report(progress):
            if progress.env_steps % (8 * iterations // 100) == 0:
                with open("/proc/self/statm") as statm:
                    resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
                print(progress.env_steps, resident, len(os.listdir("/proc/self/fd")), file=file, flush=True)

        return training.train(config, report)


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [2000, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_twelve_hours_of_training_in_minutes(tmp_path, iterations):
    run, out = tmp_path / "run", tmp_path / "measured"
    assert ended(child(train_long, run, out, iterations), 900) == 0
    measured = [[float(word) for word in line.split()] for line in out.read_text().splitlines()]
    assert len(measured) == 100
    resident = [row[1] for row in measured[10:]]
    assert max(resident) - resident[0] < 20, "megabytes"
    assert len({row[2] for row in measured[10:]}) == 1, "open files"
    with (run / directory.LOG).open(newline="") as file:
        assert 600 <= len(list(csv.DictReader(file))) <= 1000
    assert sum(path.stat().st_size for path in run.rglob("*")) < 3e6, "bytes of logs and checkpoints"
