"""How many agents an episode has: a number, a range, or counts with weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from interact_env import check


class Population(NamedTuple):
    """The numbers of agents that an episode may have, ascending, and how often each is drawn."""

    counts: Sequence[int]
    weights: tuple[float, ...] | None = None  # None: all alike

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest count."""
        return self.counts[0], self.counts[-1]

    def thresholds(self) -> np.ndarray:
        """Words of 32 bits (K - 1,) uint64: count k is drawn by a word that reaches k of them."""
        if self.weights is None:
            n = len(self.counts)
            return (-(-np.arange(1, n) * 2**32 // n)).astype(np.uint64)  # rounded up
        shares = [Fraction(w) for w in self.weights]
        total, below = sum(shares), Fraction(0)
        found = []
        for share in shares[:-1]:
            below += share
            found.append(math.ceil(2**32 * below / total))
        return np.array(found, np.uint64)


def population(value: Any) -> Population:
    """Read the parameter `n_agents` of a world.

    Args:
        value: a number, a (low, high) range in which every number is as likely, or a list of
            (count, weight) pairs, the weights in any unit: [(4, 1), (16, 3)].

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, list | tuple) and any(isinstance(pair, list | tuple) for pair in value):
        return _weighted(value)
    low, high = check.count_range("n_agents", value)
    return Population(range(low, high + 1))


def _weighted(pairs: Any) -> Population:
    if any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
        raise ValueError(f"n_agents must be a list of (count, weight) pairs, not {pairs!r}")
    weights: dict[int, float] = {}
    for k, (given, weight) in enumerate(pairs):
        count = check.whole(f"n_agents[{k}][0]", given, 1, check.MOST_AGENTS)
        if count in weights:
            raise ValueError(f"n_agents must name each count once, not {pairs!r}")
        weights[count] = check.real(f"n_agents[{k}][1]", weight, 0, above=True)
    counts = tuple(sorted(weights))
    return Population(counts, tuple(weights[count] for count in counts))
