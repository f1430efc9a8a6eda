r"""Three small tasks with known answers, each of which another kind of attention can represent.

Every entity's answer is a sum over the others, so whoever has learned the interaction from sets of 20
should be right for 2 or 1,000. Entities are one-hot; modules are one layer between two linear maps.

- pairwise: positions on a ring of 20 cells; \(y_i = \sum_{j \ne i} 1[d(p_i, p_j) \le 3]\).
- position x label: also one of 4 labels; \(y_i = \sum_{j \ne i} 1[d(p_i, p_j) \le 3] S_{l_i l_j}\), S a
  fixed matrix of signs: a product of features, which no sum of them gives.
- three-way: one of 8 kinds; \(y_i = \sum_{j \ne k} 1[t_j = a(t_i)] 1[t_k = b(t_i)]\), i not among them:
  pairs of the two regulators of i's kind. No sum over single others gives it.

Source: the tasks follow Ustaomeroglu and Qu 2025, arXiv 2506.06179 (colliding agents, non-identical agents,
three-way interactions); these small forms are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policies.registry import find, interaction
from train.compare import interval
from train.theory.experiment import Report, side_by_side
from train.theory.learning import learn, relative_error, tests

N_TRAIN = 20
N_TEST = (2, 20, 200, 1000)
MODULES = ("sa", "sa_linear", "hfa", "hfa_linear", "ha", "ha_linear", "deep_sets", "mean_field")
_CELLS, _REACH, _LABELS = 20, 3, 4
HEADS = 4
_D_MODEL, _D_HEAD = 64, 24
Errors = dict[int, float]  # by number of entities
# Sets, entities and a generator -> one-hot entities (B, L, width) and their answers (B, L).
Draw = Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]


class Task(NamedTuple):
    """What an entity is, and its right answer."""

    name: str
    width: int
    draw: Draw


def _pairwise(sets: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    p = torch.randint(_CELLS, (sets, n), generator=generator)
    return _one_hot(p, _CELLS), (_near(p) & _others(n)).sum(-1).float()


def _position_label(sets: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    p = torch.randint(_CELLS, (sets, n), generator=generator)
    label = torch.randint(_LABELS, (sets, n), generator=generator)
    sign = 1.0 - 2.0 * torch.randint(2, (_LABELS, _LABELS), generator=torch.Generator().manual_seed(3))
    met = (_near(p) & _others(n)) * sign[label[:, :, None], label[:, None, :]]
    return torch.cat([_one_hot(p, _CELLS), _one_hot(label, _LABELS)], dim=-1), met.sum(-1)


def three_way(n_kinds: int) -> Task:
    """The task of pairs of regulators, with so many kinds."""
    of = torch.Generator().manual_seed(5)
    first = torch.randperm(n_kinds, generator=of)
    second = (first + torch.randint(1, n_kinds, (n_kinds,), generator=of)) % n_kinds  # another one

    def draw(sets: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        kind = torch.randint(n_kinds, (sets, n), generator=generator)
        others = _others(n)
        a = ((kind[:, None, :] == first[kind][..., None]) & others).sum(-1)
        b = ((kind[:, None, :] == second[kind][..., None]) & others).sum(-1)
        return _one_hot(kind, n_kinds), (a * b).float()  # no entity is of both kinds: j and k differ

    return Task("three-way", n_kinds, draw)


TASKS = {
    task.name: task
    for task in (
        Task("pairwise", _CELLS, _pairwise),
        Task("position x label", _CELLS + _LABELS, _position_label),
        three_way(8),
    )
}


class Reader(nn.Module):
    """One interaction between two linear maps without constants: (B, L, width) -> (B, L)."""

    def __init__(
        self, name: str, width: int, d_model: int = _D_MODEL, n_heads: int = HEADS, d_head: int = _D_HEAD
    ) -> None:
        """`name` is an interaction of the registry, or one of one's own as "my_module:name"."""
        super().__init__()
        self.embed = nn.Linear(width, d_model, bias=False)
        self.interaction = interaction(find(name))(d_model, n_heads, d_head)
        self.read = nn.Linear(d_model, 1, bias=False)
        # A constant could only say how many there are in training.
        out = getattr(self.interaction, "out", None)
        if isinstance(out, nn.Linear):
            nn.init.zeros_(out.bias.requires_grad_(False))

    def forward(self, x: Tensor) -> Tensor:
        """Answers in units of the training answers' deviation."""
        return self.read(self.interaction(self.embed(x))).squeeze(-1)


