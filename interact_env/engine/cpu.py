"""The loops over worlds and agents that turn one world's rules into compiled kernels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from interact_env.engine.cache import keep_on_disk
from interact_env.engine.generated import generated
from interact_env.engine.pairs import Fields, sum_pairs
from interact_env.engine.random import WORLD, Key, bits
from interact_env.engine.rule import JIT, apart, inner, rule
from interact_env.world import Pairs, Phase, Repeat, World

# Purposes of the engine's own draws; worlds count theirs from 0.
COUNT = 0x7FFFFFFF
ACTION = 0x80000000


class Clock(NamedTuple):
    """Where each world stands."""

    episode: np.ndarray  # (B,) int64, -1 before the first reset
    n_agents: np.ndarray  # (B,) int64, at the start of the episode
    steps: np.ndarray  # (B,) int64, since the start of the episode


class Result(NamedTuple):
    """What a step or reset wrote."""

    rows: np.ndarray  # (B, L, F) of the world's dtype, zero where no agent is
    reward: np.ndarray  # (B, L) of the world's dtype
    terminated: np.ndarray  # (B, L) bool, left in this step
    truncated: np.ndarray  # (B,) bool
    metrics: np.ndarray  # (B, L, M) of the world's dtype


class Counts(NamedTuple):
    """From which numbers of agents an episode's is drawn, see `Population`."""

    counts: np.ndarray  # (K,) int64
    thresholds: np.ndarray  # (K - 1,) uint64


class Loop(NamedTuple):
    """One loop over worlds, compiled twice; both give the same bits."""

    serial: Callable[..., None]
    parallel: Callable[..., None]


class Kernels(NamedTuple):
    """The loops of one world."""

    step: Loop
    reset: Loop
    visible: Loop
    views: Callable[..., None]


def loop(function: Callable[..., None]) -> Loop:
    """Compile a function that loops with `numba.prange`, for one thread and for many."""
    loops = Loop(rule(function), numba.njit(parallel=True, **JIT)(function))
    keep_on_disk(loops.parallel, "parallel", str(JIT))
    return loops


@functools.cache
def kernels(world: World) -> Kernels:
    """The compiled loops of `world`; each compiles at its first call, in a second or two."""
    found = fields(world, world.configure())
    names, kind = found.state._fields, type(found.state)
    view = generated("view(batch, b)", "return State({batch.FIELD[b],})", names, State=kind)
    copy = generated(
        "copy(source, target)", "{copy_array(source.FIELD, target.FIELD);}", names, copy_array=_copy_array
    )
    clear = generated("clear(state)", "{state.FIELD[:] = 0;}", names)
    sees = _sees(world)
    show = _show(world)
    return Kernels(
        step=_step(world, view, copy, show, found),
        reset=_reset(world, view, clear, show),
        visible=_visible(view, sees),
        views=_views(view, sees),
    )


def fields(world: World, params: Any) -> Fields:
    """A State of one world; a field is per agent if one slot more makes it longer."""
    state: Any = world.blank(params)
    more = world.blank(params._replace(n_max=params.n_max + 1))
    names = (
        name for name, one, other in zip(state._fields, state, more, strict=True) if len(one) < len(other)
    )
    return Fields(state, frozenset(names))


@inner
def _copy_array(source, target):
    for k in range(source.size):
        target.flat[k] = source.flat[k]


def _show(world: World) -> Callable[..., None]:
    observe = world.observe

    @inner
    def show(params, state, rows):
        for i in range(state.alive.size):
            if state.alive[i]:
                observe(params, state, i, rows[i])
            else:
                rows[i] = 0

    return show


def _sees(world: World) -> Callable[..., bool]:
    if world.visible is None:
        return inner(lambda params, state, i, j: True)
    within_sight = world.visible

    @inner
    def sees(params, state, i, j):
        return params.vision_radius == np.inf or within_sight(params, state, i, j)

    return sees


def _in_turn(phases: tuple[Phase, ...], fields: Fields) -> Callable[..., None]:
    """All phases in turn: each is finished for every agent before the next begins."""
    sweeps = {f"phase_{k}": _sweep(phase, fields) for k, phase in enumerate(phases)}
    arguments = "(params, state, actions, after, packed, scratch, t)"
    return generated("in_turn" + arguments, "{FIELD" + arguments + ";}", sweeps, **sweeps)


def _sweep(phase: Phase, fields: Fields) -> Callable[..., None]:
    """One phase for every agent or pair, or several phases as often as their Repeat says."""
    if isinstance(phase, Pairs):
        return sum_pairs(phase, fields)
    if isinstance(phase, Repeat):
        times, once = phase.times, _in_turn(phase.phases, fields)

        @inner
        def again(params, state, actions, after, packed, scratch, t):
            for _ in range(times(params)):
                once(params, state, actions, after, packed, scratch, t)

        return again

    @inner
    def sweep(params, state, actions, after, packed, scratch, t):
        for i in range(state.alive.size):
            if state.alive[i]:
                phase(params, state, actions, i, after)

    return sweep


