"""Uniform cells over an arena: agents within reach of each other are in the same cell or in adjacent ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from interact_env.engine.rule import inner
from interact_env.world import Near

CELLS = 2  # for each agent, at most; on the CPU 48 ns an agent with one, 36 with two, 29 with four
ROUNDING = 2.0**-20  # of the arena's side: more than float32 loses in `reach`, `place` and what follows
_MARGIN, _0, _1 = np.float32(ROUNDING), np.float32(0), np.float32(1)


def counting(near: Near) -> Callable[..., tuple[int, int]]:
    """The rule count(params, state, n) -> cells along an axis, each wider than the reach, and layers of them.

    All in float32, since a GPU takes its time over float64.
    """
    reach, place = near

    @inner
    def count(params, state, n):
        axes = len(place(params, state, 0))
        fit = _1 / (np.float32(reach(params, state)) + _MARGIN)
        side = int(min(np.float32(CELLS * n) ** np.float32(1 / axes), fit))
        if side * side * (side if axes == 3 else 1) > CELLS * n:  # the root was rounded up
            side -= 1
        return side, side if axes == 3 else 1

    return count


def numbering(near: Near) -> Callable[..., int]:
    """The rule number(params, state, i, side) -> the cell of agent i."""
    place = near.place

    @inner
    def number(params, state, i, side):
        cell = 0
        for u in place(params, state, i):
            cell = cell * side + _along(u, side)
        return cell

    return number


@inner
def _along(u, side):
    if u >= _1:
        return side - 1
    if not u > _0:  # nor a number
        return 0
    return min(int(u * np.float32(side)), side - 1)


def looking_around(pair: Callable[..., Any], add: Callable[..., None]) -> Callable[..., None]:
    """The rule look(params, rows, i, x, y, z, side, layers, start, sums) that adds what row i gets.

    Its cell is (x, y, z); the rows of cell c are start[c] to start[c + 1]. Opposite edges are adjacent.
    """

    @inner
    def add_rows(params, rows, i, first, last, sums):
        for j in range(np.uint64(first), np.uint64(last)):
            add(sums, 0, pair(params, rows, i, j), i != j)

    @inner
    def look(params, rows, i, x, y, z, side, layers, start, sums):
        deep = 1 if layers > 1 else 0
        for dz in range(-deep, deep + 1):
            for dy in range(-1, 2):
                row = (around(z + dz, layers) * side + around(y + dy, side)) * side
                add_rows(params, rows, i, start[row + max(x - 1, 0)], start[row + min(x + 2, side)], sums)
                if x == 0:
                    add_rows(params, rows, i, start[row + side - 1], start[row + side], sums)
                elif x == side - 1:
                    add_rows(params, rows, i, start[row], start[row + 1], sums)

    return look


@inner
def around(c, side):
    """A coordinate less than once round out of [0, side), brought back into it."""
    if c < 0:
        return c + side
    return c - side if c >= side else c
