r"""T10, where the theory ends: noisy answers, fewer dimensions than kinds, and depth with softmax.

- Noise. A layer learns the ring of `train.theory.ring` from M sets of 20 whose answers are off by a normal
  error of so many of their deviations. The layer is linear in C, so its error should be that of least
  squares: as \(\sigma^2 / M\), at any number of agents.
- Compression. The interaction F, (S, S), is learned through embeddings of d < S dimensions. The answers of
  one head have rank d, so no layer comes nearer to F than \(\sigma_{d+1}(F)\), F's next singular value
  (Eckart and Young 1936). On F's first d singular vectors it comes as near; embeddings that are learned
  along with it are told beside.
- Depth with softmax. Blocks of a softmax that is told how many there are (`sa_count`), trained with 2 to 20.

Source: open questions of Ustaomeroglu and Qu 2025, arXiv 2506.06179, which bounds the second by
\(\sigma_{d+1}(F)\), as third-party notes tell; tasks, sizes and bounds are ours. What becomes of HFA and HA
in control is told by `interact-env benchmark`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import linregress
from torch import Tensor, nn

from train.theory import plots
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.genotype import of_two
from train.theory.learning import Set, learn, relative_error, tests
from train.theory.micro_tasks import TASKS, Reader
from train.theory.ring import Ring
from train.theory.softmax import Blocks
from train.theory.theorem import Layer, descend, largest_rate

TITLE = "T10 limits"
N_TRAIN, FAR = 20, 1000
RING = Ring(20, 1)  # near are two on either side: F has full rank
NOISES = (0.1, 0.3, 1.0)  # of the deviation of the answers
_LEVEL = 1.0  # of the comparison across numbers of sets
_SLACK = 0.1  # of an exponent; and how much farther than the best a compressed layer may be
EMBEDDINGS = _BEST, _LEARNED = ("F's first singular vectors", "learned")
_LONGER = 20  # times as many steps of Adam for learned embeddings
Runs = dict[str, dict[Any, list[dict[str, Any]]]]  # what was found, by part and size


class Job(NamedTuple):
    """A training: a part of the experiment, and a size of it."""

    part: str
    size: Any
    module: str
    steps: int
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    few = effort.quick
    sets = (200, 800, 3200) if few else (200, 400, 800, 1600, 3200)
    dimensions = (5, 13) if few else (1, 3, 5, 9, 13)
    noises = [(noise, sets[-1]) for noise in NOISES] + [(_LEVEL, m) for m in sets[:-1]]
    jobs = [
        Job(part, size, effort.module(module), steps, seed)
        for seed in range(effort.seeds)
        for part, sizes, module, steps in (
            ("depth", (1, 2) if few else (1, 2, 3, 4), "sa_count", 500 if few else 3000),
            ("compression", [(d, of) for d in dimensions for of in EMBEDDINGS], "sa_linear", 150),
            ("noise", noises, "sa_linear", 150),
        )
        for size in sizes
    ]
    found = side_by_side(learned, jobs, effort.workers, report, lambda job: f"{job.part}, {job.size}")
    runs: Runs = {"noise": {}, "compression": {}, "depth": {}}
    for job, one in zip(jobs, found, strict=True):
        runs[job.part].setdefault(job.size, []).append(one)
    data = [{"part": part, "size": size, "runs": of} for part in runs for size, of in runs[part].items()]
    return Outcome(list(_findings(runs)), {"limits": _figure(runs)}, {"trainings": data})


def learned(job: Job) -> dict[str, Any]:
    """Do a part of the experiment at one size."""
    torch.manual_seed(job.seed)
    return PARTS[job.part](job, torch.Generator().manual_seed(job.seed))


def noisy(job: Job, generator: torch.Generator) -> dict[str, Any]:
    """Learn from a number of sets with noisy answers: errors against the true ones."""
    noise, n_sets = job.size
    draw = _of_ring(generator)
    deviation = float(draw(1000)[1].std())
    x, y = draw(n_sets)
    y = y + noise * deviation * torch.randn(y.shape, generator=generator, dtype=y.dtype)
    layer = Layer(job.module, torch.eye(RING.places, dtype=torch.float64))
    descend(layer, lambda _: (x, y), job.steps, largest_rate(N_TRAIN, RING.places))
    return {str(n): relative_error(layer, tests(draw, n)) for n in (N_TRAIN, FAR)}


def compressed(job: Job, generator: torch.Generator) -> dict[str, Any]:
    r"""Learn through embeddings of few dimensions: how far from F, over \(\sigma_{d+1}(F)\)."""
    d, of = job.size
    f, draw = RING.interaction(), _of_ring(generator)
    if of == _LEARNED:
        model: nn.Module = Reader(job.module, RING.places, d, n_heads=1, d_head=d).double()
        learn(model, draw, _LONGER * job.steps, rate=1e-2)
    else:
        model = Embedded(job.module, torch.linalg.svd(f).U[:, :d])
        descend(model, draw, job.steps, largest_rate(N_TRAIN, RING.places))
    off = of_two(model, torch.eye(RING.places, dtype=torch.float64)) - f
    known = bool(off.isfinite().all())  # what has diverged has no singular values
    distance = float(torch.linalg.matrix_norm(off, ord=2)) if known else math.nan
    return {
        "distance": distance / float(torch.linalg.svdvals(f)[d]),
        "error": relative_error(model, tests(draw, N_TRAIN)),
    }


class Embedded(nn.Module):
    """A `Layer` on given embeddings of one-hot entities: (B, L, S) -> (B, L)."""

    def __init__(self, name: str, embedding: Tensor) -> None:
        """`name` is an interaction of the registry; embedding: (S, d)."""
        super().__init__()
        self.layer = Layer(name, embedding)
        self.embedding = embedding

    def forward(self, x: Tensor) -> Tensor:
        """An answer for each entity."""
        return self.layer(x @ self.embedding)


def deep(job: Job, generator: torch.Generator) -> dict[str, Any]:
    """Learn from sets of 2 to 20 with a number of blocks: errors among 20 and among many."""
    task = TASKS["pairwise"]
    deviation = float(task.draw(1000, N_TRAIN, generator)[1].std())

    def draw(sets: int, n: int = 0) -> Set:
        n = n or int(torch.randint(2, N_TRAIN + 1, (), generator=generator))
        x, y = task.draw(sets, n, generator)
        return x, y / deviation

    model = Blocks(job.module, task.width, 64, job.size)
    learn(model, draw, job.steps)
    return {str(n): relative_error(model, tests(draw, n), least=1.0) for n in (N_TRAIN, FAR)}


PARTS: dict[str, Callable[[Job, torch.Generator], dict[str, Any]]] = {
    "noise": noisy,
    "compression": compressed,
    "depth": deep,
}


def _of_ring(generator: torch.Generator) -> Callable[..., Set]:
    one_hot = torch.eye(RING.places, dtype=torch.float64)

    def draw(sets: int, n: int = N_TRAIN) -> Set:
        places = torch.randint(RING.places, (sets, n), generator=generator)
        return one_hot[places], RING.values(places)

    return draw


def _findings(runs: Runs) -> Iterator[Finding]:
    noise = runs["noise"]
    most = max(n_sets for _, n_sets in noise)
    by_sets = {n_sets: of for (level, n_sets), of in noise.items() if level == _LEVEL}
    by_noise = {level: of for (level, n_sets), of in noise.items() if n_sets == most}
    for n in (N_TRAIN, FAR):
        # Among many, an error is that of a few sums, and too uncertain for a verdict.
        slack = _SLACK if n == N_TRAIN else math.inf
        for what, sizes, exponent in (("sets", by_sets, -1), ("noise", by_noise, 2)):
            quantity = f"exponent of the error with {n} agents in the {what}"
            values = _exponents(sizes, str(n))
            yield Finding(quantity, values, exponent - slack, exponent + slack, ours=True)
    for (d, embeddings), of in runs["compression"].items():
        values = [one["distance"] for one in of]
        quantity = f"distance from F over its singular value {d + 1}, {d} dimensions, {embeddings}"
        # Nothing of rank d is nearer, but by rounding; what is learned may be as far as it happens to be.
        high = 1 + _SLACK if embeddings == _BEST else math.inf
        yield Finding(quantity, values, 1 - 1e-9, high, reported="bounded by it", ours=True)
    for depth, of in runs["depth"].items():
        for n in (N_TRAIN, FAR):
            values = [one[str(n)] for one in of]
            quantity = f"error with {n}, softmax told the number, {depth} block{'s' * (depth > 1)}"
            yield Finding(quantity, values, ours=True, log=True)


def _exponents(sizes: dict[Any, list[dict[str, Any]]], of: str) -> list[float]:
    """The slope of the logarithm of the error in that of the size, of each seed."""
    errors = np.array([[one[of] for one in runs] for runs in sizes.values()])
    return [float(linregress(np.log(list(sizes)), np.log(column)).slope) for column in errors.T]


def _figure(runs: Runs) -> Figure:
    figure, (by_sets, by_d, by_depth) = plots.panels(3)
    noise = {n_sets: of for (level, n_sets), of in sorted(runs["noise"].items()) if level == _LEVEL}
    plots.draw_errors(by_sets, list(noise), {f"{n} agents": _column(noise, str(n)) for n in (N_TRAIN, FAR)})
    by_sets.set(xlabel="sets with noisy answers", ylabel="relative squared error", title="noise")
    sigma = torch.linalg.svdvals(RING.interaction())
    dimensions = sorted({d for d, _ in runs["compression"]})
    distances = {
        f"embeddings: {of}": [
            [one["distance"] * float(sigma[d]) for one in runs["compression"][d, of]] for d in dimensions
        ]
        for of in EMBEDDINGS
    }
    bound = {"next singular value of F": [[float(sigma[d])] for d in dimensions]}
    plots.draw_errors(by_d, dimensions, distances | bound)
    by_d.set(xlabel="dimensions of 20 kinds", ylabel="distance from F", title="compression")
    depth = runs["depth"]
    plots.draw_errors(
        by_depth, list(depth), {f"{n} entities": _column(depth, str(n)) for n in (N_TRAIN, FAR)}
    )
    by_depth.set(xlabel="blocks", ylabel="relative squared error", title="softmax told the number")
    for axis in (by_sets, by_d, by_depth):
        axis.legend(frameon=False)
    return figure


def _column(sizes: dict[Any, list[dict[str, Any]]], of: str) -> list[list[float]]:
    return [[one[of] for one in runs] for runs in sizes.values()]
