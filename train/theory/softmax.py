r"""T7, linear against softmax: what each can represent, how fast it is learned, and what depth changes.

The pairwise task of `train.theory.micro_tasks`, sets of 20: how many others are near. One layer of each
kind is widened, and blocks of each kind are stacked as in a transformer (LayerNorm, two-layer network, sums
that are added to what came before). A softmax divides by the number of entities: of a set that is repeated
k times it says what it says of the set, at every depth, where the answer is k times as large (the entity
itself, which is left out, makes this hold only nearly). So it may fit 20 entities, and no other number.

Source: linear and softmax attention compared as in Ustaomeroglu and Qu 2025, arXiv 2506.06179; sizes,
depths and bounds are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from policies.actor_critic import Block
from policies.registry import find, interaction
from train.theory import plots
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.micro_tasks import HEADS, TASKS, Reader, fit

TITLE = "T7 linear against softmax"
N_TEST = (2, 20, 200, 1000)
_TRAINED, _FAR = 20, 1000
_TASK = TASKS["pairwise"]
_WIDE = 64
_WIDTHS = (5, 10, 20, _WIDE)  # there are 20 kinds of entities
_DEPTHS = (1, 2, 3, 4)
KINDS = {"sa_linear": "linear", "sa": "softmax"}
_LEARNED, _FAILED, _RATIO = 1e-4, 1.0, 100.0
_REACHED = 0.1  # of the variance: the steps until there are counted
_SMOOTHED = 50  # steps, over which an error of training is averaged
Runs = dict[tuple[str, int, int], list[dict[str, Any]]]  # what `learned` found, by kind, width and depth


class Job(NamedTuple):
    """A training; depth 0 is a layer alone, not in a block."""

    name: str
    module: str
    width: int
    depth: int
    steps: int
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    steps = 1000 if effort.quick else 3000
    widths, depths = ((10, _WIDE), (1, 2)) if effort.quick else (_WIDTHS, _DEPTHS)
    sizes = [(width, 0) for width in widths] + [(_WIDE, depth) for depth in depths]
    jobs = [
        Job(name, effort.module(name), width, depth, steps, seed)
        for seed in range(effort.seeds)
        for width, depth in sizes
        for name in KINDS
    ]
    found = side_by_side(
        learned, jobs, effort.workers, report, lambda job: f"{KINDS[job.name]}, {_size(job)}"
    )
    runs: Runs = {}
    for job, one in zip(jobs, found, strict=True):
        runs.setdefault((job.name, job.width, job.depth), []).append(one)
    data = [
        {"kind": KINDS[name], "width": width, "depth": depth, "runs": of}
        for (name, width, depth), of in runs.items()
    ]
    return Outcome(list(_findings(runs)), {"errors": _figure(runs, steps)}, {"trainings": data})


def _size(job: Job) -> str:
    return _form(job.depth) if job.depth else f"width {job.width}"


def _form(depth: int) -> str:
    return f"{depth} block{'s' * (depth > 1)}" if depth else "a layer"


def _findings(runs: Runs) -> Iterator[Finding]:
    for n in N_TEST:
        yield _error(runs, "sa_linear", _WIDE, 0, n)._replace(high=_LEARNED)
    for n in N_TEST:
        low = _FAILED if n == _FAR else -math.inf
        yield _error(runs, "sa", _WIDE, 0, n)._replace(low=low)
    for width in sorted({width for _, width, depth in runs if not depth}):
        linear, softmax = (
            [one["errors"][str(_TRAINED)] for one in runs[name, width, 0]] for name in ("sa_linear", "sa")
        )
        gaps = [b / a for a, b in zip(linear, softmax, strict=True)]
        low = _RATIO if width >= _WIDE else -math.inf
        quantity = f"error of softmax over that of linear, {_TRAINED} entities, width {width}"
        yield Finding(quantity, gaps, low=low, ours=True, log=True)
    for name, title in KINDS.items():
        taken = [float(one["reached"]) for one in runs[name, _WIDE, 0]]
        yield Finding(f"steps to an error of {_REACHED:g}, {title}", taken, ours=True, log=True)
    for name in KINDS:
        for depth in sorted({depth for _, _, depth in runs if depth}):
            yield _error(runs, name, _WIDE, depth, _TRAINED)
            low = _FAILED if name == "sa" else -math.inf
            yield _error(runs, name, _WIDE, depth, _FAR)._replace(low=low)


def _error(runs: Runs, name: str, width: int, depth: int, n: int) -> Finding:
    values = [one["errors"][str(n)] for one in runs[name, width, depth]]
    return Finding(f"error with {n} entities, {KINDS[name]}, {_form(depth)}", values, ours=True, log=True)


def learned(job: Job) -> dict[str, Any]:
    """Train one model: errors by number of entities and along the way, and the steps that it took."""
    torch.manual_seed(job.seed)
    if job.depth:
        model: nn.Module = Blocks(job.module, _TASK.width, job.width, job.depth)
    else:
        model = Reader(job.module, _TASK.width, job.width)
    errors, curve = fit(model, _TASK, job.seed, job.steps, N_TEST)
    smooth = np.convolve(curve, np.full(_SMOOTHED, 1 / _SMOOTHED), mode="valid")
    below = np.flatnonzero(smooth <= _REACHED)
    return {
        "errors": {str(n): error for n, error in errors.items()},
        "curve": smooth[:: max(1, len(smooth) // 200)].tolist(),
        "reached": _SMOOTHED + int(below[0]) if len(below) else job.steps,
    }


class Blocks(nn.Module):
    """A transformer without positions: (B, L, width) -> (B, L)."""

    def __init__(self, name: str, width: int, d_model: int, depth: int) -> None:
        """`name` is an interaction of the registry; heads are those of `Reader`."""
        super().__init__()
        make = interaction(find(name))
        self.embed = nn.Linear(width, d_model, bias=False)
        self.blocks = nn.ModuleList(Block(make, d_model, HEADS, d_model // HEADS) for _ in range(depth))
        self.read = nn.Linear(d_model, 1)

    def forward(self, x: Tensor) -> Tensor:
        """An answer for each entity."""
        there = torch.ones(x.shape[:2], dtype=torch.bool)
        x = self.embed(x)
        for block in cast("Iterable[Block]", self.blocks):
            x = block(x, there, None, None, block.norm(x))
        return self.read(x).squeeze(-1)


def _figure(runs: Runs, steps: int) -> Figure:
    figure, (over_n, over_width, over_time, over_depth) = plots.panels(4)
    plots.draw_errors(over_n, N_TEST, {t: _errors(runs, k, (_WIDE,), (0,), N_TEST) for k, t in KINDS.items()})
    over_n.set(xlabel="entities", ylabel="relative squared error", title=f"a layer, trained with {_TRAINED}")
    over_n.legend(frameon=False)
    widths = sorted({width for _, width, depth in runs if not depth})
    plots.draw_errors(
        over_width, widths, {t: _errors(runs, k, widths, (0,), (_TRAINED,)) for k, t in KINDS.items()}
    )
    over_width.set(xlabel="width", title=f"a layer, {_TRAINED} entities of 20 kinds")
    for shade, (name, title) in zip(plots.COLORS, KINDS.items(), strict=False):
        curve = np.exp(np.mean([np.log(one["curve"]) for one in runs[name, _WIDE, 0]], axis=0))
        over_time.plot(np.linspace(0, steps, len(curve)), curve, color=shade, label=title)
    over_time.set(xlabel="step", yscale="log", title="a layer, while it learns")
    over_time.grid(alpha=0.3)
    depths = sorted({depth for _, _, depth in runs if depth})
    lines = {
        f"{title}, {n} entities": _errors(runs, name, (_WIDE,), depths, (n,))
        for n in (_TRAINED, _FAR)
        for name, title in KINDS.items()
    }
    plots.draw_errors(over_depth, depths, lines)
    over_depth.set(xlabel="blocks", title="blocks of a transformer")
    over_depth.legend(frameon=False, fontsize=7)
    return figure


def _errors(
    runs: Runs, name: str, widths: Sequence[int], depths: Sequence[int], counts: Sequence[int]
) -> list[list[float]]:
    """Of all seeds, at each of the widths, depths and counts, all but one of which are single."""
    return [
        [one["errors"][str(n)] for one in runs[name, width, depth]]
        for width in widths
        for depth in depths
        for n in counts
    ]
