"""Any policy at any number of agents: metrics per agent, with intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import torch

import interact_env
from interact_env.check import DoesNotFit
from interact_env.engine import WorldBatch
from policies import files
from train import disk
from train.policy import EntityPolicy, joint_observation

FILE = "evaluation.json"
# Pairs of agents (B * L * L) that are held at once: about 100 MB of attention scores.
_PAIRS = 2**20
Act = Callable[[WorldBatch], np.ndarray]


class Estimate(NamedTuple):
    """A mean over episodes with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


class Result(NamedTuple):
    """What a policy did at one number of agents; `estimates` is empty where they do not fit."""

    policy: str
    arena: str
    n_agents: int
    size: float
    estimates: dict[str, Estimate]
    reason: str = ""


def scripted(name: str) -> Act:
    """A scripted policy as an actor."""
    return lambda batch: batch.scripted(name)


def learned(policy: EntityPolicy, *, deterministic: bool = False) -> Act:
    """A trained policy as an actor; samples its actions unless `deterministic`."""

    def act(batch: WorldBatch) -> np.ndarray:
        actions = batch.blank_actions()
        with torch.no_grad():
            distribution = policy.get_distribution(joint_observation(batch, policy.device))
            chosen = distribution.get_actions(deterministic)
        actions[batch.alive] = policy.bounded(chosen).cpu().numpy()
        return actions

    return act


