"""Saved runs of policies that have learned nothing, for what only needs a run."""

import torch

import interact_env
from interact_env.spaces import entity_space
from train import checkpoint
from train.policy import EntityPolicy


def untrained(path, env="colliding_agents_v0", policy="sa", seed=0, scale=0.0, **parameters):
    """A run's directory, with a checkpoint of a small network in it, with noise of `scale` on its weights."""
    torch.manual_seed(seed)
    parameters = {"n_agents": 8, **parameters}
    network = {"policy": policy, "d_model": 16, "n_layers": 2, "n_heads": 2, "positions": "rotary"}
    batch = interact_env.make_batch(env, seed=0, **parameters)
    space = entity_space(batch.columns, batch.n_slots)
    made = EntityPolicy(space, batch.action_space, lambda _: 1e-3, **network)
    with torch.no_grad():
        for weight in made.network.parameters():
            weight.add_(torch.randn_like(weight), alpha=scale)
    about = checkpoint.setup(env, parameters, network)
    checkpoint.save(path, about, checkpoint.Snapshot(made.weights(), {}, {"env_steps": 1}))
    return path
