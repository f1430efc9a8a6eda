"""The table behind the report's figures: every policy in every world at every number of agents."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from interact_env.population import population
from train.benchmark.results import ORACLE, Evaluated, Trained
from train.benchmark.statistics import Interval, above, improvement, iqm
from train.config import count

SCORE, GAP, RETURN = "score", "gap", "return"


class Cell(NamedTuple):
    """One number of the table, over runs that differ in their seed."""

    world: str
    arena: str
    policy: str
    train_count: str
    test_count: int
    measure: str
    mean: float  # the interquartile one
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
    known = scores(evaluated)
    for line, score, gap in zip(evaluated, known, gaps(evaluated, known), strict=True):
        train = "" if line.policy == ORACLE else line.train_count
        for measure, value in {SCORE: score, GAP: gap, **line.values}.items():
            if np.isfinite(value):
                found[line.world, line.arena, line.policy, train, line.test_count, measure].append(value)
    return [Cell(*place, *iqm([values]), len(values)) for place, values in found.items()]


def scores(evaluated: Sequence[Evaluated]) -> list[float]:
    """Returns of which random actions have 0 and the oracle 1; nan where one of them is missing.

    Per agent and episode, not per agent step: who leaves early has no steps that would count against him.
    """
    returns = defaultdict(list)
    for line in evaluated:
        returns[line.world, line.arena, line.test_count, line.policy].append(line.values[RETURN])
    found = []
    for line in evaluated:
        place = line.world, line.arena, line.test_count
        least, most = returns.get((*place, "random")), returns.get((*place, ORACLE))
        if not least or not most:
            found.append(float("nan"))
        else:
            low, high = float(np.mean(least)), float(np.mean(most))
            found.append((line.values[RETURN] - low) / (high - low))
    return found


def gaps(evaluated: Sequence[Evaluated], scores: Sequence[float]) -> list[float]:
    """The generalisation gap: what a run's score loses from where it was trained to where it is tested.

    Where it was trained: the mean over tests in the first arena at numbers within those of training; nan
    where there are none, and of scripted policies.
    """
    at_home = defaultdict(list)
    arenas = {line.world: line.arena for line in reversed(evaluated)}
    for line, score in zip(evaluated, scores, strict=True):
        if line.train_count and line.arena == arenas[line.world] and _within(line):
            at_home[_run(line)].append(score)
    homes = (at_home.get(_run(line)) if line.policy != ORACLE else None for line in evaluated)
    return [
        float(np.mean(home)) - score if home else float("nan")
        for home, score in zip(homes, scores, strict=True)
    ]


def _within(line: Evaluated) -> bool:
    low, high = population(count(line.train_count)).range
    return low <= line.test_count <= high


def _run(line: Evaluated) -> tuple[str, str, str, int]:
    return line.world, line.policy, line.train_count, line.seed


class Tested(NamedTuple):
    """How a policy was trained, and the arena it was tested in."""

    arena: str
    train_count: str
    policy: str


def strata(evaluated: Sequence[Evaluated]) -> dict[Tested, dict[tuple[str, int], list[float]]]:
    """Scores of runs by world and number of agents, of learned policies, where there is an oracle."""
    found: dict[Tested, dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for line, score in zip(evaluated, scores(evaluated), strict=True):
        if np.isfinite(score) and line.train_count and line.policy != ORACLE:
            tested = Tested(line.arena, line.train_count, line.policy)
            found[tested][line.world, line.test_count].append(score)
    return found


def overall(evaluated: Sequence[Evaluated]) -> Iterator[tuple[Tested, int, Interval]]:
    """Interquartile means over worlds and runs, by number of agents."""
    for tested, places in strata(evaluated).items():
        for n in sorted({n for _, n in places}):
            yield tested, n, iqm([runs for (_, tests), runs in places.items() if tests == n])


def profiles(evaluated: Sequence[Evaluated]) -> Iterator[tuple[Tested, float, Interval]]:
    """The share of runs above each score, over worlds and numbers of agents."""
    for tested, places in strata(evaluated).items():
        for threshold in np.linspace(0, 1.2, 25):
            yield tested, float(threshold), above(list(places.values()), threshold)


def improvements(evaluated: Sequence[Evaluated]) -> Iterator[tuple[Tested, str, Interval]]:
    """The probability that a run of a policy is better than one of another, in the same world and number."""
    found = strata(evaluated)
    for one, other in itertools.combinations(found, 2):
        places = [place for place in found[one] if place in found[other]]
        if one[:2] == other[:2] and places:
            mean, low, high = improvement(
                [found[one][place] for place in places], [found[other][place] for place in places]
            )
            yield one, other.policy, Interval(mean, low, high)
            yield other, one.policy, Interval(1 - mean, 1 - high, 1 - low)
