"""A training of many hours, in short: nothing grows that should not."""

import csv
import os

import pytest
from killing import child, ended, train_long

from train import directory


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
