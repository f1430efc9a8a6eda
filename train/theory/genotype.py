r"""T6, genotype to phenotype: which allele switches which on or off, read off what was learned.

A genotype is a sequence of loci, each with an allele, among them regulators. The expression of a locus is
the sum of what the others do to it: \(y_i = \sum_{j \ne i} G_{a_i a_j}\), G being 1 where allele a_j
activates a_i, -1 where it represses it, and mostly 0; or, of pairs of regulators that only work together,
\(y_i = \sum_{j \ne k} s_{a_i} 1[a_j = r(a_i)]\, 1[a_k = r'(a_i)]\). A layer learns it from sequences of 20
loci and is tested with others. Then its interactions are recovered: what an allele does to another is the
answer for the two alone; what a pair does is what three alone have in excess of their pairs.

Source: alleles as interacting entities, Ustaomeroglu and Qu 2025, arXiv 2506.06179; this task, the recovery
and the bounds are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from train.theory import plots
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.learning import Set, learn, relative_error, tests
from train.theory.micro_tasks import Reader
from train.theory.theorem import Layer, descend, largest_rate

TITLE = "T6 genotype to phenotype"
N_TRAIN = 20
N_TEST = (5, 20, 100, 1000)
PAIRS, TRIPLES = "regulators", "pairs of regulators"
_BOUND = {PAIRS: 1e-6, TRIPLES: 1e-3}
_DENSITY = 0.15  # of the edges
_EDGE = 0.5  # an interaction that is at least so strong is one
Expression = Callable[[Tensor], Tensor]  # alleles (B, L) -> (B, L)


class Job(NamedTuple):
    """A training."""

    task: str
    module: str
    n_alleles: int
    steps: int
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    n_alleles, steps = (8, 1200) if effort.quick else (16, 4000)
    modules = {PAIRS: effort.module("sa_linear"), TRIPLES: effort.module("ha_linear")}
    jobs = [
        Job(task, module, n_alleles, steps, seed)
        for seed in range(effort.seeds)
        for task, module in modules.items()
    ]
    found = side_by_side(learned, jobs, effort.workers, report, lambda job: f"{job.task}, seed {job.seed}")
    runs = {task: [one for job, one in zip(jobs, found, strict=True) if job.task == task] for task in modules}
    data = {
        task: [
            {"errors": one["errors"], "precision": one["precision"], "recall": one["recall"]} for one in of
        ]
        for task, of in runs.items()
    }
    figures = {"errors": _errors(runs), "edges": _edges(runs[PAIRS][0])}
    return Outcome(list(_findings(runs)), figures, {"alleles": n_alleles, "runs": data})


def _findings(runs: dict[str, list[dict[str, Any]]]) -> Iterator[Finding]:
    for task, of in runs.items():
        for n in N_TEST:
            values = [one["errors"][str(n)] for one in of]
            yield Finding(f"error with {n} loci, {task}", values, high=_BOUND[task], ours=True, log=True)
        for what in ("precision", "recall"):
            yield Finding(f"{what} of the edges, {task}", [one[what] for one in of], low=1.0, ours=True)


def learned(job: Job) -> dict[str, Any]:
    """Train one model: errors by number of loci, interactions planted and recovered, and their agreement."""
    torch.manual_seed(job.seed)
    generator = torch.Generator().manual_seed(job.seed)
    planted, expression = PLANTED[job.task](job.n_alleles, generator)
    one_hot = torch.eye(job.n_alleles)

    def draw(sets: int, n: int = N_TRAIN) -> Set:
        alleles = torch.randint(job.n_alleles, (sets, n), generator=generator)
        return one_hot[alleles], expression(alleles)

    unit = float(draw(1000)[1].std())

    def in_units(sets: int, n: int = N_TRAIN) -> Set:
        x, y = draw(sets, n)
        return x, y / unit

    if job.task == PAIRS:
        layer = Layer(job.module, one_hot)
        descend(layer, in_units, job.steps, largest_rate(N_TRAIN, job.n_alleles))
        model: nn.Module = layer
    else:
        model = Reader(job.module, job.n_alleles)
        learn(model, in_units, job.steps)
    recovered = unit * RECOVERED[job.task](model, one_hot)
    precision, recall = agreement(planted, recovered)
    return {
        "errors": {str(n): relative_error(model, tests(in_units, n), least=1.0) for n in N_TEST},
        "planted": planted,
        "recovered": recovered,
        "precision": precision,
        "recall": recall,
    }


def regulators(n_alleles: int, generator: torch.Generator) -> tuple[Tensor, Expression]:
    """What alleles do to each other, (A, A) of -1, 0 and 1 by target and regulator; and expression."""
    there = torch.rand(n_alleles, n_alleles, generator=generator) < _DENSITY
    there[0, 1] = True  # one at the least
    g = there * (1.0 - 2.0 * torch.randint(2, there.shape, generator=generator))

    def expression(alleles: Tensor) -> Tensor:
        return g[alleles[:, :, None], alleles[:, None, :]].sum(-1) - g.diagonal()[alleles]

    return g, expression


def pairs_of_regulators(n_alleles: int, generator: torch.Generator) -> tuple[Tensor, Expression]:
    """What every two alleles do to every other, (A, A, A) by target and regulators; and expression."""
    g = torch.zeros(n_alleles, n_alleles, n_alleles)
    for target in range(n_alleles):
        first, second = torch.randperm(n_alleles, generator=generator)[:2].tolist()
        sign = 1.0 - 2.0 * float(torch.randint(2, (), generator=generator))
        g[target, first, second] = g[target, second, first] = sign

    def expression(alleles: Tensor) -> Tensor:
        one_hot = nn.functional.one_hot(alleles, n_alleles).float()
        others = one_hot.sum(1, keepdim=True) - one_hot  # how many of each allele
        # Of two different alleles, so that no locus is both; each pair stands there twice.
        return torch.einsum("blr,bls,blrs->bl", others, others, g[alleles]) / 2

    return g, expression


@torch.no_grad()
def of_two(model: nn.Module, one_hot: Tensor) -> Tensor:
    """What each allele does to each, by a model's answers for two: (A, A)."""
    n = len(one_hot)
    target, other = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    alleles = torch.stack([target.flatten(), other.flatten()], dim=1)
    return model(one_hot[alleles])[:, 0].reshape(n, n)


