"""The supervised loop of the experiments, and how far off its models are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

Set = tuple[Tensor, Tensor]  # entities (B, L, d) and their answers (B, L)
Draw = Callable[[int], Set]  # of so many sets
SETS = 64  # of a step
_TESTED = 4000  # entities of a test, in as many sets as it takes


def learn(model: nn.Module, draw: Draw, steps: int, rate: float = 3e-3) -> list[float]:
    """Adam on the mean squared error of new sets at every step; the errors. The rate falls to 0 as a cosine.

    Args:
        model: entities (B, L, d) -> answers (B, L).
        draw: the task.
        steps: of Adam, 64 sets each.
        rate: at the start.
    """
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    errors = []
    for _ in range(steps):
        x, y = draw(SETS)
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        errors.append(float(loss.detach()))
    return errors


def tests(draw: Callable[[int, int], Set], n: int) -> Iterator[Set]:
    """Sets of n entities, one at a time, some 4,000 entities in all; `draw` is given 1 and n."""
    for _ in range(math.ceil(_TESTED / n)):
        yield draw(1, n)


@torch.no_grad()
def relative_error(model: nn.Module, sets: Iterable[Set], least: float = 0.0) -> float:
    """Mean squared error over the variance of the answers.

    Args:
        model: entities (B, L, d) -> answers (B, L).
        sets: what it is tested with.
        least: the variance where it is larger than that of the answers: two entities are no three-way.
    """
    found, right = [], []
    for x, y in sets:
        found.append(model(x).flatten())
        right.append(y.flatten())
    answers = torch.cat(right)
    return float((torch.cat(found) - answers).square().mean() / max(float(answers.var()), least))


def n_learned(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
