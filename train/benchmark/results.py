"""The lines of results.jsonl: what was trained, and what was evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = "results.jsonl"


class Trained(NamedTuple):
    """One training run."""

    world: str
    policy: str
    train_count: str
    seed: int
    parameters: int
    agent_steps: int
    seconds: float
    curve: list[list[float]]
    error: str


class Evaluated(NamedTuple):
    """One policy at one number of agents in one arena."""

    world: str
    policy: str
    train_count: str
    seed: int
    arena: str
    test_count: int
    episodes: int
    values: dict[str, float]
    seconds: float


def read(folder: Path) -> list[Trained | Evaluated]:
    """All lines of a benchmark's results."""
    kinds: dict[str, Any] = {"trained": Trained, "evaluated": Evaluated}
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    return [kinds[line.pop("what")](**line) for line in lines]