@torch.no_grad()
def of_three(model: nn.Module, one_hot: Tensor) -> Tensor:
    """What each two alleles do to each together, beyond what each does alone: (A, A, A)."""
    n = len(one_hot)
    alleles = torch.cartesian_prod(*[torch.arange(n)] * 3)
    together = model(one_hot[alleles])[:, 0].reshape(n, n, n)
    alone = of_two(model, one_hot)
    return together - alone[:, :, None] - alone[:, None, :]


def agreement(planted: Tensor, recovered: Tensor) -> tuple[float, float]:
    """Precision and recall of the edges, of the right sign, among the interactions that are strong."""
    found = torch.where(recovered.abs() >= _EDGE, recovered.sign(), 0.0)
    right = float(((found == planted) & (planted != 0)).sum())
    return right / max(1, int((found != 0).sum())), right / int((planted != 0).sum())


PLANTED = {PAIRS: regulators, TRIPLES: pairs_of_regulators}
RECOVERED = {PAIRS: of_two, TRIPLES: of_three}


def _errors(runs: dict[str, list[dict[str, Any]]]) -> Figure:
    lines = {task: [[one["errors"][str(n)] for one in of] for n in N_TEST] for task, of in runs.items()}
    return plots.errors(N_TEST, lines, "loci", "relative squared error", N_TRAIN)


def _edges(one: dict[str, Any]) -> Figure:
    figure, axes = plots.panels(2)
    for axis, name in zip(axes, ("planted", "recovered"), strict=True):
        image = axis.imshow(one[name].numpy(), vmin=-1, vmax=1, cmap="RdBu", interpolation="nearest")
        axis.set(title=name, xlabel="regulator", ylabel="target")
    figure.colorbar(image, ax=axes, shrink=0.8, label="represses / activates")
    return figure
