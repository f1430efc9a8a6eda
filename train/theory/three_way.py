r"""T5, three-way interactions: pairs of others decide, and no sum over single others tells.

Every kind of entity is regulated by two others: \(y_i = \sum_{j \ne k} 1[t_j = a(t_i)]\, 1[t_k = b(t_i)]\), i
not among them. One layer of every kind learns it from sets of 20 and is tested with others.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179 (three-way interactions, HyperAttention); the task is ours,
see `train.theory.micro_tasks`, and so are its bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from train.theory import plots
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.learning import n_learned
from train.theory.micro_tasks import N_TRAIN, Reader, three_way, train

TITLE = "T5 three-way interactions"
N_TEST = (2, 20, 200, 1000)
_FAR = 200  # ten times the numbers of training
_KINDS = (4, 8, 16)
_MAIN = 8  # kinds of the comparison across numbers of entities
MODELS = {"ha_linear": "HA of order 3", "sa_linear": "SA", "hfa_linear": "HFA"}
_LEARNED, _UNLEARNED = 1e-4, 0.3
Runs = dict[tuple[str, int], list[dict[str, Any]]]  # what `learned` found, by module and number of kinds


class Job(NamedTuple):
    """A training."""

    name: str
    module: str
    n_kinds: int
    steps: int
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    steps, kinds = (1500, (4, _MAIN)) if effort.quick else (3000, _KINDS)
    jobs = [
        Job(name, effort.module(name), n_kinds, steps, seed)
        for seed in range(effort.seeds)
        for n_kinds in kinds
        for name in MODELS
    ]
    found = side_by_side(
        learned, jobs, effort.workers, report, lambda job: f"{MODELS[job.name]}, {job.n_kinds} kinds"
    )
    runs: Runs = {}
    for job, one in zip(jobs, found, strict=True):
        runs.setdefault((job.name, job.n_kinds), []).append(one)
    data = [{"model": MODELS[name], "kinds": k, "runs": of} for (name, k), of in runs.items()]
    return Outcome(list(_findings(runs)), {"errors": _figure(runs)}, {"trainings": data})


def _findings(runs: Runs) -> Iterator[Finding]:
    for name, title in MODELS.items():
        for n in N_TEST if name == "ha_linear" else (_FAR,):
            values = [one["errors"][str(n)] for one in runs[name, _MAIN]]
            low = _UNLEARNED if name != "ha_linear" else -math.inf
            high = _LEARNED if (name, n) == ("ha_linear", _FAR) else math.inf
            yield Finding(f"error with {n} entities, {title}", values, low, high, ours=True, log=True)
    for k in _kinds(runs):
        if k != _MAIN:
            values = [one["errors"][str(_FAR)] for one in runs["ha_linear", k]]
            quantity = f"error with {_FAR} entities of {k} kinds, {MODELS['ha_linear']}"
            yield Finding(quantity, values, high=_LEARNED, ours=True, log=True)
    for name, title in MODELS.items():
        yield Finding(f"learned numbers, {title}", [runs[name, _MAIN][0]["parameters"]], ours=True)


def _kinds(runs: Runs) -> list[int]:
    return sorted({k for _, k in runs})


def learned(job: Job) -> dict[str, Any]:
    """Train one model: errors by number of entities, and how many numbers it has learned."""
    task = three_way(job.n_kinds)
    errors = train(task, job.module, job.seed, job.steps, N_TEST)
    size = n_learned(Reader(job.module, task.width))
    return {"errors": {str(n): error for n, error in errors.items()}, "parameters": size}


def _figure(runs: Runs) -> Figure:
    figure, (left, right) = plots.panels(2)
    lines = {
        title: [[one["errors"][str(n)] for one in runs[name, _MAIN]] for n in N_TEST]
        for name, title in MODELS.items()
    }
    plots.draw_errors(left, N_TEST, lines)
    left.set(
        xlabel="entities", ylabel="relative squared error", title=f"{_MAIN} kinds, trained with {N_TRAIN}"
    )
    left.legend(frameon=False)
    of_kinds = {
        title: [[one["errors"][str(_FAR)] for one in runs[name, k]] for k in _kinds(runs)]
        for name, title in MODELS.items()
    }
    plots.draw_errors(right, _kinds(runs), of_kinds)
    right.set(xlabel="kinds", ylabel="relative squared error", title=f"{_FAR} entities")
    return figure
