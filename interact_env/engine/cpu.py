"""The loops over worlds and agents that turn one world's rules into compiled kernels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from gymnasium import spaces

from interact_env import check
from interact_env.engine.cache import keep_on_disk
from interact_env.engine.generated import generated
from interact_env.engine.pairs import Fields, scratch, sum_pairs
from interact_env.engine.random import WORLD, Key, bits
from interact_env.engine.rule import JIT, apart, inner, rule
from interact_env.memory import free_memory
from interact_env.world import Pairs, Phase, Repeat, World

# Purposes of the engine's own draws; worlds count theirs from 0.
COUNT = 0x7FFFFFFF
ACTION = 0x80000000

# Pairs of agents (B * L * L) above which waking the threads pays.
_PARALLEL_PAIRS = 32_768


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


class Arrays(NamedTuple):
    """All that the loops of B worlds read and write: numpy arrays here, torch tensors on a GPU."""

    params: Any
    seed: np.ndarray  # (3,) uint64: low and high word, number of world 0; see `key_of`
    population: Counts
    state: Any  # State, its fields with a leading axis
    clock: Clock
    out: Result
    over: np.ndarray  # (B,) bool, must be reset before the next step


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
    names = found.state._fields
    view = view_of(found.state)
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


def view_of(state: Any) -> Callable[..., Any]:
    """The rule view(batch, b) -> the State of world b."""
    names = state._fields
    return generated("view(batch, b)", "return State({batch.FIELD[b],})", names, State=type(state))


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
    def step_worlds(params, batch, batch_before, actions, clock, out, packed, scratch, t):
        n_parts, n_worlds = len(scratch.order), clock.steps.size
        for b in range(t * n_worlds // n_parts, (t + 1) * n_worlds // n_parts):
            state, after = view(batch_before, b), view(batch, b)
            copy(after, state)
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

    def step(params, batch, batch_before, actions, clock, out, packed, scratch):
        # One part of the worlds for each thread, which has a scratch of its own.
        for t in numba.prange(len(scratch.order)):
            step_worlds(params, batch, batch_before, actions, clock, out, packed, scratch, np.int64(t))

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
def scripted(world: World, policy: Callable[..., None]) -> Loop:
    """The loop that lets every agent choose by a policy, such as a scripted one of the world."""
    view = view_of(world.blank(world.configure()))

    def act(params, seed, batch, clock, out):
        for b in numba.prange(clock.steps.size):
            state, key = view(batch, b), key_of(seed, clock, b)
            for i in range(state.alive.size):
                if state.alive[i]:
                    policy(params, key, state, i, clock.steps[b], out[b])

    return loop(act)


def random_policy(space: spaces.Space[Any]) -> Callable[..., None]:
    """A policy that draws every action uniformly and anew at every step."""
    if isinstance(space, spaces.Discrete):
        return _random_choice(int(space.n))
    assert isinstance(space, spaces.Box)
    low, high = (tuple(bound.astype(np.float32)) for bound in (space.low, space.high))
    return _random_vector(low, high)


@functools.cache
def _random_choice(n: int) -> Callable[..., None]:
    n_choices = np.uint64(n)

    @rule
    def choose(params, key, state, i, clock, action):
        word = bits(key, i, ACTION + clock)[0] >> np.uint64(8)
        action[i] = np.int64((word * n_choices) >> np.uint64(24))

    return choose


@functools.cache
def _random_vector(low: tuple[np.float32, ...], high: tuple[np.float32, ...]) -> Callable[..., None]:
    n = len(low)

    @rule
    def choose(params, key, state, i, clock, action):
        for k in range(n):
            word = bits(key, i * n + k, ACTION + clock)[0] >> np.uint64(8)
            action[i, k] = low[k] + np.float32(word) * np.float32(2.0**-24) * (high[k] - low[k])

    return choose


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


class Engine:
    """Keeps the arrays of B worlds in numpy and runs the loops over them."""

    device = "cpu"
    states = 2  # of every world: a step starts from a copy

    def __init__(self, world: World, space: spaces.Space[Any], n_threads: int | None) -> None:
        """Find the loops of a world; `n_threads` None: one for a small batch, else all."""
        self._world, self._space, self._n_threads = world, space, n_threads
        self._kernels = kernels(world)

    def free_memory(self) -> int:
        """Bytes."""
        return free_memory()

    def array(self, values: np.ndarray) -> np.ndarray:
        """An array of the engine's own."""
        return values.copy()

    def copy(self, array: np.ndarray) -> np.ndarray:
        """Another array of the same numbers."""
        return array.copy()

    def host(self, array: np.ndarray) -> np.ndarray:
        """The array in numpy, without a copy where it is there."""
        return array

    def write(self, array: np.ndarray, values: np.ndarray) -> None:
        """Overwrite an array of the engine's own."""
        array[...] = values

    def bind(self, arrays: Arrays) -> None:
        """Take the arrays that the loops work on."""
        self._arrays = arrays
        self._before = type(arrays.state)(*map(np.zeros_like, arrays.state))
        self._threads = _threads(self._n_threads, *arrays.state.alive.shape)
        one = type(arrays.state)(*(field[0] for field in arrays.state))
        found = fields(self._world, arrays.params)
        self._scratch = scratch(found._replace(state=one), self._threads)

    def chosen(self, mask: Any) -> np.ndarray:
        """The worlds that a mask chooses.

        Raises:
            ValueError: another shape or dtype.
        """
        n_worlds = len(self._arrays.over)
        mask = np.ones(n_worlds, np.bool_) if mask is None else np.asarray(mask)
        if mask.shape != (n_worlds,) or mask.dtype != np.bool_:
            raise ValueError(f"mask must be bool of shape ({n_worlds},), not {mask.dtype} of {mask.shape}")
        return mask

    def blank_actions(self) -> np.ndarray:
        """Zeros (B, L) int64 or (B, L, K) float32."""
        shape = (*self._arrays.state.alive.shape, *(self._space.shape or ()))
        return np.zeros(shape, bounds(self._space)[0].dtype)

    def checked(self, actions: Any) -> np.ndarray:
        """Actions in the dtype of `blank_actions`; the worlds are ready for them.

        Raises:
            ValueError: another shape or kind, or a value that is not allowed.
            RuntimeError: a world is over.
        """
        arrays, space, like = self._arrays, self._space, self.blank_actions()
        if arrays.over.any():
            first = int(np.flatnonzero(arrays.over)[0])
            raise RuntimeError(over_text(first, int(arrays.clock.episode[first])))
        try:
            given = np.asarray(actions)
        except ValueError:
            raise ValueError(f"actions must be an array of shape {like.shape}") from None
        discrete = isinstance(space, spaces.Discrete)
        if given.shape != like.shape or given.dtype.kind not in ("iu" if discrete else "f"):
            raise ValueError(
                f"actions must be {'integers' if discrete else 'floats'} of shape {like.shape}, "
                f"not {given.dtype} of {given.shape}"
            )
        low, high = bounds(space)
        good = (given >= low) & (given <= high)
        bad = arrays.state.alive & ~(good if discrete else good.all(axis=-1))
        if bad.any():
            b, i = (int(k[0]) for k in np.nonzero(bad))
            raise ValueError(f"actions[{b}, {i}] must be {allowed(space)}, not {given[b, i]}")
        return given.astype(like.dtype, copy=False)

    def raise_faults(self) -> None:
        """Nothing to do: `checked` has raised."""

    def step(self, actions: np.ndarray) -> None:
        """Advance every world by actions that are known to be good."""
        params, _, _, state, clock, out, over = self._arrays
        self._run(self._kernels.step, params, state, self._before, actions, clock, out, *self._scratch)
        np.logical_or(out.truncated, ~state.alive.any(axis=1), out=over)

    def reset(self, mask: np.ndarray) -> None:
        """Start the next episode of the worlds that `mask` chooses."""
        params, seed, population, state, clock, out, over = self._arrays
        self._run(self._kernels.reset, params, seed, population, mask, state, clock, out)
        over[mask] = False

    def visible(self) -> np.ndarray:
        """(B, L, L) bool, who sees whom."""
        n_worlds, n_slots = self._arrays.state.alive.shape
        out = np.empty((n_worlds, n_slots, n_slots), np.bool_)
        self._run(self._kernels.visible, self._arrays.params, self._arrays.state, out)
        return out

    def act(self, policy: Callable[..., None], out: np.ndarray) -> None:
        """Fill in the actions of every living agent by a policy."""
        params, seed, _, state, clock, _, _ = self._arrays
        self._run(scripted(self._world, policy), params, seed, state, clock, out)

    def _run(self, loop: Loop, *arguments: Any) -> None:
        if self._threads == 1:
            loop.serial(*arguments)
            return
        before = numba.get_num_threads()
        numba.set_num_threads(self._threads)
        try:
            loop.parallel(*arguments)
        finally:
            numba.set_num_threads(before)


