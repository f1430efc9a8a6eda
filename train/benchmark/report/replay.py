"""Episodes for the report's replay: what there is to see at each step, and who attends to whom.

Places are kept to a 2^-13th of the arena's width, attention to 2^-18 (4e-6): whole numbers pack well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from interact_env.engine import WorldBatch
from interact_env.render import Scene
from train.benchmark.report.packing import Packed, pack
from train.evaluate import Act
from train.player import Player
from train.policy import EntityPolicy, joint_observation

STEPS = 60  # of an episode
KEPT = 12  # others that an agent attends to most, of which the weights are kept
PLACE, WEIGHT = 2**13, 2**17  # parts of an arena's width, and of 1
_THERE, _FLASH = 1, 2
_LEAST = 1000  # characters
Shape = tuple[int, int, float]  # agent, colour, radius


class Attention(NamedTuple):
    """Who attends to whom at one moment: for every agent itself, then the others it attends to most."""

    counts: np.ndarray  # (L,) entries of each agent, 0 of those that are not there
    others: np.ndarray  # (entries,) slots
    weights: np.ndarray  # (entries, layers, heads)


class Scenery(NamedTuple):
    """The shapes of an episode: what never changes, and what does."""

    width: float
    height: float
    wrap: tuple[bool, bool]
    circles: list[Shape]
    arrows: list[Shape]
    lines: list[Shape]
    motion: Packed  # (steps, numbers): x, y of circles; x, y, dx, dy of arrows; x1, y1, x2, y2 of lines
    flags: Packed  # (steps, circles): 1 there, 2 an event


class Episode(NamedTuple):
    """One episode as it was played; `attention` is empty for policies that weigh no pairs."""

    scenery: Scenery
    rewards: list[float]  # of each step, per agent of the start
    collisions: list[float] | None  # per agent, since the start
    attention: list[Attention]


def play(batch: WorldBatch, act: Act, policy: EntityPolicy | None, seed: int, steps: int = STEPS) -> Episode:
    """Play the first steps of episode 0 of a seed.

    Args:
        batch: of one world.
        act: the policy.
        policy: its network, whose attention is kept; None: a scripted one.
        seed: of the world and of the actions that are sampled.
        steps: at most; fewer where the episode ends.
    """
    player = Player("", batch, act, policy, seed)
    moments, rewards, attention = [player.now], [], [attended(batch, policy)]
    while len(moments) <= steps and player.forward():
        moments.append(player.now)
        rewards.append(round(float(batch.reward[0].sum()) / player.now.started, 4))
        attention.append(attended(batch, policy))
    collisions = [round(moment.collisions, 3) for moment in moments if moment.collisions is not None]
    return Episode(
        _scenery([moment.scene for moment in moments]),
        rewards,
        collisions or None,
        [one for one in attention if one is not None],
    )


def attended(batch: WorldBatch, policy: EntityPolicy | None) -> Attention | None:
    """The attention of every agent of the batch's first world; None: the policy weighs no pairs."""
    if policy is None:
        return None
    seen = joint_observation(batch, policy.device)
    visible = seen.get("visible")
    try:
        layers = policy.network.weights(seen["entities"], seen["mask"], visible)
    except ValueError:
        return None
    weights = np.stack([layer[0].cpu().numpy() for layer in layers])  # (layers, heads, L, L)
    alive = batch.alive[0]
    there = alive[:, None] & alive & (True if visible is None else visible[0].cpu().numpy())
    counts = np.zeros(len(alive), np.int64)
    others, kept = [np.zeros(0, np.int64)], [np.zeros((0, *weights.shape[:2]))]  # all may have left
    for agent in np.flatnonzero(alive):
        row = weights[:, :, agent]
        candidates = np.flatnonzero(there[agent])
        candidates = candidates[candidates != agent]
        strongest = np.argsort(-np.abs(row[:, :, candidates]).max((0, 1)), kind="stable")[:KEPT]
        chosen = np.concatenate([[agent], candidates[strongest]])
        counts[agent] = len(chosen)
        others.append(chosen)
        kept.append(np.moveaxis(row[:, :, chosen], 2, 0))
    return Attention(counts, np.concatenate(others), np.concatenate(kept))


class Record(NamedTuple):
    """An episode as the page holds it."""

    scenery: Scenery
    rewards: list[float]
    collisions: list[float] | None
    layers: int
    heads: int
    every: int  # steps from one whose attention is kept to the next, 0: none is
    counts: Packed | None  # (kept steps, L)
    others: Packed | None  # (all entries,)
    weights: Packed | None  # (all entries, layers, heads), in 1 / WEIGHT


