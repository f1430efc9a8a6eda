r"""Agents on a cylinder that all move right: whoever is level with another one meets it at the wall.

With N places around it and agents of radius R, the value of agent i is
\(V_i = -\sum_{j \ne i} 1[d(y_i, y_j) \le 2R]\), d the distance around the cylinder.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179, their colliding agents, as third-party notes tell of it;
that the sum leaves i out is ours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import interact_env

EMBEDDINGS = ("one-hot", "sinusoidal")


class Ring(NamedTuple):
    """Places around the cylinder, and the radius of an agent in places."""

    places: int
    radius: int

    def interaction(self) -> Tensor:
        """What an agent at place m loses by one at place n: (N, N) float64, 0 or -1."""
        place = torch.arange(self.places)
        apart = (place[:, None] - place).abs()
        return -(torch.minimum(apart, self.places - apart) <= 2 * self.radius).double()

    def embedding(self, name: str) -> Tensor:
        """The vector of each place, (N, N) float64, orthonormal: one-hot, or a constant and waves."""
        return torch.eye(self.places, dtype=torch.float64) if name == "one-hot" else fourier(self.places)

    def values(self, places: Tensor) -> Tensor:
        """Of agents at these places, (B, L) -> (B, L)."""
        f = self.interaction()
        return f[places[:, :, None], places[:, None, :]].sum(-1) - f[0, 0]

    def measured(self, n_agents: int, n_worlds: int, seed: int) -> tuple[Tensor, Tensor]:
        """Places and values (B, L) in `colliding_agents_v0`, of agents of its policy "move_right".

        By Monte Carlo: what they earn per step once all have come to the wall, where nothing changes.
        """
        side = self.places
        batch = interact_env.make_batch(
            "colliding_agents_v0", n_worlds, seed=seed, n_agents=n_agents, size=side, period=side,
            radius=self.radius, shape="square", topology="cylinder", headings="right", max_cycles=side + 1,
        )  # fmt: skip
        batch.reset()
        places = np.stack([batch.state(world).y for world in range(n_worlds)])
        for _ in range(side):
            batch.step(batch.scripted("move_right"))
        reward = batch.step(batch.scripted("move_right")).reward
        return torch.as_tensor(places).long(), torch.as_tensor(reward).double()


def fourier(n: int) -> Tensor:
    """The real Fourier basis of n points, (n, n) float64: columns 1, cos 1, sin 1, cos 2, ..., of norm 1."""
    angle = 2 * math.pi / n * torch.arange(n, dtype=torch.float64)
    waves = [wave(k * angle) for k in range(1, n // 2 + 1) for wave in (torch.cos, torch.sin)]
    basis = torch.stack([torch.ones(n, dtype=torch.float64), *waves[: n - 1]], dim=1)
    return basis / basis.norm(dim=0)
