"""Worlds of two and three dimensions that only sum over pairs, of neighbours and of all."""

import types
from typing import NamedTuple

import numpy as np

from interact_env import Column, World, rule
from interact_env.world import Near, Pairs
from interact_env.worlds import colliding_agents


class Params(NamedTuple):
    n_min: int
    n_max: int
    max_cycles: int
    vision_radius: float
    dims: int
    reach: float
    walls: bool


class State(NamedTuple):
    alive: np.ndarray
    at: np.ndarray  # (L, 3), in [0, 1) of a torus, or beyond: then the world has walls
    near: np.ndarray  # (L, 2) int32
    weight: np.ndarray  # (L,)
    table: np.ndarray  # (4,), of the world


def configure(n_agents=4, dims=2, reach=0.1, walls=False):
    return Params(1, n_agents, 0, np.inf, dims, reach, walls)


def blank(params):
    n = params.n_max
    return State(
        np.zeros(n, np.bool_), np.zeros((n, 3)), np.zeros((n, 2), np.int32), np.zeros(n), np.zeros(4)
    )


@rule
def apart(params, state, i, j, a):
    d = abs(state.at[i, a] - state.at[j, a])
    return d if params.walls else min(d, 1 - d)


@rule
def within(params, state, i, j):
    far = max(apart(params, state, i, j, 0), apart(params, state, i, j, 1))
    if params.dims == 3:
        far = max(far, apart(params, state, i, j, 2))
    return np.int32(far <= params.reach), np.int32(2 * (far <= params.reach / 2))


@rule
def weigh(params, state, i, j):
    return state.table[1] / (state.table[2] + abs(state.at[i, 0] - state.at[j, 0]))


@rule
def reach(params, state):
    return params.reach


@rule
def flat_place(params, state, i):
    return state.at[i, 0], state.at[i, 1]


@rule
def deep_place(params, state, i):
    return state.at[i, 0], state.at[i, 1], state.at[i, 2]


@rule
def nothing(params, key, n, i, state):
    state.table[1], state.table[2] = 3, 1


@rule
def no_reward(params, state, action, i, after, metrics):
    metrics[0] = 0
    return np.float32(0)


@rule
def no_row(params, state, i, row):
    row[0] = 0


def world_of(dims):
    module = types.ModuleType(f"sums_{dims}")
    names = {name: value for name, value in globals().items() if name in ("configure", "blank")}
    place = deep_place if dims == 3 else flat_place
    vars(module).update(
        names,
        columns=lambda params: (Column("x", "real", 0, 1, ""),),
        action_space=colliding_agents.action_space,
        METRICS=("none",),
        PHASES=(Pairs(within, "near", Near(reach, place)), Pairs(weigh, "weight")),
        spawn=nothing,
        score=no_reward,
        observe=no_row,
        scene=lambda params, state: None,
    )
    return World.from_module(module.__name__, module)


WORLDS = {dims: world_of(dims) for dims in (2, 3)}


def strew(batch, random, widest):
    """Strew the agents of a batch over `widest` arenas, some on cells' borders, and let some be absent."""
    saved = batch.save()
    shape = saved["state.at"].shape
    at = widest * random.random(shape) if widest > 1 else widest * random.random(shape) % 1
    on_borders = random.random(shape) < 0.5
    saved["state.at"] = np.where(on_borders, np.round(at * 10) / 10 % (1 if widest <= 1 else 9), at).astype(
        batch.dtype
    )
    saved["state.at"][random.random(shape[:2]) < 0.02] = np.nan if widest > 1 else 0.5
    saved["state.alive"] = random.random(shape[:2]) < 0.8
    saved["state.alive"][:, 0] = True
    batch.restore(saved)
