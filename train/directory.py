"""The directory of a run: how it was started, who is writing to it, and its log."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import torch
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat

from policies import files
from train import checkpoint
from train.config import TrainConfig

CONFIG, LOG, LOCK = "config.json", "progress.csv", ".lock"
STEPS = "time/total_timesteps"  # column of the log
_LARGEST_LOG = 2**24  # bytes; ten times what a run writes
_PACKAGES = ("interact-env", "torch", "numpy", "numba", "stable-baselines3", "gymnasium")


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run's directory, made if there is none; the lock ends with the process, however that ends.

    Raises:
        OSError: another process holds it, or it cannot be made.
    """
    run.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(run / LOCK)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise BlockingIOError(f"{run} is being trained in by {_holder(run)}") from None
    try:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        (run / LOCK).write_text(f"process {os.getpid()} on {platform.node()} since {now}\n")
        yield
    finally:
        lock.release()


def _holder(run: Path) -> str:
    with files.opened_bytes(run / LOCK) as file:
        return file.read(200).decode(errors="replace").strip() or "another process"


def create(config: TrainConfig) -> str:
    """Save how a run is started; its `digest`.

    Raises:
        FileExistsError: the directory holds a run already.
    """
    if (config.out / CONFIG).exists():
        raise FileExistsError(
            f"--out {config.out} holds a run already: choose another, or go on with --resume"
        )
    about: dict[str, Any] = {
        "command": sys.argv,
        "revision": _revision(),
        "versions": _versions(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "config": dataclasses.asdict(config),
    }
    checkpoint.replace(config.out / CONFIG, (json.dumps(about, indent=2, default=str) + "\n").encode())
    return digest(config.out)


def digest(run: Path) -> str:
    """SHA-256 of how a run was started, which its checkpoints hold."""
    return str(checkpoint.measured(run / CONFIG)["sha256"])


def started(run: Path) -> tuple[TrainConfig, list[str]]:
    """How a run was started, with the threads that it had, and what is another now than then.

    Raises:
        LoadError: there is no run, or its configuration is damaged.
    """
    if not (run / CONFIG).exists():
        raise files.LoadError(f"{run} holds no run")
    about = files.read_json(run / CONFIG)
    given, threads, then = about.get("config"), about.get("threads"), about.get("versions")
    like = json.loads(json.dumps(dataclasses.asdict(TrainConfig(out=run)), default=str))
    if not isinstance(given, dict) or given.keys() != like.keys():
        raise files.LoadError(f"{run / CONFIG}: is not the configuration of a run")
    if not isinstance(threads, int) or not isinstance(then, dict):
        raise files.LoadError(f"{run / CONFIG}: lacks threads or versions")
    for name, value in like.items():
        if type(given[name]) is not type(value):
            kind, found = type(value).__name__, type(given[name]).__name__
            raise files.LoadError(f"{run / CONFIG}: {name} must be of type {kind}, not {found}")
    given |= {"out": run, "env_params": tuple(map(str, given["env_params"])), "threads": threads}
    now = _versions()
    return TrainConfig(**given), [
        f"{k} {then.get(k)} then, {now[k]} now" for k in now if now[k] != then.get(k)
    ]


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def _revision() -> str | None:
    """The git commit of this code, where it is a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def logger(run: Path, env_steps: int) -> Logger:
    """A log in progress.csv and for TensorBoard that goes on from `env_steps`."""
    return Logger(str(run), [_Csv(run / LOG, env_steps), TensorBoardOutputFormat(str(run))])


class _Csv(CSVOutputFormat):
    """progress.csv, gone on with where there is one; what was logged after `env_steps` is made again."""

    def __init__(self, path: Path, env_steps: int) -> None:
        rows = [row for row in _rows(path) if float(row[STEPS]) <= env_steps] if path.exists() else []
        self.keys = list(rows[0]) if rows else []
        lines = [",".join(self.keys), *(",".join(row.values()) for row in rows)] if rows else []
        checkpoint.replace(path, "".join(f"{line}\n" for line in lines).encode())
        self.file = path.open("r+")
        self.file.seek(0, os.SEEK_END)
        self.separator, self.quotechar = ",", '"'


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a log, but one that a killed process did not finish.

    Raises:
        LoadError: it is none.
    """
    with files.opened_bytes(path) as file:
        text = file.read(_LARGEST_LOG).decode(errors="replace")
    rows = [r for r in csv.DictReader(io.StringIO(text)) if None not in r and None not in r.values()]
    rows = [row for row in rows if row.get(STEPS)]
    try:
        [float(value) for row in rows for value in row.values() if value]
    except ValueError as error:
        raise files.LoadError(f"{path}: is not the log of a run: {error}") from None
    return rows


def read_log(run: Path) -> dict[str, list[float]]:
    """The columns of a run's log; steps without a value are left out of its column."""
    rows = _rows(run / LOG)
    return {name: [float(row[name]) for row in rows if row[name]] for name in (rows[0] if rows else ())}
