"""Rollouts of whole worlds, and the minibatches that are drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from interact_env.engine import WorldBatch
from train.gae import advantages
from train.policy import Observation
from train.ranks import ALONE, Ranks


class Minibatch(NamedTuple):
    """Worlds at a step, n of them; zero where no agent is."""

    observation: Observation
    actions: Tensor  # (n, L, ...)
    values: Tensor  # (n, L), as the following
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor

    def split(self, n: int) -> Iterator[Minibatch]:
        """Parts of at most n samples, as even as can be."""
        observation, *others = self
        total = len(self.actions)
        n = -(-total // -(-total // n))
        names = observation.keys()
        parts = zip(*(v.split(n) for v in (*observation.values(), *others)), strict=True)
        for part in parts:
            yield Minibatch(dict(zip(names, part, strict=False)), *part[len(names) :])


class EntityRolloutBuffer:
    """T steps of B worlds as tensors on one device.

    A sample is a world at a step; its living agents are the rows of the loss.
    """

    def __init__(self, n_steps: int, batch: WorldBatch, device: torch.device) -> None:
        """Allocate room for `n_steps` of `batch`."""
        shape = (n_steps, batch.n_worlds, batch.n_slots)

        def zeros(*more: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*shape, *more, dtype=dtype, device=device)

        action = torch.as_tensor(batch.blank_actions())
        self.n_steps, self.device = n_steps, device
        self.entities = zeros(len(batch.columns))
        self.mask = zeros(dtype=torch.bool)
        self.visible = None if batch.visible() is None else zeros(batch.n_slots, dtype=torch.bool)
        self.actions = zeros(*action.shape[2:], dtype=action.dtype)
        self.rewards, self.state_values, self.next_values, self.log_probs = (zeros() for _ in range(4))
        self.terminated, self.truncated = zeros(dtype=torch.bool), zeros(dtype=torch.bool)
        self.advantages, self.state_returns = zeros(), zeros()

    def finish(self, last_values: Tensor, gamma: float, gae_lambda: float) -> None:
        """Compute advantages and returns once all steps are in.

        Args:
            last_values: (B, L) values of the observation after the last step.
            gamma: discount.
            gae_lambda: decay.
        """
        following = torch.cat([self.state_values[1:], last_values[None]])
        self.next_values = torch.where(self.truncated, self.next_values, following)
        self.advantages = advantages(
            self.rewards,
            self.state_values,
            self.next_values,
            self.terminated,
            self.truncated,
            gamma,
            gae_lambda,
        )
        self.state_returns = self.advantages + self.state_values

    def minibatches(self, batch_size: int, ranks: Ranks = ALONE) -> Iterator[Minibatch]:
        """Every (step, world) once, in random order, `batch_size` at a time."""
        n = self.mask.shape[0] * self.mask.shape[1]
        turn = order(n, ranks)
        if self.device.type == "cuda":
            turn = turn.pin_memory()  # so that the copy need not be waited for
        for chosen in turn.to(self.device, non_blocking=True).split(batch_size):
            yield self._minibatch(chosen)

    def _minibatch(self, chosen: Tensor) -> Minibatch:
        def take(values: Tensor) -> Tensor:
            return values.flatten(0, 1).index_select(0, chosen)

        mask = take(self.mask)
        observation = {"entities": take(self.entities), "mask": mask, "own": mask}
        if self.visible is not None:
            observation["visible"] = take(self.visible)

        def take_living(values: Tensor) -> Tensor:
            # Selected, not multiplied by 0: the slot of an agent that left may hold anything, NaN too.
            taken = take(values)
            return torch.where(mask.view(*mask.shape, *[1] * (taken.ndim - 2)), taken, 0)

        return Minibatch(
            observation,
            take_living(self.actions),
            take_living(self.state_values),
            take_living(self.log_probs),
            take_living(self.advantages),
            take_living(self.state_returns),
        )


def order(n: int, ranks: Ranks) -> Tensor:
    """A random order of a process's n samples.

    Every process draws the orders of all, and so leaves the generator as the others do: numpy's global one,
    which stable-baselines3 seeds and its own buffers draw from.
    """
    return [torch.from_numpy(np.random.permutation(n)) for _ in range(ranks.size)][ranks.rank]  # noqa: NPY002
