r"""T9, the minimax rate: how fast an interaction of pairs is found, whatever the entities' dimension.

Random interactions with b derivatives (`train.theory.pairs`) are estimated from M sets of N entities, with
\(c\,M^{1/(2b+1)}\) splines, which balances what so few of them cannot follow and what noise makes of so many.
The mean squared error of g on fresh pairs should fall as \(M^{-2b/(2b+1)}\), as if there were no d, N and
rank of A: those 2 d r numbers are found at the faster rate 1/M. That shows only if the splines are many more
than they, so c is large, and the noise small, for with b = 2 what the splines cannot follow must count too.

Source: Zucker, Wang, Lu and Seroussi 2025, arXiv 2510.11789; rates, b and d after its figure, as third-party
notes tell of it; N, the ranks, the noise and c are ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import linregress

from train.theory import plots
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.pairs import estimate, law

TITLE = "T9 minimax rate"
_SEEDS = 20
_NOISE = 2e-4
_TESTED = 20_000  # pairs
_SLACK = 0.05  # of a slope
_BASE = (5, 2, 1)  # d, N and rank, from which one is changed at a time


class Spline(NamedTuple):
    """Splines for interactions of a smoothness: c, their degree, and the slope that is reported."""

    c: float
    degree: int
    reported: str


SPLINES = {2: Spline(20, 3, "-0.800"), 7: Spline(60, 7, "-0.933")}  # by b


class Job(NamedTuple):
    """Interactions of one kind, and the sizes of samples they are found from."""

    smoothness: int
    d: int
    n: int
    rank: int
    sizes: tuple[int, ...]
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    sizes = (1000, 4000, 16_000) if effort.quick else (2000, 6300, 20_000, 63_000, 200_000)
    seeds = effort.seeds if effort.quick else max(effort.seeds, _SEEDS)
    kinds = list(_kinds((1, 5) if effort.quick else (1, 5, 30), changed=not effort.quick))
    jobs = [Job(*kind, sizes, seed) for kind in kinds for seed in range(seeds)]
    found = side_by_side(errors, jobs, effort.workers, report, _name)
    runs: dict[tuple[int, int, int, int], list[list[float]]] = {}
    for job, one in zip(jobs, found, strict=True):
        runs.setdefault(job[:4], []).append(one)
    findings = list(_findings(runs, sizes, judged=not effort.quick))
    data = [{"b, d, N, rank": kind, "sizes": sizes, "errors": of} for kind, of in runs.items()]
    return Outcome(findings, {"rates": _figure(runs, sizes)}, {"noise": _NOISE, "runs": data})


def _kinds(dimensions: tuple[int, ...], changed: bool) -> Iterator[tuple[int, int, int, int]]:
    """b, d, N and rank."""
    _, n, rank = _BASE
    yield from ((b, d, n, rank) for b, d in itertools.product(SPLINES, dimensions))
    if changed:
        yield from ((2, _BASE[0], other, rank) for other in (4, 8))
        yield from ((2, _BASE[0], n, other) for other in (2, 4))


def _name(job: Job) -> str:
    return f"b {job.smoothness}, d {job.d}, {job.n} entities, rank {job.rank}"


def errors(job: Job) -> list[float]:
    """The mean squared error of g on fresh pairs, for each size of the sample, as many answers for any N."""
    return [_error(job, size * _BASE[1] // job.n) for size in job.sizes]


def _error(job: Job, size: int) -> float:
    random = np.random.default_rng((job.seed, size))
    truth = law(job.d, job.rank, job.smoothness, np.random.default_rng(job.seed))
    x, y = truth.draw(size, job.n, _NOISE, random)
    c, degree, _ = SPLINES[job.smoothness]
    n_splines = round(c * size ** (1 / (2 * job.smoothness + 1)))
    found = estimate(x, y, job.rank, n_splines, degree, random)
    one, other = random.standard_normal((2, _TESTED, job.d))
    return float(np.mean((found.interaction(one, other) - truth.interaction(one, other)) ** 2))


def slopes(sizes: tuple[int, ...], runs: list[list[float]]) -> list[float]:
    """Of the logarithm of the error in that of the sample's size, for each run."""
    return [float(linregress(np.log(sizes), np.log(one)).slope) for one in runs]


def _rate(smoothness: int) -> float:
    return -2 * smoothness / (2 * smoothness + 1)


def _findings(
    runs: dict[tuple[int, int, int, int], list[list[float]]], sizes: tuple[int, ...], judged: bool
) -> Iterator[Finding]:
    for (b, d, n, rank), of in runs.items():
        # The samples of --quick are too small for more.
        slack = _SLACK if judged else 0.3
        low, high = _rate(b) - slack, _rate(b) + slack
        theirs = (n, rank) == _BASE[1:]
        quantity = f"slope with b = {b}, d = {d}" + ("" if theirs else f", {n} entities, rank {rank}")
        reported = SPLINES[b].reported if theirs else "the same"
        yield Finding(quantity, slopes(sizes, of), low, high, reported)
    for (b, d, n, rank), of in runs.items():
        values = [one[-1] for one in of]
        quantity = (
            f"error with b = {b}, d = {d}, {n} entities, rank {rank}, from {sizes[-1] * _BASE[1]:,} answers"
        )
        yield Finding(quantity, values, ours=True, log=True)


def _figure(runs: dict[tuple[int, int, int, int], list[list[float]]], sizes: tuple[int, ...]) -> Figure:
    figure, axes = plots.panels(len(SPLINES))
    for axis, b in zip(axes, SPLINES, strict=True):
        mine = {kind: of for kind, of in runs.items() if kind[0] == b}
        lines = {
            f"d {d}, N {n}, rank {rank}": np.transpose(of).tolist() for (_, d, n, rank), of in mine.items()
        }
        plots.draw_errors(axis, sizes, lines)
        first = float(np.exp(np.mean(np.log(next(iter(lines.values()))[0]))))
        expected = first * (np.array(sizes) / sizes[0]) ** _rate(b)
        axis.plot(sizes, expected, color="0.4", lw=1, ls=":", label=f"slope {_rate(b):.3f}")
        axis.set(
            xlabel="sets of two, or as many answers of more",
            ylabel="squared error of g",
            title=f"{b} derivatives",
        )
        axis.legend(frameon=False, fontsize=7)
    return figure
