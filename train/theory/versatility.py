r"""T3, versatility: data that tell all entities apart teach what holds for others; degenerate data do not.

Sets of entities of 12 kinds, whose interactions are drawn. In versatile data all kinds are drawn alike; in
degenerate data two of them only ever come together. `train.theory.diversity` has to tell which is which, and
name the two; linear self-attention learns both kinds of data, and is tested with versatile data.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179, Assumption 4.2: full rank with probability
\(1 - e^{-\gamma B}\) of B samples, as third-party notes tell of it. The task, the degenerate data and the
bounds are ours; gamma is about \(2 \ln(12 / 11) = .174\), that of collecting all 12 kinds two by two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import torch
from matplotlib.figure import Figure
from torch import Tensor

from train.theory import plots
from train.theory.diversity import diagnose, of_sets
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.learning import Set, relative_error, tests
from train.theory.theorem import Layer, descend, largest_rate

TITLE = "T3 versatility"
N_KINDS, N_TRAIN = 12, 20
TOGETHER = (3, 7)  # kinds of degenerate data of which as many are in every set
_FEW = 3  # entities of a set whose ranks are counted: of 20, 12 sets are nearly always enough
_SAMPLES = (12, 18, 24, 30, 36, 42, 48, 96)  # sets
_DATA = ("versatile", "degenerate")
_LEARNED, _UNLEARNED = 1e-7, 1e-2


class Job(NamedTuple):
    """Data of one seed."""

    module: str
    steps: int
    trials: int
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    steps, trials = (600, 500) if effort.quick else (3000, 5000)
    jobs = [Job(effort.module("sa_linear"), steps, trials, seed) for seed in range(effort.seeds)]
    runs = side_by_side(measured, jobs, effort.workers, report, lambda job: f"seed {job.seed}")
    return Outcome(list(_findings(runs)), {"rank": _figure(runs)}, {"samples": _SAMPLES, "runs": runs})


def _findings(runs: list[dict[str, Any]]) -> Iterator[Finding]:
    def of(name: str) -> list[float]:
        return [one[name] for one in runs]

    yield Finding(
        f"full rank of {_SAMPLES[-1]} sets, part of trials", [one["full"][-1] for one in runs], low=0.99
    )
    yield Finding("gamma, of 1 - e^(-gamma B)", of("gamma"), low=0.15, high=0.2, ours=True)
    yield Finding("degenerate data that are flagged, with the two", of("flagged"), low=1.0, ours=True)
    yield Finding("versatile data that are flagged", of("wrongly"), high=0.0, ours=True)
    for data in _DATA:
        yield Finding(
            f"error on its own data, {data}", of(f"own, {data}"), high=_LEARNED, log=True, ours=True
        )
    yield Finding("error elsewhere, versatile", of("versatile"), high=_LEARNED, ours=True, log=True)
    yield Finding("error elsewhere, degenerate", of("degenerate"), low=_UNLEARNED, ours=True, log=True)


def measured(job: Job) -> dict[str, Any]:
    """How often so many sets are of full rank, what is flagged, and errors of layers that learned."""
    generator = torch.Generator().manual_seed(job.seed)
    full = [_full_rank(n, job.trials, generator) for n in _SAMPLES]
    degenerate = [diagnose(of_sets(kinds(64, N_TRAIN, True, generator).tolist())) for _ in range(10)]
    versatile = [diagnose(of_sets(kinds(64, N_TRAIN, False, generator).tolist())) for _ in range(10)]
    pair = tuple(sorted(map(str, TOGETHER)))
    named = [all(tuple(sorted(one.confused)) == pair for one in found) for found in degenerate]
    return {
        "full": full,
        "gamma": gamma(full),
        "flagged": float(np.mean(named)),
        "wrongly": float(np.mean([not all(one.versatile for one in found) for found in versatile])),
        **_errors(job, "versatile"),
        **_errors(job, "degenerate"),
    }


def kinds(sets: int, n: int, degenerate: bool, generator: torch.Generator) -> Tensor:
    """Kinds of entities, (sets, n); in degenerate data each set has as many of the one as of the other."""
    drawn = torch.randint(N_KINDS, (sets, n), generator=generator)
    if not degenerate:
        return drawn
    one, other = TOGETHER
    # In neighbouring places: what would be one of the two becomes both.
    first, second = drawn[:, 0::2], drawn[:, 1::2]
    both = (first == one) | (first == other)
    stray = ~both & ((second == one) | (second == other))
    spare = torch.tensor([k for k in range(N_KINDS) if k not in TOGETHER])
    second = torch.where(stray, spare[first % len(spare)], second)
    return torch.stack([torch.where(both, one, first), torch.where(both, other, second)], dim=2).flatten(1)


def _full_rank(sets: int, trials: int, generator: torch.Generator) -> float:
    """Part of the trials in which what the first of three in each of so many sets has met is of full rank."""
    met = torch.randint(N_KINDS, (trials * sets, _FEW - 1), generator=generator)
    counts = torch.nn.functional.one_hot(met, N_KINDS).sum(1).double().reshape(trials, sets, N_KINDS)
    return float((torch.linalg.matrix_rank(counts) == N_KINDS).double().mean())


def gamma(full: list[float]) -> float:
    """Rate at which the probability of less than full rank falls with the samples, by its logarithms."""
    short = [(n, 1 - part) for n, part in zip(_SAMPLES, full, strict=True) if 0 < part < 1]
    sets, parts = zip(*short, strict=True)
    return -float(scipy.stats.linregress(sets, np.log(parts)).slope)


def _errors(job: Job, data: str) -> dict[str, float]:
    """Of a layer that learned from either data: on its own, and on versatile data."""
    generator = torch.Generator().manual_seed(job.seed)
    f = torch.randn(N_KINDS, N_KINDS, generator=generator, dtype=torch.float64)
    one_hot = torch.eye(N_KINDS, dtype=torch.float64)

    def draw(sets: int, n: int = N_TRAIN, degenerate: bool = data == "degenerate") -> Set:
        drawn = kinds(sets, n, degenerate, generator)
        return one_hot[drawn], f[drawn[:, :, None], drawn[:, None, :]].sum(-1) - f.diagonal()[drawn]

    layer = Layer(job.module, one_hot)
    descend(layer, draw, job.steps, largest_rate(N_TRAIN, N_KINDS) / 2)
    elsewhere = relative_error(layer, tests(lambda sets, n: draw(sets, n, False), N_TRAIN))
    return {f"own, {data}": relative_error(layer, tests(draw, N_TRAIN)), data: elsewhere}


def _figure(runs: list[dict[str, Any]]) -> Figure:
    figure, (left, right) = plots.panels(2)
    for color, one in zip(plots.COLORS, runs, strict=False):
        left.plot(_SAMPLES, [1 - part for part in one["full"]], "o-", ms=4, color=color, lw=1)
    left.set(xlabel="sets", ylabel="part of trials short of full rank", yscale="symlog")
    left.set_yscale("symlog", linthresh=1e-3)
    left.grid(alpha=0.3)
    for k, data in enumerate(_DATA):
        for where, marker in ((f"own, {data}", "o"), (data, "s")):
            right.scatter([k] * len(runs), [one[where] for one in runs], marker=marker, color=plots.COLORS[k])
    right.set_xticks([0, 1], ["versatile data", "degenerate data"])
    right.set(yscale="log", ylabel="relative squared error", xlim=(-0.5, 1.5))
    right.set_title("on data like its own (round), elsewhere (square)", fontsize=9)
    right.grid(alpha=0.3, axis="y")
    return figure
