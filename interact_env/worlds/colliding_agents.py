"""Agents on a grid of cells that want to move along their headings without colliding.

Source: the colliding-agents environment of Ustaomeroglu and Qu, "A theoretical study of (hyper)
self-attention through the lens of interactions", ICML 2025 (arXiv 2506.06179): identical agents of
radius R on a cylinder, all moving right. Torus, four headings, labels and removal are ours.

Entity row: x, y (cells; x points right, y up), heading (0 right, 1 up, 2 left, 3 down), label.
Actions: 0 stay, 1 right, 2 up, 3 left, 4 down; a wall of the cylinder stops a move.
Metrics, per agent and step: progress (cells moved along the heading, -1 against it), collisions
(partners within 2 * radius after the move).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from interact_env import check
from interact_env.engine.cells import around
from interact_env.engine.random import WORLD, below, bits, shuffled
from interact_env.engine.rule import rule
from interact_env.render.scene import Arrow, Circle, Scene
from interact_env.world import Column, Near, Pairs

METRICS = ("progress", "collisions")

# Displacement of each action in cells; heading h is the action h + 1.
_DX = (0, 1, 0, -1, 0)
_DY = (0, 0, 1, 0, -1)
_ALL, _SAME, _DIFFERENT, _MATRIX = range(4)
_COLLIDES = {"all": _ALL, "same": _SAME, "different": _DIFFERENT}
# Purposes of the random draws.
_SLOT, _SHIFT, _AGENT = range(3)
_LONGEST = 2**15  # cells; below 3 left and right would be the same
_DENSITY = 1 / 32  # agents per cell: 8 agents in 16 x 16


class Params(NamedTuple):
    """What the rules read; lengths in cells."""

    n_min: int
    n_max: int
    max_cycles: int
    vision_radius: float  # inf: sees all
    radius: int
    size: int  # 0: follows from cells_per_agent in every episode
    cells_per_agent: float
    period: int
    cylinder: bool
    square: bool
    four_headings: bool
    n_labels: int
    collides: int
    matrix: np.ndarray  # (K, K) bool, with collides = _MATRIX: label a collides with label b
    collision_cost: float
    remove_on_collision: bool


class State(NamedTuple):
    """One world of L slots."""

    alive: np.ndarray  # (L,) bool
    x: np.ndarray  # (L,) int32, cells
    y: np.ndarray  # (L,) int32, cells
    heading: np.ndarray  # (L,) int32
    label: np.ndarray  # (L,) int32
    partners: np.ndarray  # (L,) int32, in collision after the last step
    size: np.ndarray  # (1,) int32, cells


def configure(
    n_agents: int | tuple[int, int] = 8,
    size: int | None = None,
    density: float | None = None,
    radius: int = 1,
    shape: str = "disc",
    topology: str = "torus",
    headings: str = "four",
    n_labels: int = 1,
    collides: str | Sequence[Sequence[bool]] = "all",
    collision_cost: float = 1.0,
    remove_on_collision: bool = False,
    vision_radius: float | str | None = "auto",
    period: int = 16,
    max_cycles: int | None = 128,
) -> Params:
    """Validate the parameters of the world.

    Args:
        n_agents: number of agents, or a (low, high) range drawn anew for every episode.
        size: side of the square arena, cells; or
        density: agents per cell, from which the size follows, rounded up to a multiple of `period`
            (default 1/32: 8, 32, 128, 512 agents in 16, 32, 64, 128 cells).
        radius: radius R of an agent, cells; two collide within 2R of each other.
        shape: "disc" (Euclidean distance) or "square" (Chebyshev), for collisions and vision.
        topology: "torus", or "cylinder": wraps vertically, walls left and right.
        headings: "four" (drawn per agent) or "right" (all, as in the paper).
        n_labels: labels are drawn from range(n_labels).
        collides: which pairs can collide, by label: "all", "same", "different", or a matrix of n_labels rows
            of n_labels flags (or 0 and 1): row a, column b tells whether an agent of label a pays for (and
            leaves after) meeting one of label b. It need not be symmetric: hunters and prey.
        collision_cost: reward lost per partner in collision.
        remove_on_collision: colliding agents leave.
        vision_radius: an agent sees the others within this distance, cells; None: all of them;
            "auto": 2R + 3 (one cell more than can meet it in one step), at most period / 2.
        period: longest wavelength of position codes, cells; a torus is a multiple of it wide.
        max_cycles: steps until truncation; None: no limit.

    Raises:
        ValueError: a value is not allowed, or so many agents do not fit.
    """
    n_min, n_max = check.count_range("n_agents", n_agents)
    period = check.whole("period", period, 3, _LONGEST)
    radius = check.whole("radius", radius, 0, _LONGEST)
    if size is not None and density is not None:
        raise ValueError("give size or density, not both")
    if size is not None:
        size = check.whole("size", size, 3, _LONGEST)
        if size % period:
            raise ValueError(
                f"size must be a multiple of period={period}, not {size}; "
                f"for an arena of {size} cells pass period={size} too"
            )
    n_labels = check.whole("n_labels", n_labels, 1, 2**15)
    rule_of_labels, matrix = _collides(collides, n_labels)
    density = check.real("density", _DENSITY if density is None else density, 0, 1, above=True)
    # Beyond half the longest wavelength a displacement and its mirror image look the same.
    farthest = period / 2
    params = Params(
        n_min=n_min,
        n_max=n_max,
        max_cycles=0 if max_cycles is None else check.whole("max_cycles", max_cycles, 1, 2**31),
        vision_radius=check.vision("vision_radius", vision_radius, min(2 * radius + 3.0, farthest), farthest),
        radius=radius,
        size=size or 0,
        cells_per_agent=1 / density,
        period=period,
        cylinder=check.one_of("topology", topology, ("torus", "cylinder")) == "cylinder",
        square=check.one_of("shape", shape, ("disc", "square")) == "square",
        four_headings=check.one_of("headings", headings, ("four", "right")) == "four",
        n_labels=n_labels,
        collides=rule_of_labels,
        matrix=matrix,
        collision_cost=check.real("collision_cost", collision_cost, 0, 1e6),
        remove_on_collision=check.flag("remove_on_collision", remove_on_collision),
    )
    _check_fit(params)
    return params


def _collides(given: str | Sequence[Sequence[bool]], n_labels: int) -> tuple[int, np.ndarray]:
    """The rule of labels, and its matrix where it is one."""
    if isinstance(given, str):
        return _COLLIDES[check.one_of("collides", given, tuple(_COLLIDES))], np.ones((1, 1), np.bool_)
    try:
        matrix = np.array(given)
    except ValueError:  # rows of unequal length
        matrix = np.empty(0)
    if matrix.shape != (n_labels, n_labels) or not np.isin(matrix, (0, 1)).all():
        allowed = ", ".join(map(repr, _COLLIDES))
        raise ValueError(
            f"collides must be one of {allowed} or a matrix of {n_labels} x {n_labels} (n_labels) flags, "
            f"not {given!r}"
        )
    return _MATRIX, matrix.astype(np.bool_)


def _check_fit(params: Params) -> None:
    for n in range(params.n_min, params.n_max + 1):
        side = arena_size(params, n)
        room = capacity(params, side, False) * capacity(params, side, params.cylinder)
        if n > room:
            kind = "cylinder" if params.cylinder else "torus"
            raise check.DoesNotFit(
                f"n_agents={n} do not fit: at most {room} agents of radius {params.radius} start side by "
                f"side on a {kind} of {side} x {side} cells; lower n_agents or radius, or raise size"
            )


def blank(params: Params) -> State:
    """Arrays of one world, all zero."""
    n = params.n_max
    x, y, heading, label, partners = np.zeros((5, n), np.int32)
    return State(np.zeros(n, np.bool_), x, y, heading, label, partners, np.zeros(1, np.int32))


def columns(params: Params) -> tuple[Column, ...]:
    """What an entity row holds."""
    edge = float(arena_size(params, params.n_max) - 1)
    return (
        Column("x", "position", 0, edge, "cells", params.period),
        Column("y", "position", 0, edge, "cells", params.period),
        Column("heading", "category", 0, 3, "right, up, left, down", 4),
        Column("label", "category", 0, params.n_labels - 1, "label", params.n_labels),
    )


def action_space(params: Params) -> spaces.Discrete:
    """stay, right, up, left, down."""
    return spaces.Discrete(5)


@rule
def arena_size(params, n):
    """Side of the arena of n agents, cells."""
    if params.size > 0:
        return params.size
    side = params.period
    # The tolerance keeps 8 agents at a density of 1/32 in 16 cells, not in 32.
    while side * side < n * params.cells_per_agent * np.float32(0.99999):
        side += params.period
    return side


@rule
def capacity(params, side, walls):
    """Agents that fit side by side along an axis without colliding; beside a wall one needs no gap."""
    width = 2 * params.radius + 1
    return max(1, (side + 2 * params.radius) // width if walls else side // width)


@rule
def begin(params, key, n, state):
    """Set what holds for the whole episode of n agents."""
    state.size[0] = arena_size(params, n)


@rule
def spawn(params, key, n, i, state):
    """Place agent i of n in a slot of its own, at random within it, so that nobody collides."""
    side = state.size[0]
    # About two slots per agent where they fit: some stay empty, and agents get room within theirs.
    wanted = math.ceil(math.sqrt(np.float32(2 * n)))
    across = min(wanted, capacity(params, side, params.cylinder))
    up = min(wanted, capacity(params, side, False))
    slot = shuffled(key, _SLOT, i, across * up)
    draw = bits(key, i, _AGENT)
    shift = bits(key, WORLD, _SHIFT)
    x = _place(params, side, slot % across, across, draw[0], params.cylinder)
    y = _place(params, side, slot // across, up, draw[1], False)
    state.x[i] = x if params.cylinder else (x + below(shift[0], side)) % side
    state.y[i] = (y + below(shift[1], side)) % side
    state.heading[i] = below(draw[2], 4) if params.four_headings else 0
    state.label[i] = below(draw[3], params.n_labels)


@rule
def _place(params, side, slot, n_slots, word, walls):
    span = side + 2 * params.radius if walls else side
    low = slot * span // n_slots
    high = (slot + 1) * span // n_slots
    return low + below(word, max(1, high - low - 2 * params.radius))


@rule
def move(params, state, action, i, after):
    """Move agent i by its action."""
    after.x[i], after.y[i] = _target(params, state, i, action[i])


@rule
def meet(params, state, i, j):
    """1 if agent i collides with agent j, else 0."""
    far = _far(params, state, state.x[j] - state.x[i], state.y[j] - state.y[i])
    return np.int32(_collide(params, state, i, j, far <= _touch(params)))


@rule
def reach(params, state):
    """How far apart two can collide, in sides of the arena."""
    return np.float32(2 * params.radius) / np.float32(state.size[0])


@rule
def place(params, state, i):
    """Where agent i is, in sides of the arena."""
    side = np.float32(state.size[0])
    return np.float32(state.x[i]) / side, np.float32(state.y[i]) / side


PHASES = (move, Pairs(meet, "partners", Near(reach, place)))


@rule
def score(params, state, action, i, after, metrics):
    """Reward of agent i: cells of progress, minus the cost of each partner in collision."""
    collisions = after.partners[i]
    dx, dy = _shortest(params, state, after.x[i] - state.x[i], after.y[i] - state.y[i])
    heading = state.heading[i] + 1
    progress = dx * _DX[heading] + dy * _DY[heading]
    if params.remove_on_collision and collisions > 0:
        after.alive[i] = False
    metrics[0] = progress
    metrics[1] = collisions
    return np.float32(progress) - params.collision_cost * np.float32(collisions)


@rule
def observe(params, state, i, row):
    """Write the entity row of agent i."""
    row[0] = state.x[i]
    row[1] = state.y[i]
    row[2] = state.heading[i]
    row[3] = state.label[i]


@rule
def visible(params, state, i, j):
    """Whether agent i sees agent j."""
    reach = params.vision_radius if params.square else params.vision_radius * params.vision_radius
    return _far(params, state, state.x[j] - state.x[i], state.y[j] - state.y[i]) <= reach


@rule
def _target(params, state, i, action):
    side = state.size[0]
    x = state.x[i] + _DX[action]
    x = min(max(x, 0), side - 1) if params.cylinder else around(x, side)
    return x, around(state.y[i] + _DY[action], side)


@rule
def _shortest(params, state, dx, dy):
    """The shortest displacement among those that (dx, dy) stands for in a world that wraps."""
    side = state.size[0]
    if not params.cylinder:
        dx = _wrap(dx, side)
    return dx, _wrap(dy, side)


@rule
def _wrap(d, side):
    if 2 * d > side:
        return d - side
    if 2 * d < -side:
        return d + side
    return d


@rule
def _far(params, state, dx, dy):
    """Length of a displacement the short way round, cells: its longer side (square), or squared (disc)."""
    side = state.size[0]
    # int32 throughout, which holds all of it, and of which a processor takes the most at a time.
    dx, dy = np.int32(abs(dx)), np.int32(abs(dy))
    dx = dx if params.cylinder else np.int32(min(dx, np.int32(side - dx)))
    dy = np.int32(min(dy, np.int32(side - dy)))
    return max(dx, dy) if params.square else np.int32(dx * dx + dy * dy)


@rule
def _touch(params):
    """What `_far` is at most for agents that touch."""
    touch = 2 * params.radius
    return np.int32(touch if params.square else min(touch * touch, 2**31 - 1))


@rule
def _collide(params, state, i, j, near):
    """Whether agent i collides with agent j, if they are near each other."""
    # In this form a loop over pairs does several at a time, and no look-up where there is no matrix.
    if params.collides == _MATRIX:
        return near and params.matrix[np.uint32(state.label[i]), np.uint32(state.label[j])]
    same = state.label[i] == state.label[j]
    return near & ((same == (params.collides == _SAME)) | (params.collides == _ALL))


@rule
def move_right(params, key, state, i, clock, action):
    """The paper's policy: always right."""
    action[i] = 1


