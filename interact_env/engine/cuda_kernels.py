"""The loops over worlds and agents that turn one world's rules into kernels of a GPU.

A thread is an agent: small worlds share a block, whose thread (x, y) is agent x of world y; in a world larger
than a block, a thread takes every `stride`-th agent. Between phases the threads of a block wait for each
other, so a world never spreads over two blocks. A grid fills the GPU once and goes through the worlds in
turn: what a step starts from (`before`) is kept for the worlds at work only, few enough to stay in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda

from interact_env.engine.cpu import COUNT, _sees, draw_count, fields, key_of, view_of
from interact_env.engine.cuda_chip import SIMULATED
from interact_env.engine.cuda_pairs import Build, sum_pairs, working
from interact_env.engine.generated import generated
from interact_env.engine.pairs import Fields
from interact_env.engine.random import WORLD, bits
from interact_env.engine.rule import rule
from interact_env.world import Pairs, Repeat, World


class Mine(NamedTuple):
    """The agents of a world that are a thread's: first, first + stride, ... below end.

    Gone through by `while`: `range` with a stride divides 64-bit integers, which a GPU does slowly.
    """

    first: int
    end: int
    stride: int


class Kernels(NamedTuple):
    """The kernels of one world."""

    step: Any
    reset: Any
    visible: Any


@functools.cache
def kernels(world: World, build: Build) -> Kernels:
    """The kernels of `world`; each compiles at its first launch."""
    found = fields(world, world.configure())
    names, view = found.state._fields, view_of(found.state)
    copy = generated(
        "copy(source, target, mine)", "{share(source.FIELD, target.FIELD, mine);}", names, share=_share
    )
    clear = generated("clear(state, mine)", "{empty(state.FIELD, mine);}", names, empty=_empty)
    jit = _jit(build.most)
    return Kernels(
        step=jit(_step(world, view, copy, found, build)),
        reset=jit(_reset(world, view, clear)),
        visible=_each(_visible(view, _sees(world)), build.most),
    )


def _jit(most: int) -> Callable[..., Any]:
    """The decorator of a kernel: a bound of 1024 threads leaves each 64 registers, one of 256 all."""
    options: dict[str, Any] = {} if SIMULATED else {"launch_bounds": most}
    return cuda.jit(**options)


def _each(body: Callable[..., None], most: int) -> Any:
    """The kernel that calls body(b, i, *arguments) for every agent i of every world b, in any order."""
    one = cuda.jit(device=True)(body)

    def each(n_worlds, n_slots, arguments):
        b = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        while b < n_worlds:
            i = cuda.threadIdx.x
            while i < n_slots:
                one(b, i, *arguments)
                i += cuda.blockDim.x
            b += cuda.gridDim.x * cuda.blockDim.y

    return _jit(most)(each)


@rule
def _share(source, target, mine):
    """Copy what is a thread's share of an array."""
    k, end = mine.first, source.size if mine.end > 0 else 0
    while k < end:
        target.flat[k] = source.flat[k]
        k += mine.stride


@rule
def _empty(target, mine):
    k, end = mine.first, target.size if mine.end > 0 else 0
    while k < end:
        target.flat[k] = 0
        k += mine.stride


