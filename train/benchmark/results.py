"""What a benchmark found, one line of JSON a finished thing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from policies import LoadError, files

FILE = "results.jsonl"
_LARGEST = 2**30  # bytes


class Trained(NamedTuple):
    """A training run that ended."""

    world: str  # the name in the grid
    policy: str  # architecture
    train_count: str  # as in the grid: "8", "2-16"
    arena: str
    seed: int
    parameters: int
    agent_steps: int
    seconds: float
    curve: list[list[float]]  # [agent steps, reward per agent step]
    error: str  # "" or why it failed


class Evaluated(NamedTuple):
    """A policy at a number of agents."""

    world: str
    policy: str  # architecture, or scripted policy, or ORACLE
    train_count: str  # "" of a scripted policy
    arena: str
    seed: int
    test_count: int
    episodes: int
    values: dict[str, float]  # "return" per agent and episode; "reward" and each metric: mean per agent step
    seconds: float


Line = Trained | Evaluated
ORACLE = "oracle"  # an architecture trained at the very number, and in the arena, of the test
_KINDS: dict[str, type[Trained] | type[Evaluated]] = {"trained": Trained, "evaluated": Evaluated}


def failed(run: Iterable[Any], why: str) -> Trained:
    """The line of a run (world, policy, train count, arena, seed) that failed, or one of whose tests did."""
    world, policy, train_count, arena, seed = run
    why = " ".join(why.split())
    return Trained(world, policy, train_count, arena, seed, 0, 0, 0.0, [], why)


def key(line: Line) -> tuple[Any, ...]:
    """What a line is about; there is one of each, but for those that tell of a failure."""
    if isinstance(line, Trained):
        return (*line[:5], line.error)
    return line[:6]


def text(line: Line) -> str:
    """A line as JSON."""
    what = next(name for name, kind in _KINDS.items() if isinstance(line, kind))
    return json.dumps({"what": what, **line._asdict()})


def append(path: Path, line: Line) -> None:
    """Add a line and let it reach the disk; what a kill left of one before is ended first."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, b"\n" * torn + text(line).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> list[Line]:
    """All lines; one that a kill has torn is left out. None where there is no file yet.

    Raises:
        LoadError: it is no file, or a line is none of ours.
    """
    if not path.exists():
        return []
    with files.opened_bytes(path) as file:
        lines = file.read(_LARGEST).decode(errors="replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            about = json.loads(line or "0")
        except ValueError:
            continue  # torn
        if about:
            found.append(parsed(about, f"{path}, line {number}"))
    return found


def parsed(about: Any, where: str) -> Line:
    """A line from JSON.

    Raises:
        LoadError: it is none; `where` it is from.
    """
    kind = _KINDS.get(str(about.get("what"))) if isinstance(about, dict) else None
    if kind is None or about.keys() != {"what", *kind._fields}:
        raise LoadError(f"{where}: is not a line of a benchmark")
    return kind(**{name: about[name] for name in kind._fields})