def _step(
    world: World,
    view: Callable[..., Any],
    copy: Callable[..., None],
    show: Callable[..., None],
    fields: Fields,
) -> Loop:
    phases, score = _in_turn(world.PHASES, fields), world.score

    @apart
    def step_worlds(params, batch, batch_after, actions, clock, out, packed, scratch, t):
        n_parts, n_worlds = len(scratch.order), clock.steps.size
        for b in range(t * n_worlds // n_parts, (t + 1) * n_worlds // n_parts):
            state, after = view(batch, b), view(batch_after, b)
            copy(state, after)
            phases(params, state, actions[b], after, packed, scratch, t)
            for i in range(state.alive.size):
                if state.alive[i]:
                    out.reward[b, i] = score(params, state, actions[b], i, after, out.metrics[b, i])
                    out.terminated[b, i] = not after.alive[i]
                else:
                    out.reward[b, i] = 0
                    out.terminated[b, i] = False
                    out.metrics[b, i] = 0
            clock.steps[b] += 1
            out.truncated[b] = clock.steps[b] == params.max_cycles
            show(params, after, out.rows[b])

    def step(params, batch, batch_after, actions, clock, out, packed, scratch):
        # One part of the worlds for each thread, which has a scratch of its own.
        for t in numba.prange(len(scratch.order)):
            step_worlds(params, batch, batch_after, actions, clock, out, packed, scratch, np.int64(t))

    return loop(step)


def _reset(
    world: World, view: Callable[..., Any], clear: Callable[..., None], show: Callable[..., None]
) -> Loop:
    begin, spawn = world.begin or inner(lambda params, key, n, state: None), world.spawn

    @inner
    def reset_world(params, seed, population, batch, clock, out, b):
        clock.episode[b] += 1
        clock.steps[b] = 0
        key = key_of(seed, clock, b)
        n = draw_count(population, bits(key, WORLD, COUNT)[0])
        clock.n_agents[b] = n
        state = view(batch, b)
        clear(state)
        begin(params, key, n, state)
        for i in range(n):
            spawn(params, key, n, i, state)
            state.alive[i] = True
        out.reward[b] = 0
        out.terminated[b] = False
        out.truncated[b] = False
        out.metrics[b] = 0
        show(params, state, out.rows[b])

    def reset(params, seed, population, mask, batch, clock, out):
        for b in numba.prange(mask.size):
            if mask[b]:
                reset_world(params, seed, population, batch, clock, out, b)

    return loop(reset)


def _visible(view: Callable[..., Any], sees: Callable[..., bool]) -> Loop:
    def visible(params, batch, out):
        for b in numba.prange(batch.alive.shape[0]):
            state = view(batch, b)
            for i in range(state.alive.size):
                for j in range(state.alive.size):
                    both = state.alive[i] and state.alive[j]
                    out[b, i, j] = both and (i == j or sees(params, state, i, j))

    return loop(visible)


def _views(view: Callable[..., Any], sees: Callable[..., bool]) -> Callable[..., None]:
    @rule
    def views(params, batch, rows, b, entities, mask):
        """Each agent's own set: its row, then the others in sight; `entities`, `mask` come zeroed."""
        state = view(batch, b)
        for i in range(state.alive.size):
            if not state.alive[i]:
                continue
            _copy_array(rows[b, i], entities[i, 0])
            n = 1
            for j in range(state.alive.size):
                if j != i and state.alive[j] and sees(params, state, i, j):
                    _copy_array(rows[b, j], entities[i, n])
                    n += 1
            mask[i, :n] = 1

    return views


@functools.cache
def scripted(world: World, name: str) -> Loop:
    """The loop that lets every agent choose by the scripted policy `name` of the world."""
    state: Any = world.blank(world.configure())
    view = generated("view(batch, b)", "return State({batch.FIELD[b],})", state._fields, State=type(state))
    policy = world.POLICIES[name]

    def act(params, seed, batch, clock, out):
        for b in numba.prange(clock.steps.size):
            state, key = view(batch, b), key_of(seed, clock, b)
            for i in range(state.alive.size):
                if state.alive[i]:
                    policy(params, key, state, i, clock.steps[b], out[b])

    return loop(act)


@inner
def key_of(seed, clock, b):
    """The key of the running episode; `seed` is (low word, high word, number of the first world)."""
    return Key(seed[0], seed[1], seed[2] + np.uint64(b), np.uint64(clock.episode[b]))


@rule
def draw_count(population, word):
    """The number of agents that a random word of 32 bits stands for: a binary search."""
    low, high = 0, population.thresholds.size
    while low < high:
        middle = (low + high) // 2
        if population.thresholds[middle] <= word:
            low = middle + 1
        else:
            high = middle
    return population.counts[low]


@rule
def random_actions(seed, clock, out):
    """Fill out (B, L, K) with uniform float32 in [0, 1), drawn anew at every step."""
    for b in range(out.shape[0]):
        key = key_of(seed, clock, b)
        for i in range(out.shape[1]):
            for k in range(out.shape[2]):
                word = bits(key, i * out.shape[2] + k, ACTION + clock.steps[b])[0]
                out[b, i, k] = np.float32(word >> np.uint64(8)) * np.float32(2.0**-24)
