"""Sums over pairs of agents on a GPU: tiles of all of them in shared memory, or neighbours in cells.

Tiles: each thread of a world brings the row of one agent, then all add up what these give to their own.
Cells: the threads of a block, which then has one world, sort its agents by cell, and each adds up over the
adjacent cells. Floats are added in the order of the agents, as on the CPU; cells, whose agents come in any
order, are for whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda

from interact_env.engine.cells import counting, looking_around, numbering
from interact_env.engine.generated import generated
from interact_env.engine.pairs import Fields, rows_read, sums_of, width
from interact_env.engine.rule import inner
from interact_env.world import Pairs, Phase, Repeat

# What every block may have of a GPU's shared memory, bytes.
_SHARED = 48 * 1024
_ALIGNED = 16  # bytes, to whose multiples each array there is moved, at most
# Fields with a row for each agent: name, dtype and shape of a row.
Rows = tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]


class Build(NamedTuple):
    """What kernels are compiled for, beside the types of their arguments."""

    most: int  # threads of a block
    cells: bool  # where a phase has `near`
    rows: Rows  # that some pair reads


class Lists(NamedTuple):
    """Agents sorted by cell, for as many worlds as are at work; where no cells are, as if L = 1."""

    packed: tuple[Any, ...]  # of each of `Build.rows` (blocks, L, ...); none where no cells are
    order: Any  # (blocks, L) int32, the agent of each packed row
    start: Any  # (blocks, 2 L + 2) int32, the first packed row of each cell


class Work(NamedTuple):
    """What the threads of a block share beside the worlds."""

    rows: Any  # State of two rows for each thread, its own and one of the tile
    sums: np.ndarray  # (threads,) int32, where cells are
    packed: Any  # State of the world's agents by cell, where cells are
    order: np.ndarray
    start: np.ndarray


def pairs_in(phases: tuple[Phase, ...]) -> Iterator[Pairs]:
    """All phases over pairs, inside a Repeat too."""
    for phase in phases:
        if isinstance(phase, Repeat):
            yield from pairs_in(phase.phases)
        elif isinstance(phase, Pairs):
            yield phase


def rows_of(phases: tuple[Phase, ...], fields: Fields) -> Rows:
    """The fields of which some pair reads the rows of two agents."""
    pairs = list(pairs_in(phases))
    read = {name for phase in pairs for name in rows_read(phase.pair, fields)} | {"alive"}
    state = fields.state._asdict() if pairs else {}
    return tuple((name, a.dtype, a.shape[1:]) for name, a in state.items() if name in read)


def most_threads(rows: Rows, most: int) -> int:
    """How many threads a block can have, in whole warps: their rows must fit into shared memory.

    Raises:
        ValueError: not even one has room.
    """
    row = sum(dtype.itemsize * int(np.prod(shape)) for _, dtype, shape in rows)
    fit = (_SHARED - _ALIGNED * (len(rows) + 1)) // (2 * row + np.dtype(np.int32).itemsize)
    if fit < 1:
        raise ValueError(
            f"a pair reads {row:,} bytes of each agent; on a GPU at most {_SHARED // 2 - 2:,} can be"
        )
    return min(most, fit // 32 * 32 or fit)


def working(build: Build, fields: Fields) -> Callable[..., Work]:
    """The device function work(state, lists, block) -> the Work of a block on the world `state`."""
    kind, names = type(fields.state), fields.state._fields
    shapes = {name: (2 * build.most, *shape) for name, _, shape in build.rows}
    packed = {name: f"lists.packed[{k}][block]" for k, name in enumerate(shapes) if build.cells}
    lines = [
        "def work(state, lists, block):",
        # One line each: numba's simulator tells shared arrays apart by their lines.
        *(f"    {name} = cuda.shared.array({shape}, {name}_type)" for name, shape in shapes.items()),
        f"    sums = cuda.shared.array({build.most if build.cells else 1}, int32)",
        f"    rows = State({', '.join(name if name in shapes else f'state.{name}' for name in names)})",
        f"    packed = State({', '.join(packed.get(name, f'state.{name}') for name in names)})",
        "    return Work(rows, sums, packed, lists.order[block], lists.start[block])",
    ]
    types = {f"{name}_type": numba.from_dtype(dtype) for name, dtype, _ in build.rows}
    namespace: dict[str, Any] = {"cuda": cuda, "State": kind, "Work": Work, "int32": numba.int32, **types}
    exec("\n".join(lines), namespace)  # noqa: S102  # our own text and field names only
    return cuda.jit(device=True)(namespace["work"])


def sum_pairs(phase: Pairs, fields: Fields, build: Build) -> Callable[..., None]:
    """The phase sweep(params, state, actions, after, mine, work) of a thread; ends with a barrier."""
    every = _all_pairs(phase, fields, build)
    if phase.near is None or not build.cells:

        @cuda.jit(device=True)
        def sweep(params, state, actions, after, mine, work):
            every(params, after, mine, work)

        return sweep

    count, sort, neighbours = counting(phase.near), _sort(phase.near), _neighbours(phase, fields)

    @cuda.jit(device=True)
    def near(params, state, actions, after, mine, work):
        side, layers = count(params, after, after.alive.size)
        if side < 3:  # a cell would be its own neighbour
            every(params, after, mine, work)
        else:
            sort(params, after, side, layers, work)
            neighbours(params, after, side, layers, work)

    return near


def _all_pairs(phase: Pairs, fields: Fields, build: Build) -> Callable[..., None]:
    pair, most, n_sums = phase.pair, build.most, width(phase, fields)
    bring, into = _bringing(phase, fields), fields.state._fields.index(phase.into)
    clear, add, put = sums_of(phase, fields, 1)

    @cuda.jit(device=True)
    def every(params, after, mine, work):
        rows, n, lane, lanes = work.rows, after.alive.size, cuda.threadIdx.x, cuda.blockDim.x
        tile = most + cuda.threadIdx.y * lanes  # row of its first agent
        own = tile - most + lane
        sums = cuda.local.array(n_sums, after[into].dtype)
        i = lane
        # All threads of a block go round equally often: those without an agent bring rows, and wait, too.
        while i - lane < n:
            lives = i < mine.end and after.alive[i]
            bring(after, rows, own, i, lives)
            clear(sums, 0)
            first = 0
            while first < n:
                j = first + lane
                bring(after, rows, tile + lane, j, j < mine.end and after.alive[j])
                cuda.syncthreads()
                if lives:
                    itself = tile + i - first
                    # No branch inside, so that what is read of row i stays in registers; unsigned: an index
                    # that cannot be negative is not checked for it.
                    for k in range(np.uint64(tile), np.uint64(tile + min(lanes, n - first))):
                        other = rows.alive[k] & (np.int64(k) != itself)
                        add(sums, 0, pair(params, rows, np.uint64(own), k), other)
                first += lanes
                if first < n:
                    cuda.syncthreads()
            if lives:
                put(sums, 0, after, i)
            cuda.syncthreads()
            i += lanes

    return every


def _bringing(phase: Pairs, fields: Fields) -> Callable[..., None]:
    """The rule bring(state, rows, to, i, lives): row `to` of `rows` is agent i, or zeros where none lives."""
    names = [name for name in rows_read(phase.pair, fields) if name != "alive"]
    text = "{bring_row(state.FIELD, rows.FIELD, to, i, lives);} rows.alive[to] = lives"
    return generated("bring(state, rows, to, i, lives)", text, names, bring_row=_bring_row)


@inner
def _bring_row(source, target, to, i, lives):
    if source.ndim == 1:
        if lives:
            target[to] = source[i]
        else:
            target[to] = 0
    else:
        for k in range(target[to].size):
            if lives:
                target[to].flat[k] = source[i].flat[k]
            else:
                target[to].flat[k] = 0


def _sort(near: Any) -> Callable[..., None]:
    """Order the living by cell: a counting sort, as on the CPU, but within a cell as threads come."""
    number = numbering(near)

    @cuda.jit(device=True)
    def sort(params, state, side, layers, work):
        order, start, lane, lanes = work.order, work.start, cuda.threadIdx.x, cuda.blockDim.x
        n_cells = layers * side * side
        c = lane
        while c < n_cells + 2:
            start[c] = 0
            c += lanes
        cuda.syncthreads()
        i = lane
        while i < state.alive.size:
            if state.alive[i]:
                cuda.atomic.add(start, number(params, state, i, side) + 2, 1)
            i += lanes
        cuda.syncthreads()
        _add_up(start[2 : n_cells + 2], work.sums)
        # Now start[c + 1] is the first row of cell c; placing its agents moves it to the first of the next.
        i = lane
        while i < state.alive.size:
            if state.alive[i]:
                order[cuda.atomic.add(start, number(params, state, i, side) + 1, 1)] = i
            i += lanes
        cuda.syncthreads()

    return sort


@cuda.jit(device=True)
def _add_up(counts, sums):
    """Running sums of an array in place, by a block: each thread's part, then those of the threads before it.

    Hillis and Steele, "Data parallel algorithms", Communications of the ACM 29 (1986).
    """
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    part = np.uint32(counts.size + lanes - 1) // np.uint32(lanes)  # of 32 bits: a GPU divides 64 slowly
    first, end = lane * part, min(counts.size, (lane + 1) * part)
    total = 0
    for c in range(first, end):
        total += counts[c]
        counts[c] = total
    sums[lane] = total
    cuda.syncthreads()
    far = 1
    while far < lanes:
        before = sums[lane - far] if lane >= far else 0
        cuda.syncthreads()
        sums[lane] += before
        cuda.syncthreads()
        far *= 2
    before = sums[lane - 1] if lane > 0 else 0
    for c in range(first, end):
        counts[c] += before
    cuda.syncthreads()


def _neighbours(phase: Pairs, fields: Fields) -> Callable[..., None]:
    assert phase.near is not None
    number, n_sums = numbering(phase.near), width(phase, fields)
    bring, into = _bringing(phase, fields), fields.state._fields.index(phase.into)
    clear, add, put = sums_of(phase, fields, 1)
    look = looking_around(phase.pair, add)

    @cuda.jit(device=True)
    def neighbours(params, after, side, layers, work):
        packed, order, start = work.packed, work.order, work.start
        n, lanes = start[layers * side * side], cuda.blockDim.x  # the living
        k = cuda.threadIdx.x
        while k < n:
            bring(after, packed, k, order[k], True)
            k += lanes
        cuda.syncthreads()
        sums = cuda.local.array(n_sums, after[into].dtype)
        k = cuda.threadIdx.x
        while k < n:
            i = order[k]
            cell = np.uint32(number(params, after, i, side))
            row = cell // np.uint32(side)
            z = row // np.uint32(side)
            x, y = np.int64(cell - row * side), np.int64(row - z * side)
            clear(sums, 0)
            look(params, packed, np.uint64(k), x, y, np.int64(z), side, layers, start, sums)
            put(sums, 0, after, i)
            k += lanes
        cuda.syncthreads()

    return neighbours
