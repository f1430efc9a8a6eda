"""Disks that are full, and files that may not grow."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from killing import child, command, ended, start

from train import checkpoint


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped on its way."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    process = child(start, run, {"total_steps": 10**6})
    end = time.monotonic() + 100
    while not (run / checkpoint.LATEST).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    assert ended(process) == 143
    return run


def one_line(path):
    lines = path.read_text().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("interact-env: error: ")
    return lines[0]


@pytest.mark.parametrize("limit", [300, 2_000, 20_000, 60_000])
def test_a_file_that_may_not_grow(stopped, tmp_path, limit):
    run, said = tmp_path / "run", tmp_path / "said"
    shutil.copytree(stopped, run)
    before = checkpoint.load(run)
    assert ended(child(command, ["train", "--resume", run], limit, stderr=said)) == 1
    assert "File too large" in one_line(said)
    after = checkpoint.load(run)
    assert after.env_steps >= before.env_steps
    after.policy()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a disk here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_disk_that_is_full(stopped, tmp_path, small_disk):
    run, said = small_disk / "run", tmp_path / "said"
    shutil.copytree(stopped, run, ignore=shutil.ignore_patterns("events*"))
    room = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(b"0" * max(0, room - 70_000))
    before = checkpoint.load(run)
    assert ended(child(command, ["train", "--resume", run], stderr=said)) == 1
    assert "No space left on device" in one_line(said)
    after = checkpoint.load(run)
    assert after.env_steps >= before.env_steps
    after.policy()
    (small_disk / "filler").unlink()
    assert ended(child(command, ["verify", run], stderr=said)) == 0
