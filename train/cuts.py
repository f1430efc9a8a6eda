"""What follows the last observation of an episode that the time limit cuts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from interact_env.engine import WorldBatch
from train.buffer import EntityRolloutBuffer
from train.policy import Observation, joint_observation


class Cuts:
    """The last observations of the episodes that a rollout sees cut, to be valued all at once when it ends.

    A world is cut at most once in `max_cycles` steps, so their room is known before: no host has to look.
    """

    def __init__(self, n_steps: int, batch: WorldBatch, device: torch.device) -> None:
        """Room for rollouts of `n_steps`."""
        limit = batch.params.max_cycles
        self.room = 1 + (n_steps - 1) // limit if limit else 0
        like = joint_observation(batch, device)
        self._last = {name: v.new_zeros(self.room, *v.shape) for name, v in like.items() if name != "own"}
        self._worlds = torch.arange(batch.n_worlds, device=device)
        self._count = torch.zeros(batch.n_worlds, dtype=torch.int64, device=device)
        self._which = torch.zeros(n_steps, batch.n_worlds, dtype=torch.int64, device=device)

    def clear(self) -> None:
        """Forget the rollout before."""
        self._count.zero_()

    def add(self, t: int, cut: Tensor, last: Observation) -> None:
        """Keep the observations of the worlds that are cut (B,) at step t."""
        slot = self._count.clamp(max=self.room - 1)
        self._which[t] = slot
        for name, kept in self._last.items():
            there = cut.view(-1, *[1] * (kept.ndim - 2))
            kept[slot, self._worlds] = torch.where(there, last[name], kept[slot, self._worlds])
        self._count += cut

    def bootstrap(self, buffer: EntityRolloutBuffer, values: Callable[[Observation], Tensor]) -> None:
        """Put the values of what was kept into `buffer.next_values`, where `buffer.truncated`."""
        if not self.room:
            return
        found = torch.stack(
            [values({k: v[slot] for k, v in self._last.items()}) for slot in range(self.room)]
        )
        buffer.next_values = found[self._which, self._worlds]
