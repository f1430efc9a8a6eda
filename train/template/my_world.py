"""Agents that swim in a square pond whose edges meet, and like company, but not too close.

This line and the ones below are the world's documentation. Say what the agents want, and list the columns
of an entity row, the actions and the metrics with their units:

Entity row: x, y (m, x to the right, y up), shyness (a number from 0 to 1).
Action: velocity, in units of `speed`.
Metrics, per agent and step: friends (others within `reach`), crowded (others within half of it).
"""

import math
import sys
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

import interact_env
from interact_env import Column, Near, Pairs, check, rule
from interact_env.engine.random import uniform
from interact_env.render import Circle, Scene

METRICS = ("friends", "crowded")

# Numbers that tell one random draw from another.
X, Y, SHYNESS = range(3)


class Params(NamedTuple):
    """Scalars that the rules read. The first four are read by the engine too."""

    n_min: int
    n_max: int
    max_cycles: int  # 0: no limit
    vision_radius: float  # inf: sees all
    size: float
    reach: float
    speed: float


class State(NamedTuple):
    """One world of L slots; a batch adds an axis in front. Floats get the dtype that the user chose."""

    alive: np.ndarray  # (L,) bool, kept by the engine; score() may clear it
    x: np.ndarray  # (L,) m
    y: np.ndarray  # (L,) m
    shyness: np.ndarray  # (L,)
    company: np.ndarray  # (L, 2) int32: friends, and those who crowd


def configure(n_agents=8, size=16, reach=2.0, speed=0.5, vision_radius=6.0, max_cycles=100):
    """Check every parameter once, by name; the rules can then trust them.

    Args:
        n_agents: number of agents, or a (low, high) range; the engine draws from it.
        size: side of the pond, m.
        reach: distance at which another is company, m.
        speed: fastest swim, m per step.
        vision_radius: distance at which others are seen, m.
        max_cycles: steps until truncation.

    Raises:
        ValueError: a value is not allowed.
    """
    n_min, n_max = check.count_range("n_agents", n_agents)
    size = check.whole("size", size, 1)
    return Params(
        n_min=n_min,
        n_max=n_max,
        max_cycles=check.whole("max_cycles", max_cycles, 1),
        vision_radius=check.real("vision_radius", vision_radius, 0, size / 2),
        size=float(size),
        reach=check.real("reach", reach, 0, size / 2, above=True),
        speed=check.real("speed", speed, 0, size / 2, above=True),
    )


def blank(params):
    """Zeroed arrays of one world."""
    n = params.n_max
    x, y, shyness = np.zeros((3, n))
    return State(np.zeros(n, np.bool_), x, y, shyness, np.zeros((n, 2), np.int32))


def columns(params):
    """What an entity row holds: name, kind, bounds, unit; a position adds its longest wavelength.

    Policies see positions as displacements only, and a wavelength that fits the pond makes them
    agree across its edges.
    """
    size = float(params.size)
    return (
        Column("x", "position", 0, size, "m", int(size)),
        Column("y", "position", 0, size, "m", int(size)),
        Column("shyness", "real", 0, 1, ""),
    )


def action_space(params):
    """Of one agent: a Box of shape (K,), or Discrete from 0."""
    return spaces.Box(-1, 1, (2,), np.float32)


# Rules are compiled, concern ONE agent i, and cannot allocate arrays. All random numbers come from the
# key, so that a seed tells the whole episode.


@rule
def spawn(params, key, n, i, state):
    """Place agent i of n; the arrays come zeroed."""
    state.x[i] = params.size * uniform(key, i, X)
    state.y[i] = params.size * uniform(key, i, Y)
    state.shyness[i] = uniform(key, i, SHYNESS)


@rule
def swim(params, state, action, i, after):
    """A phase: reads `state`, writes row i of `after` (a copy of it), and no other row."""
    after.x[i] = wrap(params, state.x[i] + params.speed * action[i, 0])
    after.y[i] = wrap(params, state.y[i] + params.speed * action[i, 1])


@rule
def meet(params, state, i, j):
    """What agent j is to agent i: a friend, a crowd. Called for pairs, and reads their two rows only."""
    away = distance(params, state, i, j)
    return np.int32(away <= params.reach), np.int32(away <= params.reach / 2)


@rule
def reach(params, state):
    """How far apart agents meet at most, in sides of the pond."""
    return params.reach / params.size


@rule
def place(params, state, i):
    """Where agent i is, in sides of the pond."""
    return state.x[i] / params.size, state.y[i] / params.size


# Run one after the other, each for all agents: a later phase reads what an earlier one wrote to `after`.
# Pairs puts the sum of meet() over all others into row i of `company`. Near is optional: it tells the engine
# whom it need not ask, which pays from some hundred agents on.
PHASES = (swim, Pairs(meet, "company", Near(reach, place)))


@rule
def score(params, state, action, i, after, metrics):
    """The reward of agent i; `after` is finished now. To let the agent leave: after.alive[i] = False."""
    friends, crowded = after.company[i, 0], after.company[i, 1]
    metrics[0] = friends
    metrics[1] = crowded
    return metrics[0] - 2 * after.shyness[i] * metrics[1]


@rule
def observe(params, state, i, row):
    """Write the entity row of agent i, as `columns` describes it."""
    row[0] = state.x[i]
    row[1] = state.y[i]
    row[2] = state.shyness[i]


@rule
def visible(params, state, i, j):
    """Optional: whether agent i sees agent j."""
    return distance(params, state, i, j) <= params.vision_radius


@rule
def wrap(params, x):
    """The same place within [0, size)."""
    if x < 0:
        x += params.size
    if x >= params.size:
        x -= params.size
    return x


@rule
def distance(params, state, i, j):
    """Metres between two agents, the short way round."""
    dx, dy = abs(state.x[i] - state.x[j]), abs(state.y[i] - state.y[j])
    dx, dy = min(dx, params.size - dx), min(dy, params.size - dy)
    return math.sqrt(dx * dx + dy * dy)


@rule
def drift(params, key, state, i, clock, action):
    """Optional: a scripted policy to compare with; writes action[i]. This one swims to the right."""
    action[i, 0] = 1.0
    action[i, 1] = 0.0


POLICIES = {"drift": drift}


def scene(params, state):
    """Plain shapes for the viewer, y up."""
    size = float(params.size)
    circles = tuple(
        Circle(float(state.x[i]), float(state.y[i]), 0.25, int(state.shyness[i] > 0.5), agent=int(i))
        for i in np.flatnonzero(state.alive)
    )
    return Scene(size, size, (True, True), circles)


# The one line that makes the world known by name, here, in Gymnasium and in PettingZoo. When the physics
# changes, raise the version.
interact_env.register("my_world_v0", sys.modules[__name__])
