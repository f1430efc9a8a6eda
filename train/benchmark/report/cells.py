"""The table behind the report's figures: every policy in every world at every number of agents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from train.benchmark.results import Evaluated
from train.compare import interval

SCORE, REWARD, ORACLE = "score", "reward", "oracle"


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


def is_oracle(line: Evaluated, oracle: str) -> bool:
    """Whether a policy was trained at the very number of agents that it is tested with."""
    return line.policy == ORACLE or (line.policy == oracle and line.train_count == str(line.test_count))


def cells(evaluated: Sequence[Evaluated], oracle: str) -> list[Cell]:
    """All cells, in the order of the results; those without an oracle have no score.

    The oracles' runs come as one policy of the name "oracle", whatever number they were trained at.
    """
    found: dict[tuple[str, str, str, str, int, str], list[float]] = defaultdict(list)
    for line, score in zip(evaluated, scores(evaluated, oracle), strict=True):
        names = [(line.policy, line.train_count)] if line.policy != ORACLE else []
        if is_oracle(line, oracle):
            names.append((ORACLE, ""))
        for policy, train in names:
            for measure, value in {SCORE: score, **line.values}.items():
                if np.isfinite(value):
                    found[line.world, line.arena, policy, train, line.test_count, measure].append(value)
    return [Cell(*place, *interval(values), len(values)) for place, values in found.items()]


def scores(evaluated: Sequence[Evaluated], oracle: str) -> list[float]:
    """Rewards of which random actions have 0 and the oracle 1; nan where one of them is missing."""
    least, most = defaultdict(list), defaultdict(list)
    for line in evaluated:
        place = line.world, line.arena, line.test_count
        if line.policy == "random":
            least[place].append(line.values["reward"])
        if is_oracle(line, oracle):
            most[place].append(line.values["reward"])
    found = []
    for line in evaluated:
        place = line.world, line.arena, line.test_count
        if place in least and place in most:
            low, high = float(np.mean(least[place])), float(np.mean(most[place]))
            found.append((line.values["reward"] - low) / (high - low))
        else:
            found.append(float("nan"))
    return found