@rule
def go_ahead(params, key, state, i, clock, action):
    """Always along the heading."""
    action[i] = state.heading[i] + 1


@rule
def give_way(params, key, state, i, clock, action):
    """The action of most reward if every agent in sight went ahead; at equal value it waits."""
    ahead = state.heading[i] + 1
    best, best_value = 0, np.float32(-np.inf)
    # Preference at equal value: stay, ahead, to the sides, back.
    for option in (0, ahead, ahead % 4 + 1, (ahead + 2) % 4 + 1, (ahead + 1) % 4 + 1):
        x, y = _target(params, state, i, option)
        met = 0
        for j in range(state.alive.size):
            if state.alive[j] and j != i and visible(params, state, i, j):
                x_j, y_j = _target(params, state, j, state.heading[j] + 1)
                far = _far(params, state, x_j - x, y_j - y)
                met += _collide(params, state, i, j, far <= _touch(params))
        along = _DX[option] * _DX[ahead] + _DY[option] * _DY[ahead]
        value = np.float32(along) - params.collision_cost * np.float32(met)
        if value > best_value:
            best, best_value = option, value
    action[i] = best


KEYS = {"right": 1, "up": 2, "left": 3, "down": 4}
POLICIES = {"yield": give_way, "go_ahead": go_ahead, "move_right": move_right}


def scene(params: Params, state: State) -> Scene:
    """Agents as discs with an arrow along the heading; colliding ones flash."""
    hit = np.zeros(state.alive.size, np.bool_)
    _touching(params, state, hit)
    radius = max(float(params.radius), 0.4)
    # Plain numbers at once: picked one by one out of arrays they take most of the time.
    xs, ys, headings, labels = (a.tolist() for a in (state.x, state.y, state.heading + 1, state.label))
    circles, arrows = [], []
    for i in np.flatnonzero(state.alive).tolist():
        x, y, heading = xs[i] + 0.5, ys[i] + 0.5, headings[i]
        circles.append(Circle(x, y, radius, labels[i], bool(hit[i]), i))
        arrows.append(Arrow(x, y, radius * int(_DX[heading]), radius * int(_DY[heading]), agent=i))
    side = int(state.size[0])
    return Scene(side, side, (not params.cylinder, True), tuple(circles), tuple(arrows))


@rule
def _touching(params, state, hit):
    for i in range(state.alive.size):
        for j in range(state.alive.size):
            if state.alive[i] and state.alive[j] and i != j and meet(params, state, i, j):
                hit[i] = True