def episodes(
    act: Act, env: str, parameters: dict[str, Any], n_episodes: int, seed: int
) -> dict[str, np.ndarray]:
    """Play whole episodes.

    Args:
        act: the policy.
        env: name of the world.
        parameters: of the world; its episodes must end.
        n_episodes: how many; episode k is the first of world k of `seed`.
        seed: of the worlds and of sampled actions.

    Returns:
        One value per episode, (n_episodes,): "reward" and each metric per agent step, "return" per agent.

    Raises:
        ValueError: bad parameters, or a world without a time limit.
    """
    at_once = max(1, min(n_episodes, _PAIRS // _slots(env, parameters) ** 2))
    torch.manual_seed(seed)
    parts = []
    for first in range(0, n_episodes, at_once):
        n_worlds = min(at_once, n_episodes - first)
        batch = interact_env.make_batch(env, n_worlds, seed=seed, first_world=first, **parameters)
        parts.append(_play(act, batch))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _slots(env: str, parameters: dict[str, Any]) -> int:
    params = interact_env.world(env).params(parameters)
    if not params.max_cycles:
        raise ValueError("max_cycles must be a number for an evaluation: episodes have to end")
    return int(params.n_max)


def _play(act: Act, batch: WorldBatch) -> dict[str, np.ndarray]:
    """One episode of every world; a world that is over waits for the others."""
    batch.reset()
    n = batch.n_worlds
    agents = batch.alive.sum(axis=1)
    agent_steps, reward = np.zeros(n), np.zeros(n)
    metrics = np.zeros((n, len(batch.world.METRICS)))
    running = np.ones(n, np.bool_)
    while running.any():
        agent_steps += batch.alive.sum(axis=1) * running
        step = batch.step(act(batch))
        reward += step.reward.sum(axis=1) * running
        metrics += batch.metrics.sum(axis=1) * running[:, None]
        running &= ~batch.over
        if batch.over.any() and running.any():
            batch.reset(batch.over.copy())  # its second episode is played but not counted
    rates = {name: metrics[:, k] / agent_steps for k, name in enumerate(batch.world.METRICS)}
    return {"reward": reward / agent_steps, "return": reward / agents, **rates}


def estimate(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean and 95% percentile bootstrap interval over episodes."""
    if len(values) < 2 or np.ptp(values) == 0:
        mean = float(values.mean())
        return Estimate(mean, mean, mean)
    interval = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Estimate(float(values.mean()), float(interval.low), float(interval.high))


def arenas(env: str, parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The world at another number of agents: with the density, or in the arena, of training.

    Worlds without an `arena_size` are taken as they are.
    """
    world = interact_env.world(env)
    if world.arena_size is None or not {"size", "density"} <= world.parameters().keys():
        return {"as trained": dict(parameters)}
    # A range of counts may mean a range of sizes: the arena of training is that of the most agents.
    params = world.params(parameters)
    side = world.arena_size(params, params.n_max)
    density = parameters.get("density")
    if parameters.get("size") is not None:
        density = params.n_max / side ** getattr(params, "dims", 2)
    return {
        "constant density": {**parameters, "size": None, "density": density},
        "constant arena": {**parameters, "density": None, "size": side},
    }


def _side(env: str, parameters: dict[str, Any]) -> float:
    """Side of the arena, in the world's own unit; 0 where it has none."""
    world = interact_env.world(env)
    params = world.params(parameters)
    return 0.0 if world.arena_size is None else float(world.arena_size(params, params.n_max))


def across_counts(
    actors: dict[str, Act],
    env: str,
    places: dict[str, dict[str, Any]],
    n_agents: Iterable[int],
    n_episodes: int,
    seed: int,
    report: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Every policy in every arena at every number of agents, on the same episodes.

    `places` are parameters of the world by arena, see `arenas`.

    Raises:
        ValueError: bad parameters; a count that does not fit gives a Result without estimates instead.
    """
    results = []
    for arena, there in places.items():
        for n in n_agents:
            for name, act in actors.items():
                result = _at(name, act, arena, env, {**there, "n_agents": n}, n_episodes, seed)
                results.append(result)
                report(result)
    return results


def _at(
    name: str, act: Act, arena: str, env: str, parameters: dict[str, Any], n_episodes: int, seed: int
) -> Result:
    n = parameters["n_agents"]
    try:
        side = _side(env, parameters)
    except DoesNotFit as error:
        return Result(name, arena, n, float(parameters.get("size") or 0), {}, str(error))
    values = episodes(act, env, parameters, n_episodes, seed)
    return Result(name, arena, n, side, {k: estimate(v) for k, v in values.items()})


def save(path: Path, results: list[Result], **about: Any) -> None:
    """Write results as JSON."""
    rows = [{**r._asdict(), "estimates": {k: v._asdict() for k, v in r.estimates.items()}} for r in results]
    disk.replace(path, (json.dumps({**about, "results": rows}, indent=2) + "\n").encode())


_ABOUT = {"results": list, "policy": str, "env": str, "parameters": dict, "episodes": int, "seed": int}


def read(path: Path) -> dict[str, Any]:
    """What `save` wrote: what it is about, and under `results` a dictionary like a Result each.

    Raises:
        LoadError: the file is missing, or is not an evaluation.
    """
    evaluation = files.read_json(path)
    whole = all(isinstance(evaluation.get(name), kind) for name, kind in _ABOUT.items())
    if not whole or "n_agents" not in evaluation["parameters"] or not _are_results(evaluation["results"]):
        raise files.LoadError(f"{path}: is not an evaluation")
    return evaluation


def _are_results(rows: list[Any]) -> bool:
    """Whether these are results, of which all that fit have the same metrics, the reward among them."""
    if not rows or not all(_is_result(row) for row in rows):
        return False
    metrics = {tuple(row["estimates"]) for row in rows if row["estimates"]}
    return len(metrics) <= 1 and all("reward" in names for names in metrics)


def _is_result(row: Any) -> bool:
    kinds: dict[str, Any] = {
        "policy": str,
        "arena": str,
        "n_agents": int,
        "size": int | float,
        "estimates": dict,
    }
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(name), kind) for name, kind in kinds.items())
        and all(_is_estimate(estimate) for estimate in row["estimates"].values())
    )


def _is_estimate(estimate: Any) -> bool:
    return (
        isinstance(estimate, dict)
        and estimate.keys() == set(Estimate._fields)
        and all(isinstance(value, int | float) for value in estimate.values())
    )
