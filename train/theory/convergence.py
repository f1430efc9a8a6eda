r"""T2, convergence: gradient descent from C = 0 finds the interaction, with whatever parameters.

Linear self-attention \((X C X^T) X w\) learns the values of agents on a ring, C and w together, each seed
from other positive w. What it does is told by the terms \(t_{\mu\nu} = (x_\mu^T C x_\nu)(x_\nu^T w)\) and
their sums \(T_\mu = \sum_\nu t_{\mu\nu}\): these have to come to the designed ones, though C does not.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179, Theorem 4.4 (convergence from C = 0) and Corollary 4.9
(other parameters, equal T), as third-party notes tell of them. The terms before they are summed, that w is
learned too, the long training and its bound are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from train.theory import plots
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.learning import Set
from train.theory.ring import Ring
from train.theory.theorem import Layer, descend, largest_rate

TITLE = "T2 convergence"
N_TRAIN = 20
_CHECKS = 20  # looks at the layer on its way
_SHORT = 0.4  # part of the training after which the source's bound should hold
_REPORTED, _LONG, _OTHER = 1e-4, 1e-8, 0.01


class Job(NamedTuple):
    """A training."""

    ring: Ring
    steps: int
    module: str
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    ring, steps = (Ring(40, 2), 2000) if effort.quick else (Ring(120, 5), 6000)
    jobs = [Job(ring, steps, effort.module("sa_linear"), seed) for seed in range(effort.seeds)]
    runs = side_by_side(learned, jobs, effort.workers, report, lambda job: f"seed {job.seed}")
    data = [{"steps": one["steps"], "terms": one["terms"], "sums": one["sums"]} for one in runs]
    figures = {"convergence": _figure(runs)} if runs[0]["c"] is not None else {}
    about = {"places": ring.places, "radius": ring.radius}
    return Outcome(list(_findings(runs)), figures, {**about, "runs": data})


def _findings(runs: list[dict[str, Any]]) -> Iterator[Finding]:
    short = round(_SHORT * len(runs[0]["steps"])) - 1
    for name, title in (("sums", "T"), ("terms", "the terms of T")):
        ours = name == "terms"
        for k, bound, reported in ((short, _REPORTED, "" if ours else "<= 1e-4"), (-1, _LONG, "")):
            quantity = f"squared distance of {title} from the designed, {runs[0]['steps'][k]:,} steps"
            values = [one[name][k] for one in runs]
            yield Finding(quantity, values, high=bound, reported=reported, ours=not reported, log=True)
    if runs[0]["c"] is None or len(runs) == 1:
        return
    for name, bounds in (("c", (_OTHER, float("inf"))), ("t", (-float("inf"), _LONG))):
        title = "C" if name == "c" else "the terms of T"
        values = [_apart(one[name], runs[0][name]) for one in runs[1:]]
        yield Finding(
            f"relative squared distance of {title} between seeds", values, *bounds, ours=True, log=True
        )


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().sum() / b.square().sum())


def learned(job: Job) -> dict[str, Any]:
    """Train one layer: squared distances on the way, and C and the terms of T at the end, (N, N)."""
    torch.manual_seed(job.seed)
    generator = torch.Generator().manual_seed(job.seed)
    embedding, designed = job.ring.embedding("one-hot"), job.ring.interaction()

    def draw(sets: int) -> Set:
        places = torch.randint(job.ring.places, (sets, N_TRAIN), generator=generator)
        return embedding[places], job.ring.values(places)

    values = 0.5 + 2.5 * torch.rand(job.ring.places, generator=generator, dtype=embedding.dtype)
    layer = Layer(job.module, embedding, values)
    # The gradient by C grows with w, and that by w with the sums of C.
    rate = largest_rate(N_TRAIN, job.ring.places) / 2 / float(values.max()) ** 2
    found: dict[str, Any] = {"steps": [], "terms": [], "sums": []}
    for k in range(_CHECKS):
        descend(layer, draw, job.steps // _CHECKS, rate)
        t = terms(layer, embedding)
        found["steps"].append((k + 1) * (job.steps // _CHECKS))
        found["terms"].append(float((t - designed).square().mean()))
        found["sums"].append(float((t - designed).sum(1).square().mean()))
    return {**found, "c": layer.c, "t": t}


@torch.no_grad()
def terms(layer: Layer, embedding: Tensor) -> Tensor:
    """What each entity does to each, (S, S): the layer's answers for two alone."""
    n = len(embedding)
    first, second = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    pairs = torch.stack([first.flatten(), second.flatten()], dim=1)
    return layer(embedding[pairs])[:, 0].reshape(n, n)


def _figure(runs: list[dict[str, Any]]) -> Figure:
    figure, (left, middle, right) = plots.panels(3)
    for k, (color, one) in enumerate(zip(plots.COLORS, runs, strict=False)):
        left.semilogy(one["steps"], one["terms"], color=color, lw=1, label=f"seed {k}")
    left.axhline(_LONG, color="0.4", lw=1, ls=":")
    left.set(xlabel="steps", ylabel="squared distance of the terms of T")
    left.grid(alpha=0.3)
    left.legend(frameon=False)
    other = runs[-1]
    for axis, name, title in ((middle, "c", "C"), (right, "t", "terms of T")):
        axis.plot(runs[0][name].flatten(), other[name].flatten(), ".", ms=2, color=plots.COLORS[0])
        axis.axline((0, 0), slope=1, color="0.6", lw=1, zorder=0)
        axis.set(xlabel=f"{title}, seed 0", ylabel=f"{title}, seed {len(runs) - 1}", title=title)
        axis.set_aspect("equal")
    return figure
