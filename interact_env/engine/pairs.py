"""Sums over pairs of agents on the CPU: all of them, several at a time, or those in neighbouring cells.

The rows of the living are first packed side by side, so that no pair asks who is alive, and neighbours in
space are neighbours in memory. Both ways give the same bits: whole numbers may be added in any order, and
floats are always added in the order of the agents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from interact_env.engine.cache import names_read
from interact_env.engine.cells import CELLS, counting, looking_around, numbering
from interact_env.engine.generated import generated
from interact_env.engine.rule import inner
from interact_env.world import Near, Pairs

# Agents whose sums grow together, and how many of float32 a CPU adds at once.
_LANES, _VECTOR = 64, 16
# Agents from which cells are faster than all pairs: measured with colliding agents at the default density,
# 36 ns an agent by cells at any number, and by all pairs 16 at 64, 36 at 160, 107 at 512.
CELLS_FROM = 160
_0 = np.int8(0)  # leaves a number of any dtype as it is


class Scratch(NamedTuple):
    """Lists of agents, for T threads and worlds of L slots."""

    order: np.ndarray  # (T, L) int32, the agent of each packed row
    cell: np.ndarray  # (T, L) int32, the cell of each agent
    start: np.ndarray  # (T, 2 L + 2) int32, the first packed row of each cell
    cells_from: int  # agents


class Fields(NamedTuple):
    """The State of one world, and which of its fields have a row for each agent."""

    state: Any
    per_agent: frozenset[str]


def scratch(fields: Fields, n_threads: int) -> tuple[Any, Scratch]:
    """Work space of T = `n_threads` threads for worlds of the shapes and dtypes of `fields.state`.

    Returns:
        packed, a State of arrays (T, ..., L rounded up) with the agents of a world on the last axis; and
        the rest. Nothing in them outlives a phase.
    """
    n = len(fields.state.alive)
    room = -(-n // _LANES) * _LANES
    packed = (
        np.zeros(
            (n_threads, *(a.shape[:0:-1]), room) if name in fields.per_agent else (n_threads, 1), a.dtype
        )
        for name, a in fields.state._asdict().items()
    )
    order, cell, start = (np.zeros((n_threads, m), np.int32) for m in (n, n, CELLS * n + 2))
    return type(fields.state)(*packed), Scratch(order, cell, start, CELLS_FROM)


def sum_pairs(phase: Pairs, fields: Fields) -> Callable[..., None]:
    """The loop of a phase over pairs: loop(params, state, actions, after, packed, scratch, t) on thread t."""
    pack, all_pairs = _pack(phase.pair, fields), _all_pairs(phase, fields)
    if phase.near is None:

        @inner
        def every(params, state, actions, after, packed, scratch, t):
            order = scratch.order[t]
            n = _living(after.alive, order)
            all_pairs(params, after, pack(after, packed, n, order, t), n, order)

        return every

    count, sort, neighbours = counting(phase.near), _sort(phase.near), _neighbours(phase, fields)

    @inner
    def near(params, state, actions, after, packed, scratch, t):
        order, start = scratch.order[t], scratch.start[t]
        n = _living(after.alive, order)
        side, layers = count(params, after, n) if n >= scratch.cells_from else (0, 0)
        if side < 3:  # a cell would be its own neighbour
            all_pairs(params, after, pack(after, packed, n, order, t), n, order)
            return
        sort(params, after, side, layers, order, scratch.cell[t], start)
        neighbours(params, after, pack(after, packed, n, order, t), side, layers, order, start)

    return near


@inner
def _living(alive, order):
    """How many live; `order` lists them."""
    n = 0
    for i in range(alive.size):
        if alive[i]:
            order[n] = i
            n += 1
    return n


def _pack(pair: Callable[..., Any], fields: Fields) -> Callable[..., Any]:
    """A State of the rows that `pair` reads, in a given order, side by side; others are not filled in."""
    kind, names = type(fields.state), fields.state._fields
    fill = generated(
        "fill(state, packed, n, order)",
        "{gather(state.FIELD, packed.FIELD, n, order);}",
        rows_read(pair, fields),
        gather=_gather,
    )
    places = (f"packed.{name}[t].T" if name in fields.per_agent else f"state.{name}" for name in names)
    view = generated("view(state, packed, t)", "return State({FIELD,})", places, State=kind)

    @inner
    def pack(state, packed, n, order, t):
        rows = view(state, packed, t)
        fill(state, rows, n, order)
        return rows

    return pack


def rows_read(pair: Callable[..., Any], fields: Fields) -> list[str]:
    """The fields of which `pair` may read the rows of two agents."""
    read = names_read(pair) & fields.per_agent
    return [name for name in fields.state._fields if name in read]


@inner
def _gather(source, packed, n, order):
    if source.ndim == 1:
        for k in range(n):
            packed[k] = source[order[k]]
    elif source.ndim == 2:
        for a in range(source.shape[1]):
            for k in range(n):
                packed[k, a] = source[order[k], a]
    else:
        for k in range(n):
            packed[k] = source[order[k]]


def width(phase: Pairs, fields: Fields) -> int:
    """How many numbers an agent gets."""
    return int(getattr(fields.state, phase.into)[:1].size)


def sums_of(phase: Pairs, fields: Fields, lanes: int) -> tuple[Callable[..., Any], ...]:
    """What adds up the numbers of up to `lanes` agents in an array `sums` of width * lanes.

    Returns:
        clear(sums, l); add(sums, l, given, other); put(sums, l, after, i).
    """
    field = getattr(fields.state, phase.into)
    each = [str(k) for k in range(width(phase, fields))]
    cell = f"sums[FIELD * {lanes} + l]"
    given, row = ("given", "i") if field.ndim == 1 else ("given[FIELD]", "i, FIELD")
    return (
        generated("clear(sums, l)", f"{{{cell} = 0;}}", each),
        generated("add(sums, l, given, other)", f"{{{cell} += {given} if other else _0;}}", each, _0=_0),
        generated("put(sums, l, after, i)", f"{{after.{phase.into}[{row}] = {cell};}}", each),
    )


def _local(name: str, size: int) -> Callable[..., Any]:
    """A function of a State that gives `size` numbers of the dtype of the field `name`, on the stack.

    The compiler knows that nothing else points there, so it can add up several agents at once.
    """
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return lambda state: np.zeros(size, getattr(state, name).dtype)

    @intrinsic
    def local(typing: Any, state: Any) -> Any:
        dtype = state.types[state.fields.index(name)].dtype

        def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            count = ir.Constant(ir.IntType(64), size)
            return cgutils.alloca_once(builder, context.get_data_type(dtype), size=count)

        return types.CPointer(dtype)(state), make

    return local


def _all_pairs(phase: Pairs, fields: Fields) -> Callable[..., None]:
    pair = phase.pair
    make = _local(phase.into, width(phase, fields) * _LANES)
    clear, add, put = sums_of(phase, fields, _LANES)

    @inner
    def all_pairs(params, after, rows, n, order):
        sums = make(after)
        for first in range(0, n, _LANES):
            end = first + min(_LANES, (n - first + _VECTOR - 1) // _VECTOR * _VECTOR)
            for lane in range(_LANES):
                clear(sums, lane)
            for j in range(n):
                # Unsigned: an index that cannot be negative is not checked for it.
                for i in range(np.uint64(first), np.uint64(end)):
                    add(sums, i - np.uint64(first), pair(params, rows, i, j), i != np.uint64(j))
            for lane in range(min(_LANES, n - first)):
                put(sums, lane, after, order[first + lane])

    return all_pairs


def _sort(near: Near) -> Callable[..., None]:
    """Order the living by cell, then number: a counting sort."""
    number = numbering(near)

    @inner
    def sort(params, state, side, layers, order, cell, start):
        n_cells = layers * side * side
        start[: n_cells + 2] = 0
        for i in range(state.alive.size):
            if state.alive[i]:
                cell[i] = number(params, state, i, side)
                start[cell[i] + 2] += 1
        for c in range(n_cells):
            start[c + 2] += start[c + 1]
        # Now start[c + 1] is the first row of cell c; placing its agents moves it to the first of the next.
        for i in range(state.alive.size):
            if state.alive[i]:
                order[start[cell[i] + 1]] = i
                start[cell[i] + 1] += 1

    return sort


def _neighbours(phase: Pairs, fields: Fields) -> Callable[..., None]:
    make = _local(phase.into, width(phase, fields))
    clear, add, put = sums_of(phase, fields, 1)
    look = looking_around(phase.pair, add)

    @inner
    def neighbours(params, after, rows, side, layers, order, start):
        sums = make(after)
        for z in range(layers):
            for y in range(side):
                for x in range(side):
                    here = (z * side + y) * side + x
                    for i in range(np.uint64(start[here]), np.uint64(start[here + 1])):
                        clear(sums, 0)
                        look(params, rows, i, x, y, z, side, layers, start, sums)
                        put(sums, 0, after, order[i])

    return neighbours
