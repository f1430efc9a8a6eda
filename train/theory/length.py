r"""T1, length generalisation: a sum that was learned from 20 agents is right for 2 and for 1,000.

One layer of linear self-attention learns the values of agents on a ring (see `train.theory.ring`) by
gradient descent from C = 0, and is tested with other numbers of agents. Errors are relative to the variance
of the values at that number, or at 20 where it is larger.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179: N = 360, R = 5, training with 20. 100 and 1,000 agents,
the relative error and its bound are ours; so is the link to reinforcement learning.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from train.theory import plots
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.learning import relative_error, tests
from train.theory.ring import EMBEDDINGS, Ring, fourier
from train.theory.theorem import Layer, descend, largest_rate

TITLE = "T1 length generalisation"
N_TRAIN = 20
N_TEST = (2, 5, 10, 20, 30, 40, 100, 1000)
_OF_SOURCE = (2, 5, 10, 20, 30, 40)
_BOUND = 1e-7
_WORLDS = 16


class Job(NamedTuple):
    """A training."""

    ring: Ring
    embedding: str
    steps: int
    module: str
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    ring, steps = (Ring(60, 2), 400) if effort.quick else (Ring(360, 5), 2500)
    jobs = [
        Job(ring, embedding, steps, effort.module("sa_linear"), seed)
        for seed in range(effort.seeds)
        for embedding in EMBEDDINGS
    ]
    found = side_by_side(
        learned, jobs, effort.workers, report, lambda job: f"{job.embedding}, seed {job.seed}"
    )
    by = {
        name: [one for job, one in zip(jobs, found, strict=True) if job.embedding == name]
        for name in EMBEDDINGS
    }
    findings = [_at(name, n, runs) for name, runs in by.items() for n in N_TEST]
    findings += [
        Finding(
            f"error against returns of colliding_agents_v0, {name}",
            [one["returns"] for one in runs],
            high=_BOUND,
            ours=True,
            log=True,
        )
        for name, runs in by.items()
    ]
    data = {name: [{k: v for k, v in one.items() if k != "c"} for one in runs] for name, runs in by.items()}
    return Outcome(findings, _figures(ring, by), {"places": ring.places, "radius": ring.radius, "runs": data})


def _at(name: str, n: int, runs: list[dict[str, Any]]) -> Finding:
    reported = "Theta(1e-7)" if n in _OF_SOURCE else ""
    values = [one["errors"][str(n)] for one in runs]
    return Finding(
        f"error with {n} agents, {name}", values, high=_BOUND, reported=reported, ours=not reported, log=True
    )


def learned(job: Job) -> dict[str, Any]:
    """Train one layer: errors by number of agents, that against measured returns, C, and how it got there."""
    embedding = job.ring.embedding(job.embedding).float()
    generator = torch.Generator().manual_seed(job.seed)

    def draw(sets: int, n: int = N_TRAIN) -> tuple[Tensor, Tensor]:
        places = torch.randint(job.ring.places, (sets, n), generator=generator)
        return embedding[places], job.ring.values(places).float()

    torch.manual_seed(job.seed)
    layer = Layer(job.module, embedding)
    curve = descend(layer, draw, job.steps, largest_rate(N_TRAIN, job.ring.places))
    of_training = float(draw(1000)[1].var())
    places, returns = job.ring.measured(N_TRAIN, _WORLDS, job.seed)
    c = layer.c
    return {
        "errors": {str(n): relative_error(layer, tests(draw, n), of_training) for n in N_TEST},
        "returns": relative_error(layer, [(embedding[places], returns.float())], of_training),
        "curve": curve[:: max(1, len(curve) // 200)],
        "c": None if c is None else embedding @ c @ embedding.T,
    }


def _figures(ring: Ring, by: dict[str, list[dict[str, Any]]]) -> dict[str, Figure]:
    errors = {name: [[one["errors"][str(n)] for one in runs] for n in N_TEST] for name, runs in by.items()}
    figures = {"errors": plots.errors(N_TEST, errors, "agents", "relative squared error", N_TRAIN, _BOUND)}
    first = by[EMBEDDINGS[0]][0]["c"]
    if first is not None:
        figures["c"] = _c(ring, first.double())
    return figures


def _c(ring: Ring, learned: Tensor) -> Figure:
    """The learned C between places beside the designed one, and what both do to waves around the ring."""
    designed, basis = ring.interaction(), fourier(ring.places)
    figure, axes = plots.panels(3)
    for axis, matrix, title in zip(axes, (designed, learned), ("designed C", "learned C"), strict=False):
        image = axis.imshow(matrix.numpy(), vmin=-1, vmax=0, cmap="Blues_r", interpolation="nearest")
        axis.set(title=title, xlabel="place", ylabel="place")
    figure.colorbar(image, ax=axes[:2], shrink=0.8)
    for matrix, name, style in ((designed, "designed", "-"), (learned, "learned", "--")):
        on_waves = (basis.T @ matrix @ basis).diagonal()
        # Of a cosine and a sine, which are equal, the first.
        axes[2].plot([on_waves[0], *on_waves[1::2]], style, color=plots.color(name), label=name)
    axes[2].set(title="C on waves around the ring", xlabel="wave number", ylabel="diagonal of C")
    axes[2].legend(frameon=False)
    return figure
