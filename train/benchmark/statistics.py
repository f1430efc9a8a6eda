"""What rows of runs are worth together: interquartile means, profiles and who beats whom, with intervals.

As Agarwal et al. 2021 (arXiv 2108.13264) propose: a stratified bootstrap, which draws runs anew within each
world. Everything is scipy's: `trim_mean`, `mannwhitneyu` and `bootstrap`. Of five runs alone a percentile
interval is too narrow: it holds the truth in some 85 of 100 cases. Of five runs in each of several worlds, as
they are put together here, it nearly holds what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

_RESAMPLES = 2000
Strata = Sequence[Sequence[float]]  # runs of each world


class Interval(NamedTuple):
    """An estimate and its 95% percentile interval."""

    mean: float
    low: float
    high: float


def iqm(strata: Strata) -> Interval:
    """The interquartile mean: of all runs but the best and the worst quarter."""
    return _bootstrapped(lambda *runs, axis: _trimmed(np.concatenate(runs, axis=axis), axis), strata)


def above(strata: Strata, threshold: float) -> Interval:
    """The share of runs above a threshold, mean over worlds: a point of a performance profile."""
    return _bootstrapped(
        lambda *runs, axis: np.mean([(r > threshold).mean(axis=axis) for r in runs], axis=0), strata
    )


def improvement(ours: Strata, theirs: Strata) -> Interval:
    """The probability that a run of ours is better than one of theirs in the same world, mean over worlds."""
    n = len(ours)

    def better(*runs: np.ndarray, axis: int) -> np.ndarray:
        worlds = zip(runs[:n], runs[n:], strict=True)
        return np.mean([_superiority(a, b, axis) for a, b in worlds], axis=0)

    return _bootstrapped(better, [*ours, *theirs])


def _trimmed(runs: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(scipy.stats.trim_mean(runs, 0.25, axis=axis))


def _superiority(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """P(a > b) + P(a = b) / 2, which is Mann and Whitney's U over the number of pairs."""
    found = scipy.stats.mannwhitneyu(a, b, axis=axis, method="asymptotic")
    return np.asarray(found.statistic) / (a.shape[axis] * b.shape[axis])


def _bootstrapped(statistic: Callable[..., np.ndarray], strata: Strata) -> Interval:
    samples = [np.asarray(runs, float) for runs in strata]
    mean = float(statistic(*samples, axis=-1))
    drawn = [
        k for k, runs in enumerate(samples) if np.ptp(runs) > 0
    ]  # of one run, or of equal ones: no other
    if not drawn:
        return Interval(mean, mean, mean)

    def anew(*resamples: np.ndarray, axis: int) -> np.ndarray:
        leading = resamples[0].shape[:-1]
        whole = [np.broadcast_to(runs, (*leading, len(runs))) for runs in samples]
        for k, runs in zip(drawn, resamples, strict=True):
            whole[k] = runs
        return statistic(*whole, axis=axis)

    options: dict[str, Any] = {"method": "percentile", "n_resamples": _RESAMPLES, "vectorized": True}
    random = np.random.default_rng(0)
    found = scipy.stats.bootstrap(
        [samples[k] for k in drawn], anew, rng=random, **options
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