def bounds(space: spaces.Space[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest action: (1,) int64 of a Discrete, (K,) float32 of a Box."""
    if isinstance(space, spaces.Discrete):
        return np.zeros(1, np.int64), np.array([space.n - 1], np.int64)
    assert isinstance(space, spaces.Box)
    return space.low.astype(np.float32), space.high.astype(np.float32)


def allowed(space: spaces.Space[Any]) -> str:
    """What an action may be, for a message."""
    low, high = bounds(space)
    if isinstance(space, spaces.Discrete):
        return f"in [0, {space.n})"
    return f"within [{low.min():g}, {high.max():g}]"


def over_text(world: int, episode: int) -> str:
    """Why a world cannot be stepped, for a message."""
    if episode < 0:
        return f"world {world} has not been reset"
    return f"world {world} is over: call reset(batch.over) before the next step"


def _threads(n_threads: int | None, n_worlds: int, n_slots: int) -> int:
    if n_threads is None:
        return (
            min(numba.get_num_threads(), n_worlds) if n_worlds * n_slots * n_slots >= _PARALLEL_PAIRS else 1
        )
    return check.whole("n_threads", n_threads, 1, max_threads())


def max_threads() -> int:
    """The most threads that numba can use here; NUMBA_NUM_THREADS sets it before the first import."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
