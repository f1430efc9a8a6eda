"""A world with float state, continuous actions, two phases and agents that leave, for the tests."""

from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from interact_env import Column, check, rule
from interact_env.engine.random import uniform
from interact_env.render import Circle, Scene

METRICS = ("speed",)


class Params(NamedTuple):
    n_min: int
    n_max: int
    max_cycles: int
    vision_radius: np.float32
    stiffness: np.float32
    limit: np.float32


class State(NamedTuple):
    alive: np.ndarray
    position: np.ndarray  # (L, 2) float32
    velocity: np.ndarray  # (L, 2) float32


def configure(n_agents=4, stiffness=0.1, limit=1.5, vision_radius=None, max_cycles=40):
    n_min, n_max = check.count_range("n_agents", n_agents)
    sight = np.inf if vision_radius is None else vision_radius
    return Params(n_min, n_max, max_cycles or 0, np.float32(sight), np.float32(stiffness), np.float32(limit))


def blank(params):
    n = params.n_max
    return State(np.zeros(n, np.bool_), np.zeros((n, 2), np.float32), np.zeros((n, 2), np.float32))


def columns(params):
    span = 2 * float(params.limit)
    return (
        Column("x", "position", -span, span, "m", 8),
        Column("y", "position", -span, span, "m", 8),
        Column("vx", "real", -10, 10, "m/s"),
        Column("vy", "real", -10, 10, "m/s"),
    )


def action_space(params):
    return spaces.Box(-1, 1, (2,), np.float32)


@rule
def spawn(params, key, n, i, state):
    state.position[i, 0] = np.float32(2) * uniform(key, i, 0) - np.float32(1)
    state.position[i, 1] = np.float32(2) * uniform(key, i, 1) - np.float32(1)


@rule
def drift(params, state, action, i, after):
    for k in range(2):
        after.position[i, k] = state.position[i, k] + np.float32(0.1) * state.velocity[i, k]


@rule
def kick(params, state, action, i, after):
    for k in range(2):
        force = action[i, k]
        for j in range(state.alive.size):
            if state.alive[j]:
                force += params.stiffness * (after.position[j, k] - after.position[i, k])
        after.velocity[i, k] = state.velocity[i, k] + np.float32(0.1) * force


PHASES = (drift, kick)


@rule
def score(params, state, action, i, after, metrics):
    x, y = after.position[i, 0], after.position[i, 1]
    vx, vy = after.velocity[i, 0], after.velocity[i, 1]
    if max(abs(x), abs(y)) > params.limit:
        after.alive[i] = False
    metrics[0] = vx * vx + vy * vy
    return -(x * x + y * y)


@rule
def observe(params, state, i, row):
    row[0], row[1] = state.position[i, 0], state.position[i, 1]
    row[2], row[3] = state.velocity[i, 0], state.velocity[i, 1]


@rule
def visible(params, state, i, j):
    dx = state.position[j, 0] - state.position[i, 0]
    dy = state.position[j, 1] - state.position[i, 1]
    return dx * dx + dy * dy <= params.vision_radius * params.vision_radius


def scene(params, state):
    at = state.position[state.alive] + params.limit
    return Scene(
        2 * params.limit, 2 * params.limit, (False, False), tuple(Circle(x, y, 0.1, 0) for x, y in at)
    )
