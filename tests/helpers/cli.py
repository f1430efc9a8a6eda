"""The command line in a process of its own, and what its errors look like."""

import os
import subprocess
import sys

SMALL = [
    "--total-steps",
    "512",
    "--n-worlds",
    "8",
    "--n-steps",
    "16",
    "--batch-size",
    "64",
    "--d-model",
    "16",
]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


def interact(*arguments, timeout=240, python_path=""):
    command = [sys.executable, "-m", "train.cli", *map(str, arguments)]
    env = {**ENV, "PYTHONPATH": str(python_path)}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env, check=False)


def is_one_line(status, stderr, message):
    assert status == 1
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("interact-env: error: ")
    assert message in lines[0]
