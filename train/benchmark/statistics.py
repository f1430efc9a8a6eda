"""What rows of runs are worth together: interquartile means, profiles and who beats whom, with intervals.

As Agarwal et al. 2021 (arXiv 2108.13264) propose: a stratified bootstrap, which draws runs anew within each
world. Everything is scipy's: `trim_mean`, `mannwhitneyu` and `bootstrap`.
"""

from __future__ import annotations

import warnings
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
    """The share of runs above a threshold: a point of a performance profile."""
    return _bootstrapped(
        lambda *runs, axis: (np.concatenate(runs, axis=axis) > threshold).mean(axis=axis), strata
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
    if all(np.ptp(runs) == 0 for runs in samples):  # one run each, or all alike: nothing to draw
        return Interval(mean, mean, mean)
    widened = [np.repeat(runs, 2) if len(runs) == 1 else runs for runs in samples]  # scipy wants two at least
    options: dict[str, Any] = {"method": "percentile", "n_resamples": _RESAMPLES, "vectorized": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of resamples that are all alike
        found = scipy.stats.bootstrap(widened, statistic, rng=np.random.default_rng(0), **options)
    return Interval(mean, float(found.confidence_interval.low), float(found.confidence_interval.high))
