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
from train import checkpoint, disk
from train.config import TrainConfig

CONFIG, LOG, LOCK, HISTORY = "config.json", "progress.csv", ".lock", "resumed.jsonl"
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
        handle = os.open(run / LOCK, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
        with os.fdopen(handle, "w") as file:
            file.write(f"process {os.getpid()} on {platform.node()} since {now}\n")
        yield
    finally:
        lock.release()


def _holder(run: Path) -> str:
    with files.opened_bytes(run / LOCK) as file:
        return file.read(200).decode(errors="replace").strip() or "another process"


def create(config: TrainConfig) -> str:
    """Save how a run is started; its `digest`.

    Raises:
        FileExistsError: the directory holds a run already, or checkpoints.
    """
    if (config.out / CONFIG).exists():
        raise FileExistsError(
            f"--out {config.out} holds a run already: choose another, or go on with --resume"
        )
    if (config.out / checkpoint.LATEST).exists() or checkpoint.kept(config.out):
        raise FileExistsError(f"--out {config.out} holds checkpoints already: choose another")
    about = {"command": sys.argv, **_surroundings(), "config": dataclasses.asdict(config)}
    disk.replace(config.out / CONFIG, (json.dumps(about, indent=2, default=str) + "\n").encode())
    return digest(config.out)


def digest(run: Path) -> str:
    """SHA-256 of how a run was started, which its checkpoints hold."""
    return str(disk.measured(run / CONFIG)["sha256"])


def gone_on(config: TrainConfig) -> list[str]:
    """Note down that a run goes on, and how; what is another now than when it was started.

    To be called with the threads that it will have.
    """
    then, now = files.read_json(config.out / CONFIG), _surroundings()
    free = {"device": config.device, "save_every": config.save_every}
    history = config.out / HISTORY
    before = b""
    if history.exists():
        with files.opened_bytes(history) as file:
            before = file.read(_LARGEST_LOG)
    line = json.dumps({"command": sys.argv, **now, **free}, default=str).encode()
    disk.replace(history, before + line + b"\n")
    pairs = [(name, then["versions"].get(name), found) for name, found in now["versions"].items()]
    pairs += [(name, then.get(name), now[name]) for name in ("threads", "machine", "revision")]
    pairs += [("device", then["config"].get("device"), config.device)]
    return [f"{name} {was} then, {found} now" for name, was, found in pairs if was != found]


def started(run: Path) -> TrainConfig:
    """How a run was started, with the threads that it had.

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
    return TrainConfig(**given)


def _surroundings() -> dict[str, Any]:
    """What the bits of a training depend on, beside its configuration."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    threads = torch.get_num_threads()
    return {"revision": _revision(), "versions": versions, "machine": platform.machine(), "threads": threads}


def _revision() -> str | None:
    """The git commit of this code, where it is in a checkout of its own; "-dirty" where it was changed."""
    here = Path(__file__)
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)  # not merely below some other project
        return _git(here.parent, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def logger(run: Path, env_steps: int) -> Logger:
    """A log in progress.csv and for TensorBoard that goes on from `env_steps`."""
    return Logger(str(run), [_Csv(run / LOG, env_steps), TensorBoardOutputFormat(str(run))])


class _Csv(CSVOutputFormat):
    """progress.csv, gone on with where there is one; what was logged after `env_steps` is made again."""

    def __init__(self, path: Path, env_steps: int) -> None:
        rows = [row for row in _rows(path) if float(row[STEPS]) <= env_steps] if path.exists() else []
        self.keys = list(rows[0]) if rows else []
        lines = [",".join(self.keys), *(",".join(row.values()) for row in rows)] if rows else []
        disk.replace(path, "".join(f"{line}\n" for line in lines).encode())
        self.file = path.open("r+")
        self.file.seek(0, os.SEEK_END)
        self.separator, self.quotechar = ",", '"'


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a log, but those that cannot be read: a killed process may have left one.

    Raises:
        LoadError: it is no file.
    """
    with files.opened_bytes(path) as file:
        text = file.read(_LARGEST_LOG).decode(errors="replace")
    rows = [r for r in csv.DictReader(io.StringIO(text)) if None not in r and None not in r.values()]
    return [row for row in rows if row.get(STEPS) and all(map(_is_number, row.values()))]


def _is_number(text: str) -> bool:
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def read_log(run: Path) -> dict[str, list[float]]:
    """The columns of a run's log; steps without a value are left out of its column."""
    rows = _rows(run / LOG)
    return {name: [float(row[name]) for row in rows if row[name]] for name in (rows[0] if rows else ())}