def size(record: Record) -> int:
    """Characters of a record, all but a few hundred."""
    packed = (record.scenery.motion, record.scenery.flags, record.counts, record.others, record.weights)
    shapes = record.scenery.circles + record.scenery.arrows + record.scenery.lines
    return sum(len(part.data) for part in packed if part) + 12 * len(shapes) + 16 * len(record.rewards)


def fitted(episodes: Sequence[Episode], room: int) -> list[Record]:
    """Records of episodes that take `room` characters together, or little more than their scenery.

    Each may be as large as the others; attention that does not fit is kept at every second, fourth ... step.
    """
    ladders = [_ladder(episode) for episode in episodes]
    limit = room
    while True:
        records = [next((r for r in ladder if size(r) <= limit), ladder[-1]) for ladder in ladders]
        if sum(map(size, records)) <= room or limit < _LEAST:
            return records
        limit = limit * 3 // 4


def _ladder(episode: Episode) -> list[Record]:
    """Records of an episode, the largest first; the last without attention."""
    steps = (2**k for k in range(len(episode.attention).bit_length()))
    return [recorded(episode, every) for every in steps if every < len(episode.attention)] + [
        recorded(episode, 0)
    ]


def recorded(episode: Episode, every: int) -> Record:
    """An episode, with the attention of every so many steps; 0: of none."""
    kept = episode.attention[::every] if every else []
    layers, heads = episode.attention[0].weights.shape[1:] if episode.attention else (0, 0)
    return Record(
        episode.scenery,
        episode.rewards,
        episode.collisions,
        layers,
        heads,
        every=every if kept else 0,
        counts=pack(np.stack([one.counts for one in kept])) if kept else None,
        others=pack(np.concatenate([one.others for one in kept])) if kept else None,
        weights=_weights(kept) if kept else None,
    )


def _weights(kept: Sequence[Attention]) -> Packed:
    """Fixed-point numbers, whatever their size: softmax's are below 1, sums have no bound."""
    return pack(np.rint(np.concatenate([one.weights for one in kept]) * WEIGHT))


def _scenery(scenes: Sequence[Scene]) -> Scenery:
    """What agents look like is taken from where they are first seen; others' shapes may not come and go."""
    circles, arrows, lines = (
        [_keyed(getattr(s, kind)) for s in scenes] for kind in ("circles", "arrows", "lines")
    )
    wide = scenes[0].width
    names = [list(dict.fromkeys(key for step in steps for key in step)) for steps in (circles, arrows, lines)]
    motion = [
        [
            *(n for key in names[0] for n in _numbers(circle.get(key), (0, 1))),
            *(n for key in names[1] for n in _numbers(arrow.get(key), (0, 1, 2, 3))),
            *(n for key in names[2] for n in _numbers(line.get(key), (0, 1, 2, 3))),
        ]
        for circle, arrow, line in zip(circles, arrows, lines, strict=True)
    ]
    flags = [[_flags(circle.get(key)) for key in names[0]] for circle in circles]
    quantised = np.clip(np.rint(np.array(motion) / wide * PLACE), -(2**15) + 1, 2**15 - 1)
    return Scenery(
        width=round(float(scenes[0].width), 6),
        height=round(float(scenes[0].height), 6),
        wrap=scenes[0].wrap,
        circles=_looks(names[0], circles),
        arrows=_looks(names[1], arrows),
        lines=_looks(names[2], lines),
        motion=pack(quantised, differences=True),
        flags=pack(np.array(flags), differences=True),
    )


Key = tuple[int, int]


def _keyed(shapes: Iterable[Any]) -> dict[Key, Any]:
    """Shapes by their agent, and their number among its shapes."""
    found: dict[Key, Any] = {}
    for shape in shapes:
        number = 0
        while (shape.agent, number) in found:
            number += 1
        found[shape.agent, number] = shape
    return found


def _numbers(shape: Any, which: tuple[int, ...]) -> list[float]:
    return [0.0 if shape is None else float(shape[k]) for k in which]


def _flags(circle: Any) -> int:
    return 0 if circle is None else _THERE + _FLASH * bool(circle.flash)


def _looks(names: Sequence[Key], steps: Sequence[dict[Key, Any]]) -> list[Shape]:
    first = [next(step[key] for step in steps if key in step) for key in names]
    return [(s.agent, int(s.color), round(float(getattr(s, "radius", 0.0)), 4)) for s in first]
