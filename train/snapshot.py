"""All of a training between two rollouts: what it takes to go on as if nothing had happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interact_env.engine import WorldBatch
from policies import LoadError
from policies.files import Tensors
from train.checkpoint import Snapshot
from train.ppo import EntityPPO
from train.ranks import Ranks

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
    tensors = _tensors(model) | _moments(model)
    if model.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(model.device)
    return Snapshot(weights, tensors, numbers)


def put(model: EntityPPO, tensors: Tensors, numbers: Mapping[str, Any]) -> None:
    """Go back to a snapshot, whose weights the policy has already; the next `learn` goes on from there.

    Raises:
        LoadError: a tensor is missing, or of another shape or dtype; or a number is not what it must be.
    """
    given = {name: _finite(tensors, name, like) for name, like in _tensors(model, _room_for_all).items()}
    if "random.cuda" in tensors.names and model.device.type == "cuda":  # not after a start on a CPU
        given["random.cuda"] = tensors.read("random.cuda", torch.cuda.get_rng_state(model.device))
    own = model.ranks.own(model.n_envs)
    worlds = {k.removeprefix("worlds."): v for k, v in given.items() if k.startswith("worlds.")}
    seed = worlds.pop(_SEED)
    seed[2] = own.start
    model.batch.restore({_SEED: seed.numpy(), **{name: v[own].numpy() for name, v in worlds.items()}})
    try:
        _check_worlds(model.batch)
    except ValueError as error:
        raise LoadError(f"{tensors.path}: {error}") from None
    for name in _EPISODES:
        getattr(model.totals, name).copy_(given[f"episodes.{name}"][own])
    _put_moments(model, tensors)
    _put_generators(model, given, tensors.path)
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


def _tensors(model: EntityPPO, joined: Callable[[Ranks, Tensor], Tensor] = Ranks.joined) -> dict[str, Tensor]:
    """Worlds and running episodes, of all processes side by side, and random generators, which are alike."""
    found = {f"worlds.{name}": torch.as_tensor(array) for name, array in model.batch.copies().items()}
    found |= {f"episodes.{name}": _copy(getattr(model.totals, name)) for name in _EPISODES}
    seed = found.pop(f"worlds.{_SEED}")
    found = {name: joined(model.ranks, array) for name, array in found.items()}
    found[f"worlds.{_SEED}"] = seed
    found["random.torch"] = torch.get_rng_state()
    # numpy's global generator, which shuffles the minibatches.
    _, words, position, _, _ = np.random.get_state(legacy=True)  # noqa: NPY002
    found["random.numpy"] = torch.from_numpy(np.append(words, np.uint32(position)))
    return found


def _room_for_all(ranks: Ranks, part: Tensor) -> Tensor:
    """The shape of what all processes have, without asking them."""
    return part[:1].expand(ranks.size * len(part), *part.shape[1:])


def _put_generators(model: EntityPPO, given: Mapping[str, Tensor], path: Path) -> None:
    words = given["random.numpy"].numpy()
    if words[-1] > len(words) - 1:  # numpy would read beyond its words
        raise LoadError(f"{path}: random.numpy is at no position of its words")
    try:
        torch.set_rng_state(given["random.torch"])
        if "random.cuda" in given:
            torch.cuda.set_rng_state(given["random.cuda"], model.device)
    except RuntimeError as error:
        raise LoadError(f"{path}: is of no random generator: {error}") from None
    np.random.set_state(("MT19937", words[:-1], int(words[-1]), 0, 0.0))  # noqa: NPY002


def _check_worlds(batch: WorldBatch) -> None:
    """Whether these can be worlds in mid-episode: counts that are possible, and rows within their columns.

    Raises:
        ValueError: they cannot.
    """
    saved, params = batch.save(), batch.params
    n_agents, alive = saved["clock.n_agents"], saved["state.alive"].sum(axis=1)
    counts = {
        "episode": (saved["clock.episode"], 0, np.inf),
        "steps": (saved["clock.steps"], 0, params.max_cycles or np.inf),
        "n_agents": (n_agents, params.n_min, params.n_max),
        "alive": (alive, 1, n_agents),
        "over": (saved["over"], 0, 0),
    }
    for name, (values, low, high) in counts.items():
        if (values < low).any() or (values > high).any():
            raise ValueError(f"{name} is that of no running world")
    low, high = (np.array([getattr(c, edge) for c in batch.columns]) for edge in ("low", "high"))
    row = np.zeros(len(batch.columns), batch.dtype)
    fields = {k.removeprefix("state."): v for k, v in saved.items() if k.startswith("state.")}
    kind = type(batch.state())
    for b in range(batch.n_worlds):
        state = kind(**{name: array[b] for name, array in fields.items()})
        for i in np.flatnonzero(state.alive):
            batch.world.observe(params, state, i, row)
            if not ((row >= low) & (row <= high)).all():
                raise ValueError(f"agent {i} of world {b} is outside of its columns' ranges")


def _moments(model: EntityPPO) -> dict[str, Tensor]:
    """Adam's moments and steps, by the parameter's number; none before the first update."""
    state = model.policy.optimizer.state_dict()["state"]
    return {
        f"optimizer.{k}.{name}": _copy(value) for k, values in state.items() for name, value in values.items()
    }


def _put_moments(model: EntityPPO, tensors: Tensors) -> None:
    optimizer = model.policy.optimizer
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kinds = {"step": torch.zeros(())}
    state = {
        k: {
            name: _finite(tensors, f"optimizer.{k}.{name}", kinds.get(name, p))
            for name in ("step", "exp_avg", "exp_avg_sq")
        }
        for k, p in enumerate(parameters)
        if f"optimizer.{k}.step" in tensors.names  # not of those that no loss has reached
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _finite(tensors: Tensors, name: str, like: Tensor) -> Tensor:
    tensor = tensors.read(name, like)
    if not torch.isfinite(tensor).all():
        raise LoadError(f"{tensors.path}: {name} is not finite")
    return tensor


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()  # on its device: it goes to the host only to be saved


def _whole(numbers: Mapping[str, Any], name: str) -> int:
    value = numbers[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a whole number >= 0, not {value!r:.40}")
    return value
