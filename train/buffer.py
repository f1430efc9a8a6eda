"""Rollouts of whole worlds, sampled as living agents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

from interact_env.engine import WorldBatch
from train.gae import advantages


class EntityRolloutBuffer:
    """T steps of B worlds as tensors on one device; what stable-baselines3's `PPO.train` reads.

    A sample is a world at a step; its living agents are the rows of the loss.
    """

    def __init__(self, n_steps: int, batch: WorldBatch, device: torch.device) -> None:
        """Allocate room for `n_steps` of `batch`."""
        shape = (n_steps, batch.n_worlds, batch.n_slots)

        def zeros(*more: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*shape, *more, dtype=dtype, device=device)

        action = torch.from_numpy(batch.blank_actions())
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

    def get(self, batch_size: int) -> Iterator[RolloutBufferSamples]:
        """Every (step, world) once, in random order, `batch_size` at a time."""
        n = self.mask.shape[0] * self.mask.shape[1]
        # numpy's global generator, which stable-baselines3 seeds and its own buffers draw from.
        order = torch.from_numpy(np.random.permutation(n)).to(self.device)  # noqa: NPY002
        for chosen in order.split(batch_size):
            yield self._samples(chosen)

    def _samples(self, chosen: Tensor) -> RolloutBufferSamples:
        def take(values: Tensor) -> Tensor:
            return values.flatten(0, 1)[chosen]

        own = take(self.mask)
        observations = {"entities": take(self.entities), "mask": own, "own": own}
        if self.visible is not None:
            observations["visible"] = take(self.visible)
        numbers: list[Any] = [
            take(values)[own]
            for values in (
                self.actions,
                self.state_values,
                self.log_probs,
                self.advantages,
                self.state_returns,
            )
        ]
        return RolloutBufferSamples(observations, *numbers)  # type: ignore[arg-type]

    @property
    def values(self) -> np.ndarray:
        """Values of the living agents, flat, for stable-baselines3's explained variance."""
        return self.state_values[self.mask].cpu().numpy()

    @property
    def returns(self) -> np.ndarray:
        """Returns of the living agents, flat."""
        return self.state_returns[self.mask].cpu().numpy()