def _in_turn(phases: tuple[Any, ...], fields: Fields, build: Build) -> Callable[..., None]:
    """All phases in turn: each is finished for every agent before the next begins."""

    def then(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
        @cuda.jit(device=True)
        def both(params, state, actions, after, mine, work):
            first(params, state, actions, after, mine, work)
            second(params, state, actions, after, mine, work)

        return both

    return functools.reduce(then, [_sweep(phase, fields, build) for phase in phases])


def _sweep(phase: Any, fields: Fields, build: Build) -> Callable[..., None]:
    """One phase for the agents of a thread, then a barrier; or several as often as their Repeat says."""
    if isinstance(phase, Pairs):
        return sum_pairs(phase, fields, build)
    if isinstance(phase, Repeat):
        times, once = phase.times, _in_turn(phase.phases, fields, build)

        @cuda.jit(device=True)
        def again(params, state, actions, after, mine, work):
            for _ in range(times(params)):
                once(params, state, actions, after, mine, work)

        return again

    @cuda.jit(device=True)
    def sweep(params, state, actions, after, mine, work):
        i = mine.first
        while i < mine.end:
            if state.alive[i]:
                phase(params, state, actions, i, after)
            i += mine.stride
        cuda.syncthreads()

    return sweep


def _show(world: World) -> Callable[..., None]:
    observe = world.observe

    @rule
    def show(params, state, rows, mine):
        i = mine.first
        while i < mine.end:
            if state.alive[i]:
                observe(params, state, i, rows[i])
            else:
                _zero(rows[i])
            i += mine.stride

    return show


@rule
def _zero(row):
    for k in range(row.size):
        row[k] = 0


def _step(
    world: World, view: Callable[..., Any], copy: Callable[..., None], fields: Fields, build: Build
) -> Callable[..., None]:
    phases, score, show = _in_turn(world.PHASES, fields, build), world.score, _show(world)
    work = working(build, fields)

    def step(params, batch, batch_before, lists, actions, clock, out, over):
        n_worlds, n_slots = batch.alive.shape
        lane, place = cuda.threadIdx.x, cuda.threadIdx.y
        lanes, per_block = cuda.blockDim.x, cuda.blockDim.y
        before = view(batch_before, cuda.blockIdx.x * per_block + place)
        # All threads of a block go round equally often: those without a world wait at its barriers too.
        first = cuda.blockIdx.x * per_block
        while first < n_worlds:
            b = min(first + place, n_worlds - 1)
            mine = Mine(lane, n_slots if first + place < n_worlds else 0, lanes)
            state = view(batch, b)
            copy(state, before, mine)
            truncated = clock.steps[b] + 1 == params.max_cycles
            leads = lane == 0 and mine.end > 0
            if leads:
                over[b] = True  # unless one who goes on says no
            cuda.syncthreads()
            if leads:
                clock.steps[b] += 1
                out.truncated[b] = truncated
            phases(params, before, actions[b], state, mine, work(state, lists, cuda.blockIdx.x))
            i = lane
            while i < mine.end:
                if before.alive[i]:
                    out.reward[b, i] = score(params, before, actions[b], i, state, out.metrics[b, i])
                    out.terminated[b, i] = not state.alive[i]
                    if state.alive[i] and not truncated:
                        over[b] = False
                else:
                    out.reward[b, i] = 0
                    out.terminated[b, i] = False
                    _zero(out.metrics[b, i])
                i += lanes
            cuda.syncthreads()
            show(params, state, out.rows[b], mine)
            first += cuda.gridDim.x * per_block

    return step


def _reset(world: World, view: Callable[..., Any], clear: Callable[..., None]) -> Callable[..., None]:
    begin, spawn, show = world.begin or rule(lambda params, key, n, state: None), world.spawn, _show(world)

    def reset(params, seed, population, mask, batch, clock, out, over):
        n_worlds, n_slots = batch.alive.shape
        lane, place = cuda.threadIdx.x, cuda.threadIdx.y
        lanes, per_block = cuda.blockDim.x, cuda.blockDim.y
        first = cuda.blockIdx.x * per_block
        while first < n_worlds:
            b = min(first + place, n_worlds - 1)
            mine = Mine(lane, n_slots if first + place < n_worlds and mask[b] else 0, lanes)
            leads = lane == 0 and mine.end > 0
            state = view(batch, b)
            clear(state, mine)
            cuda.syncthreads()  # all have read the mask, which may be `over`
            if leads:
                clock.episode[b] += 1
                clock.steps[b] = 0
                key = key_of(seed, clock, b)
                clock.n_agents[b] = draw_count(population, bits(key, WORLD, COUNT)[0])
                begin(params, key, clock.n_agents[b], state)
                out.truncated[b] = False
                over[b] = False
            cuda.syncthreads()
            key, n = key_of(seed, clock, b), clock.n_agents[b]
            i = lane
            while i < mine.end:
                if i < n:
                    spawn(params, key, n, i, state)
                    state.alive[i] = True
                out.reward[b, i] = 0
                out.terminated[b, i] = False
                _zero(out.metrics[b, i])
                i += lanes
            cuda.syncthreads()
            show(params, state, out.rows[b], mine)
            first += cuda.gridDim.x * per_block

    return reset


def _visible(view: Callable[..., Any], sees: Callable[..., bool]) -> Callable[..., None]:
    def visible(b, j, params, batch, out):
        state = view(batch, b)
        for i in range(state.alive.size):
            both = state.alive[i] and state.alive[j]
            out[b, i, j] = both and (i == j or sees(params, state, i, j))

    return visible


@functools.cache
def scripted(world: World, policy: Callable[..., None], most: int) -> Any:
    """The kernel that lets every agent choose by a policy, such as a scripted one of the world."""
    view = view_of(world.blank(world.configure()))

    def act(b, i, params, seed, batch, clock, out):
        if batch.alive[b, i]:
            policy(params, key_of(seed, clock, b), view(batch, b), i, clock.steps[b], out[b])

    return _each(act, most)


@functools.cache
def checking(most: int) -> Any:
    """The kernel that copies actions (B, L, K) that are allowed to `good`, the least in place of others.

    The first agent of bad actions and the first world that is over go to `faults`.
    """

    def check(b, i, actions, low, high, alive, over, good, faults):
        for a in range(low.size):
            action = actions[b, i, a]
            allowed = low[a] <= action <= high[a]  # not so for NaN
            good[b, i, a] = action if allowed else low[a]
            if alive[b, i] and not allowed:
                cuda.atomic.min(faults, 0, b * alive.shape[1] + i)
        if i == 0 and over[b]:
            cuda.atomic.min(faults, 1, b)

    return _each(check, most)
