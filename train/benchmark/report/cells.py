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


def scores(evaluated: Sequence[Evaluated], oracle: str) -> dict[int, float]:
    place = lambda e: (e.world, e.arena, e.test_count)
    rnd, orc = defaultdict(list), defaultdict(list)
    for e in evaluated:
        if e.policy == "random":
            rnd[place(e)].append(e.values["reward"])
        if e.policy == oracle and e.train_count == str(e.test_count):
            orc[place(e)].append(e.values["reward"])
    out = {}
    for k, e in enumerate(evaluated):
        p = place(e)
        out[k] = (
            (e.values["reward"] - np.mean(rnd[p])) / (np.mean(orc[p]) - np.mean(rnd[p]))
            if rnd[p] and orc[p]
            else float("nan")
        )
    return out


def cells(evaluated: Sequence[Evaluated], oracle: str) -> list[Cell]:
    """All cells, in the order of the results; those without an oracle have no score.

    The oracle's runs come once more, as one policy of the name "oracle".
    """
    found: dict[tuple[str, str, str, str, int, str], list[float]] = defaultdict(list)
    normalised = scores(evaluated, oracle)
    for k, line in enumerate(evaluated):
        place = line.world, line.arena, line.policy, line.train_count, line.test_count
        for measure, value in {SCORE: normalised[k], **line.values}.items():
            if np.isfinite(value):
                found[*place, measure].append(value)
                if line.policy == oracle and line.train_count == str(line.test_count):
                    found[line.world, line.arena, ORACLE, "", line.test_count, measure].append(value)
    return [Cell(*place, *interval(values), len(values)) for place, values in found.items()]
