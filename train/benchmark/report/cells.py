"""The table behind the report's figures: every policy in every world at every number of agents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from train.benchmark.results import ORACLE, Evaluated, Trained
from train.compare import interval

SCORE, REWARD = "score", "reward"


class Cell(NamedTuple):
    """One number of the table, over runs that differ in their seed."""

    world: str
    arena: str
    policy: str
    train_count: str
    test_count: int
    measure: str
    mean: float
    low: float  # of the 95% interval
    high: float
    runs: int


def own(trained: Sequence[Trained], evaluated: Sequence[Evaluated]) -> list[Trained]:
    """Runs that ended well and are tested as what they are, not only as an oracle."""
    tested = {(line.policy, line.train_count) for line in evaluated}
    arenas = {line.world: line.arena for line in reversed(evaluated)}  # all train in the first one
    return [
        run
        for run in trained
        if not run.error and (run.policy, run.train_count) in tested and run.arena == arenas.get(run.world)
    ]


def cells(evaluated: Sequence[Evaluated]) -> list[Cell]:
    """All cells, in the order of the results; those without an oracle have no score.

    The oracles come as one policy, whatever number they were trained at.
    """
    found: dict[tuple[str, str, str, str, int, str], list[float]] = defaultdict(list)
    for line, score in zip(evaluated, scores(evaluated), strict=True):
        train = "" if line.policy == ORACLE else line.train_count
        for measure, value in {SCORE: score, **line.values}.items():
            if np.isfinite(value):
                found[line.world, line.arena, line.policy, train, line.test_count, measure].append(value)
    return [Cell(*place, *interval(values), len(values)) for place, values in found.items()]


def scores(evaluated: Sequence[Evaluated]) -> list[float]:
    """Rewards of which random actions have 0 and the oracle 1; nan where one of them is missing."""
    rewards = defaultdict(list)
    for line in evaluated:
        rewards[line.world, line.arena, line.test_count, line.policy].append(line.values["reward"])
    found = []
    for line in evaluated:
        place = line.world, line.arena, line.test_count
        least, most = rewards.get((*place, "random")), rewards.get((*place, ORACLE))
        if not least or not most:
            found.append(float("nan"))
        else:
            low, high = float(np.mean(least)), float(np.mean(most))
            found.append((line.values["reward"] - low) / (high - low))
    return found
