"""What training costs: the rollout, the update, and both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import policies
from interact_env import make_batch
from train.policy import EntityPolicy
from train.ppo import EntityPPO
from train.speed.measure import Case, Task
from train.vec_env import make_sb3_vec_env

ENV, AGENTS, STEPS, EPOCHS, MINIBATCHES = "colliding_agents_v0", 8, 32, 3, 8
WORLDS = {"cpu": 128, "cuda": 8192}
POLICIES = ("sa", "sa_linear", "hfa_linear", "ha_linear", "mlp")


def cases(threads: int, device: str = "cpu") -> Iterator[Case]:
    """Rollout, update and both, for some policies at their defaults: width 64, two layers.

    Args:
        threads: of torch and of the worlds, on a CPU.
        device: of torch and of the worlds.
    """
    n_worlds = WORLDS[device]
    for policy in POLICIES:
        rollout = n_worlds * STEPS * _forward(policy)
        update = 3 * EPOCHS * rollout  # a backward pass is two products for each of the forward pass
        for part, products in (("rollout", rollout), ("update", update), ("training", rollout + update)):
            yield Case(
                f"{part}, {policy}",
                n_worlds,
                AGENTS,
                threads,
                lambda policy=policy, part=part: _parts(policy, threads, device)[part],  # type: ignore[misc]
                STEPS,
                products=products,
                device=device,
            )


def _forward(policy: str) -> float:
    """Floating-point operations of the matrix products of one world's forward pass."""
    network = policies.EntityActorCritic(make_batch(ENV, 1, n_agents=AGENTS).columns, 5, policy=policy)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(torch.zeros(1, AGENTS, 4), torch.ones(1, AGENTS, dtype=torch.bool))
    return float(counted.get_total_flops())


def _parts(policy: str, threads: int, device: str) -> dict[str, Task]:
    """What `learn` does in turn, after the first rollout."""
    if device == "cpu":
        torch.set_num_threads(threads)
    worlds = make_sb3_vec_env(ENV, WORLDS[device], seed=0, n_agents=AGENTS, device=device)
    options: dict[str, Any] = {
        "n_steps": STEPS,
        "batch_size": WORLDS[device] * STEPS // MINIBATCHES,
        "n_epochs": EPOCHS,
        "seed": 0,
        "device": device,
    }
    model = EntityPPO(EntityPolicy, worlds, policy_kwargs={"policy": policy}, **options)
    _, callback = model._setup_learn(2**62)
    callback.on_training_start({}, {})

    def rollout() -> None:
        model.collect_rollouts(worlds, callback, model.rollout_buffer, STEPS)

    def both() -> None:
        rollout()
        model.train()

    rollout()
    return {"rollout": rollout, "update": model.train, "training": both}
