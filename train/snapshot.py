"""All of a training between two rollouts: what it takes to go on as if nothing had happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies import LoadError
from policies.files import Tensors
from train.checkpoint import Snapshot
from train.ppo import EntityPPO

_EPISODES = ("episode_return", "joined", "length")
_SEED = "seed"  # of a batch: two words, and the number of its first world, which processes differ in


def take(model: EntityPPO) -> Snapshot:
    """The state of a model that is about to collect a rollout: copies, so that it may go on."""
    numbers = {
        "env_steps": model.num_timesteps,
        "agent_steps": model.agent_steps,
        "updates": model._n_updates,
        "episodes": [[episode["r"], episode["l"]] for episode in model.ep_info_buffer or ()],
    }
    weights = {name: _copy(tensor) for name, tensor in model.policy.weights().items()}
    return Snapshot(weights, _tensors(model) | _moments(model), numbers)


def put(model: EntityPPO, tensors: Tensors, numbers: Mapping[str, Any]) -> None:
    """Go back to a snapshot, whose weights the policy has already; the next `learn` goes on from there.

    Raises:
        LoadError: a tensor is missing, or of another shape or dtype; or a number is not what it must be.
    """
    given = {name: tensors.read(name, like) for name, like in _tensors(model).items()}
    own = model.ranks.own(model.n_envs)
    worlds = {k.removeprefix("worlds."): v for k, v in given.items() if k.startswith("worlds.")}
    seed = worlds.pop(_SEED)
    seed[2] = own.start
    model.batch.restore({_SEED: seed.numpy(), **{name: v[own].numpy() for name, v in worlds.items()}})
    for name in _EPISODES:
        getattr(model.totals, name).copy_(given[f"episodes.{name}"][own])
    _put_moments(model, tensors)
    torch.set_rng_state(given["random.torch"])
    if "random.cuda" in given:
        torch.cuda.set_rng_state(given["random.cuda"], model.device)
    words = given["random.numpy"].numpy()
    np.random.set_state(("MT19937", words[:-1], int(words[-1]), 0, 0.0))  # noqa: NPY002
    try:
        model.num_timesteps, model.agent_steps, model._n_updates = (
            _whole(numbers, name) for name in ("env_steps", "agent_steps", "updates")
        )
        episodes = [{"r": float(r), "l": float(n)} for r, n in numbers["episodes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise LoadError(f"{tensors.path}: the numbers beside it are not a training's: {error}") from None
    model.ep_info_buffer = deque(episodes, maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=0)  # worlds do not tell of success
    # stable-baselines3 resets the worlds when it has seen no observation yet.
    model._last_obs = np.empty(0)


def _tensors(model: EntityPPO) -> dict[str, Tensor]:
    """Worlds and running episodes, of all processes side by side, and random generators, which are alike."""
    found = {f"worlds.{name}": torch.as_tensor(array) for name, array in model.batch.save().items()}
    found |= {f"episodes.{name}": getattr(model.totals, name) for name in _EPISODES}
    seed = found.pop(f"worlds.{_SEED}")
    found = {name: model.ranks.joined(_copy(array)) for name, array in found.items()}
    found[f"worlds.{_SEED}"] = seed
    found["random.torch"] = torch.get_rng_state()
    if model.device.type == "cuda":
        found["random.cuda"] = torch.cuda.get_rng_state(model.device)
    # numpy's global generator, which shuffles the minibatches.
    _, words, position, _, _ = np.random.get_state(legacy=True)  # noqa: NPY002
    found["random.numpy"] = torch.from_numpy(np.append(words, np.uint32(position)))
    return found


def _moments(model: EntityPPO) -> dict[str, Tensor]:
    """Adam's moments and steps, by the parameter's number; none before the first update."""
    state = model.policy.optimizer.state_dict()["state"]
    return {
        f"optimizer.{k}.{name}": _copy(value) for k, values in state.items() for name, value in values.items()
    }


def _put_moments(model: EntityPPO, tensors: Tensors) -> None:
    optimizer = model.policy.optimizer
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        k: {
            "step": tensors.read(f"optimizer.{k}.step", torch.zeros(())),
            "exp_avg": tensors.read(f"optimizer.{k}.exp_avg", p),
            "exp_avg_sq": tensors.read(f"optimizer.{k}.exp_avg_sq", p),
        }
        for k, p in enumerate(parameters)
        if f"optimizer.{k}.step" in tensors.names  # not of those that no loss has reached
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _whole(numbers: Mapping[str, Any], name: str) -> int:
    value = numbers[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a whole number >= 0, not {value!r:.40}")
    return value