def train(task: Task, name: str, seed: int, steps: int, counts: Iterable[int] = N_TEST) -> Errors:
    """Train a `Reader` on sets of 20; see `fit`."""
    torch.manual_seed(seed)
    return fit(Reader(name, task.width), task, seed, steps, counts)[0]


def fit(
    model: nn.Module, task: Task, seed: int, steps: int, counts: Iterable[int] = N_TEST
) -> tuple[Errors, list[float]]:
    """Train a model on sets of 20; mean squared errors by number of entities, relative, and of every step.

    To the variance of the answers there, or among 20 where it is larger: two entities are no three-way.

    Args:
        model: entities (B, L, width) -> answers (B, L) in units of the training answers' deviation.
        task: what to learn.
        seed: of the sets.
        steps: of Adam, 64 sets each.
        counts: numbers of entities to test with.
    """
    generator = torch.Generator().manual_seed(seed)
    _, answers = task.draw(1000, N_TRAIN, generator)
    deviation = float(answers.std())

    def draw(sets: int, n: int = N_TRAIN) -> tuple[Tensor, Tensor]:
        x, y = task.draw(sets, n, generator)
        return x, y / deviation

    curve = learn(model, draw, steps)
    return {n: relative_error(model, tests(draw, n), least=1.0) for n in counts}, curve


def run(
    names: Iterable[str], n_seeds: int, steps: int, workers: int, report: Report
) -> dict[tuple[str, str], list[Errors]]:
    """Errors of every module in every task, one for each seed, by (task, module).

    Args:
        names: the modules.
        n_seeds: trainings of each.
        steps: of each training, 64 sets each.
        workers: processes, of one thread each.
        report: called with the trainings done, their number and a text.
    """
    jobs = [Job(task, name, seed, steps) for seed in range(n_seeds) for task in TASKS for name in names]
    errors = side_by_side(_done, jobs, workers, report, lambda job: f"{job.task}, {job.name}")
    found: dict[tuple[str, str], list[Errors]] = {(job.task, job.name): [] for job in jobs}
    for job, one in zip(jobs, errors, strict=True):
        found[job.task, job.name].append(one)
    return found


class Job(NamedTuple):
    """A training."""

    task: str
    name: str
    seed: int
    steps: int


def _done(job: Job) -> Errors:
    return train(TASKS[job.task], job.name, job.seed, job.steps)


def markdown(found: dict[tuple[str, str], list[Errors]]) -> str:
    """A table of the geometric means over seeds, with their 95% intervals."""
    lines = [
        "| task | module | " + " | ".join(f"{n} entities" for n in N_TEST) + " |",
        "|---" * (2 + len(N_TEST)) + "|",
    ]
    for (task, name), seeds in found.items():
        cells = [_cell([errors[n] for errors in seeds]) for n in N_TEST]
        lines.append(f"| {task} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(errors: list[float]) -> str:
    mean, low, high = (10**exponent for exponent in interval([math.log10(error) for error in errors]))
    return f"{mean:.1e} [{low:.1e}, {high:.1e}]" if len(errors) > 1 else f"{mean:.1e}"


def _one_hot(values: Tensor, size: int) -> Tensor:
    return nn.functional.one_hot(values, size).float()


def _near(p: Tensor) -> Tensor:
    """Which positions (B, L) on the ring are within reach of each other, (B, L, L)."""
    d = (p[:, :, None] - p[:, None, :]).abs()
    return torch.minimum(d, _CELLS - d) <= _REACH


def _others(n: int) -> Tensor:
    return ~torch.eye(n, dtype=torch.bool)
