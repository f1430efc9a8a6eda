r"""T4, coupled features: what agents do to each other is a product of what their features do.

An agent has a place on a ring and a label, \(f(i, j) = g(p_i, p_j)\, h(l_i, l_j)\): those that are level
meet, and labels decide whether that is good or bad. HyperFeatureAttention sees one-hot places beside one-hot
labels and learns g and h, P^2 + K^2 numbers; self-attention needs one-hot pairs of place and label, and
(P K)^2 numbers; on places beside labels it can only add.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179 (non-identical agents; HyperFeatureAttention at the sum of
the domains' sizes). The task's g and h, its sizes and bounds are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from policies import HyperFeatureAttention
from train.theory import plots
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.learning import learn, n_learned, relative_error, tests
from train.theory.ring import Ring
from train.theory.theorem import Layer, descend, largest_rate

TITLE = "T4 coupled features"
N_TRAIN = 20
N_TEST = (2, 20, 200, 1000)
RING = Ring(20, 2)
_LABELS = (2, 4, 8)
_MAIN = 4  # labels of the comparison across numbers of agents
MODELS = _HFA, _PRODUCT, _SUM = ("HFA on features", "SA on pairs of features", "SA on features")
_BOUND, _UNLEARNED, _SHARE = 1e-6, 0.1, 0.1
Runs = dict[tuple[str, int], list[dict[str, Any]]]  # what `learned` found, by model and number of labels


class Job(NamedTuple):
    """A training."""

    model: str
    module: str
    n_labels: int
    steps: int
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    steps = 1200 if effort.quick else 3000
    modules = {name: effort.module("hfa_linear" if name == _HFA else "sa_linear") for name in MODELS}
    jobs = [
        Job(name, module, n_labels, steps, seed)
        for seed in range(effort.seeds)
        for n_labels in _LABELS
        for name, module in modules.items()
    ]
    found = side_by_side(
        learned, jobs, effort.workers, report, lambda job: f"{job.model}, {job.n_labels} labels"
    )
    runs: Runs = {}
    for job, one in zip(jobs, found, strict=True):
        runs.setdefault((job.model, job.n_labels), []).append(one)
    data = [{"model": name, "labels": k, "runs": of} for (name, k), of in runs.items()]
    return Outcome(list(_findings(runs)), {"errors": _figure(runs)}, {"trainings": data})


def _findings(runs: Runs) -> Iterator[Finding]:
    for name in (_HFA, _PRODUCT):
        for n in N_TEST:
            yield _error(f"{n} agents, {name}", runs[name, _MAIN], n)._replace(high=_BOUND)
    yield _error(f"{N_TRAIN} agents, {_SUM}", runs[_SUM, _MAIN], N_TRAIN)._replace(low=_UNLEARNED)
    for k in _LABELS:
        if k != _MAIN:
            yield _error(f"{k} labels, {_HFA}", runs[_HFA, k], N_TRAIN)._replace(high=_BOUND)
        few, many = (runs[name, k][0]["parameters"] for name in (_HFA, _PRODUCT))
        quantity = f"learned numbers with {k} labels: {few:,} of HFA over {many:,} of SA on pairs"
        # Of two labels there are too few pairs to save much.
        yield Finding(quantity, [few / many], high=_SHARE if k >= _MAIN else math.inf, ours=True)


def _error(of: str, runs: list[dict[str, Any]], n: int) -> Finding:
    return Finding(f"error with {of}", [one["errors"][str(n)] for one in runs], ours=True, log=True)


def learned(job: Job) -> dict[str, Any]:
    """Train one model: errors by number of agents, and how many numbers it has learned."""
    torch.manual_seed(job.seed)
    generator = torch.Generator().manual_seed(job.seed)
    f = interaction(job.n_labels)
    product = job.model == _PRODUCT
    embedding = torch.eye(len(f), dtype=f.dtype) if product else one_hots(job.n_labels)

    def draw(sets: int, n: int = N_TRAIN) -> tuple[Tensor, Tensor]:
        kinds = torch.randint(len(f), (sets, n), generator=generator)
        answers = f[kinds[:, :, None], kinds[:, None, :]].sum(-1) - f.diagonal()[kinds]
        return embedding[kinds], answers

    model = Layer(job.module, embedding) if job.model != _HFA else _by_features(job, embedding)
    if product and isinstance(model, Layer):
        descend(model, draw, job.steps, largest_rate(N_TRAIN, len(f)))
    else:
        learn(model, draw, job.steps, rate=1e-2)
    errors = {str(n): relative_error(model, tests(draw, n)) for n in N_TEST}
    return {"errors": errors, "parameters": n_learned(model)}


def interaction(n_labels: int) -> Tensor:
    """F of every two kinds, a kind being a place and a label: (P K, P K) float64, -1, 0 or 1."""
    random = torch.Generator().manual_seed(3)
    signs = 1 - 2 * torch.randint(2, (n_labels, n_labels), generator=random).double()
    return torch.kron(RING.interaction(), signs)


def one_hots(n_labels: int) -> Tensor:
    """Of every kind, place beside label: (P K, P + K) float64."""
    places, labels = (torch.eye(n, dtype=torch.float64) for n in (RING.places, n_labels))
    return torch.cat([places.repeat_interleave(n_labels, 0), labels.repeat(RING.places, 1)], dim=1)


def _by_features(job: Job, embedding: Tensor) -> nn.Module:
    if job.module not in ("hfa", "hfa_linear"):
        return Layer(job.module, embedding)
    return Coupled(RING.places, job.n_labels, "softmax" if job.module == "hfa" else "linear")


class Coupled(nn.Module):
    r"""HyperFeatureAttention as the theory writes it, \((\prod_a X C^a X^T)(\prod_a X W^a)\).

    (B, L, P + K) -> (B, L). One head, and a slice of the input for each feature. \(C^a\) stands in the
    queries; the keys are the identity.
    """

    def __init__(self, n_places: int, n_labels: int, kind: str) -> None:
        """For so many places and labels."""
        super().__init__()
        sizes, width = (n_places, n_labels), n_places + n_labels
        features = ((0, n_places), (n_places, width))
        self.attention = HyperFeatureAttention(width, 1, 1, features=features, rank=sizes, kind=kind).double()
        of = dict(self.attention.named_parameters())
        with torch.no_grad():
            for k, size in enumerate(sizes):
                of[f"queries.{k}.weight"].zero_()
                of[f"keys.{k}.weight"].copy_(torch.eye(size))
            of["out.bias"].zero_()
            of["out.weight"].copy_(torch.eye(width, 1))  # the first number is read
        for name in ("keys.0.weight", "keys.1.weight", "out.weight", "out.bias"):
            of[name].requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """An answer for each entity."""
        return self.attention(x)[..., 0]


def _figure(runs: Runs) -> Figure:
    figure, (left, right) = plots.panels(2)
    lines = {name: [[one["errors"][str(n)] for one in runs[name, _MAIN]] for n in N_TEST] for name in MODELS}
    plots.draw_errors(left, N_TEST, lines)
    left.set(
        xlabel="agents", ylabel="relative squared error", title=f"{_MAIN} labels, trained with {N_TRAIN}"
    )
    for shade, name in zip(plots.COLORS, MODELS, strict=False):
        sizes = [runs[name, k][0]["parameters"] for k in _LABELS]
        right.plot(_LABELS, sizes, "o-", ms=4, color=shade, label=name)
    right.set(xlabel="labels", ylabel="learned numbers", title="size", xscale="log", yscale="log")
    right.set_xticks(_LABELS, [str(k) for k in _LABELS])
    right.minorticks_off()
    right.grid(alpha=0.3)
    right.legend(frameon=False)
    return figure
