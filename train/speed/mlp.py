"""What training costs with a plain network instead of attention: to compare with suites that train one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from train.policy import EntityPolicy, n_outputs
from train.ppo import EntityPPO
from train.speed.measure import Case, Task
from train.vec_env import make_sb3_vec_env

WORLDS, AGENTS, STEPS, EPOCHS, MINIBATCHES, WIDTH = 256, 3, 128, 4, 4, 64


def cases() -> Iterator[Case]:
    """Training with one trunk for action and value, and with a network for each, on one core."""
    for trunks, name in ((1, "MLP 64 x 64"), (2, "two MLPs 64 x 64")):
        yield Case(f"training, {name}", WORLDS, AGENTS, 1, lambda n=trunks: _training(n), STEPS)  # type: ignore[misc]


class MLP(nn.Module):
    """Two layers on the rows of all agents, the own one first."""

    def __init__(self, n_inputs: int, n_actions: int, trunks: int) -> None:
        """With one trunk for logits and value, or one each."""
        super().__init__()

        def layers(n: int) -> nn.Module:
            hidden = nn.Linear(n_inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
            return nn.Sequential(*hidden, nn.Linear(WIDTH, n))

        self.parts = nn.ModuleList(layers(n) for n in ((n_actions + 1,) if trunks == 1 else (n_actions, 1)))

    def forward(self, rows: Tensor, mask: Tensor, visible: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, L, F) -> logits (B, L, n_actions), values (B, L)."""
        n = rows.shape[1]
        seen = torch.cat([rows.roll(-k, dims=1) for k in range(n)], dim=-1)
        found = torch.cat([part(seen) for part in self.parts], dim=-1)
        return found[..., :-1], found[..., -1]


class MLPPolicy(EntityPolicy):
    """A policy whose network is an `MLP`."""

    def __init__(
        self, space: spaces.Dict, actions: spaces.Space[Any], schedule: Schedule, *, trunks: int, **_: Any
    ) -> None:
        """As `EntityPolicy`."""
        super().__init__(space, actions, schedule)
        n_inputs = AGENTS * space["entities"].shape[-1]  # type: ignore[index]
        self.network = MLP(n_inputs, n_outputs(actions), trunks)  # type: ignore[assignment]
        self.optimizer = torch.optim.Adam(self.parameters(), lr=schedule(1), eps=1e-5, fused=True)


def _training(trunks: int) -> Task:
    torch.set_num_threads(1)
    worlds = make_sb3_vec_env("colliding_agents_v0", WORLDS, seed=0, n_agents=AGENTS, n_threads=1)
    model = EntityPPO(
        MLPPolicy,
        worlds,
        n_steps=STEPS,
        batch_size=WORLDS * STEPS // MINIBATCHES,
        n_epochs=EPOCHS,
        seed=0,
        device="cpu",
        policy_kwargs={"trunks": trunks},
    )
    _, callback = model._setup_learn(2**62)
    callback.on_training_start({}, {})

    def iteration() -> None:
        model.collect_rollouts(worlds, callback, model.rollout_buffer, STEPS)
        model.train()

    return iteration
