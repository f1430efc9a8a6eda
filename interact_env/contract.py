"""The contract of a world, checked: what the engine, the adapters and the policies rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

from interact_env import registry
from interact_env.engine import WorldBatch
from interact_env.engine.batch import max_threads
from interact_env.engine.random import Key
from interact_env.population import population
from interact_env.render import Scene
from interact_env.spaces import EntityBox
from interact_env.world import Repeat, World

_SEEDS = (0, 1, 2)
_STEPS = 40  # of the rules one by one
_BATCH_STEPS = 200  # of whole worlds
Arrays = dict[str, np.ndarray]


class InvalidWorld(ValueError):
    """A world that breaks its contract; the message says which rule does, and how."""


def validate(world: World | ModuleType | str, **parameters: Any) -> None:
    """Check that a world keeps its contract, with the given parameters.

    Rules are run one agent at a time, in several orders, then whole worlds are played twice, in batches
    and alone. A world of small counts is checked in seconds: give a few agents, a range if it may.

    Args:
        world: the world, its module, or the name it is registered by.
        parameters: of the world; small numbers of agents are enough, and several better than one.

    Raises:
        InvalidWorld: it does not; the message names the rule, the agent and what is wrong.
        ValueError: a parameter is not allowed.
    """
    world = _world(world)
    _check_declarations(world, parameters)
    batch = WorldBatch(world, 1, seed=0, n_threads=1, **parameters)
    for seed in _SEEDS:
        _Probe(world, batch.params, batch, seed).run()
    _check_batches(world, parameters)


def _world(world: World | ModuleType | str) -> World:
    if isinstance(world, str):
        return registry.world(world)
    if isinstance(world, ModuleType):
        return World.from_module(world.__name__, world)
    return world


def _fail(world: World, text: str) -> InvalidWorld:
    return InvalidWorld(f"{world.name}: {text}")


def _phases(phases: Iterable[Any]) -> Iterator[Callable[..., Any]]:
    for phase in phases:
        if isinstance(phase, Repeat):
            yield phase.times
            yield from _phases(phase.phases)
        else:
            yield phase


def _rules(world: World) -> dict[str, Callable[..., Any]]:
    """Every rule, by the name to call it in a message."""
    named = {name: getattr(world, name) for name in ("begin", "spawn", "score", "observe", "visible")}
    named |= {f"phase {phase.__name__!r}": phase for phase in _phases(world.PHASES)}
    named |= {f"policy {name!r}": policy for name, policy in world.POLICIES.items()}
    return {name: rule for name, rule in named.items() if rule is not None}


def _check_declarations(world: World, parameters: dict[str, Any]) -> None:
    """What can be checked before any rule runs."""
    params = world.params(parameters)
    for name in ("n_min", "n_max", "max_cycles", "vision_radius"):
        if not hasattr(params, name):
            raise _fail(world, f"Params lacks {name}")
    drawn = population(parameters.get("n_agents", world.parameters()["n_agents"])).range
    if (params.n_min, params.n_max) != drawn:
        raise _fail(world, f"configure: n_min, n_max are {(params.n_min, params.n_max)} for n_agents={drawn}")
    for name, rule in _rules(world).items():
        if not isinstance(rule, Dispatcher) and not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise _fail(world, f"{name} is not compiled: decorate it with @interact_env.rule")
    _check_state(world, params)
    _check_columns(world, world.columns(params))
    if not world.METRICS or not all(isinstance(name, str) for name in world.METRICS):
        raise _fail(world, f"METRICS must be a tuple of at least one name, not {world.METRICS!r}")


def _check_state(world: World, params: Any) -> None:
    state = world.blank(params)
    for name, field in state._asdict().items():
        if not isinstance(field, np.ndarray) or field.ndim == 0 or field.any():
            raise _fail(world, f"blank: {name} must be an array of zeros of one dimension or more")
    alive = getattr(state, "alive", None)
    if alive is None or alive.dtype != np.bool_ or alive.shape != (params.n_max,):
        raise _fail(world, f"blank: State needs a field alive, bool of shape ({params.n_max},)")


def _check_columns(world: World, columns: Sequence[Any]) -> None:
    names = [c.name for c in columns]
    if not names or len(set(names)) < len(names):
        raise _fail(world, f"columns: names must differ, and be at least one, not {names}")
    for c in columns:
        if c.kind not in ("position", "category", "real"):
            raise _fail(
                world, f"columns: {c.name!r} must be of kind position, category or real, not {c.kind!r}"
            )
        if not c.low <= c.high:
            raise _fail(world, f"columns: {c.name!r} must have low <= high, not {c.low} and {c.high}")
        if c.kind != "real" and c.size < 1:
            raise _fail(world, f"columns: {c.name!r} of kind {c.kind} needs a size >= 1, not {c.size}")
        if c.kind == "category" and (c.low, c.high) != (0, c.size - 1):
            raise _fail(
                world, f"columns: category {c.name!r} of size {c.size} must go from 0 to {c.size - 1}"
            )


class _Probe:
    """One world whose rules are called one by one, on copies of its state."""

    def __init__(self, world: World, params: Any, batch: WorldBatch, seed: int) -> None:
        self.world, self.params, self.batch = world, params, batch
        self.key = Key(*(np.uint64(word) for word in (seed, 0, 0, 0)))
        self.random = np.random.default_rng(seed)
        self.n = int(self.random.integers(params.n_min, params.n_max + 1))
        self.where = "at the start"
        blank = batch.state()
        self.state_type = type(blank)
        self.bounds = EntityBox(batch.columns, params.n_max, batch.dtype)

    def run(self) -> None:
        state = self._start()
        for step in range(_STEPS):
            self.where = f"at step {step}"
            self._look(state)
            state = self._step(state, self._actions(state, step))
            if not state["alive"].any():
                break

    def _start(self) -> Arrays:
        blank = {name: np.zeros_like(field) for name, field in self.batch.state()._asdict().items()}
        if self.world.begin is not None:
            self.world.begin(self.params, self.key, self.n, self._state(blank))

        def spawn(i: int, target: Arrays) -> None:
            self.world.spawn(self.params, self.key, self.n, i, self._state(target))
            target["alive"][i] = True

        return self._for_each("spawn", spawn, range(self.n), blank)

    def _step(self, state: Arrays, actions: np.ndarray) -> Arrays:
        before = {name: field.copy() for name, field in state.items()}
        after = self._in_turn(self.world.PHASES, state, actions, before)
        n, agents = len(self.world.METRICS), np.flatnonzero(state["alive"])
        dtype, slots = self.batch.dtype, self.params.n_max
        target = after | {
            "its reward": np.zeros(slots, dtype),
            "its metrics": np.full((slots, n), np.nan, dtype),
        }

        def score(i: int, target: Arrays) -> None:
            old, new, metrics = self._state(state), self._state(target), target["its metrics"][i]
            target["its reward"][i] = self.world.score(self.params, old, actions, i, new, metrics)

        target = self._for_each("score", score, agents, target)
        self._unchanged("a phase or score", state, before)
        reward, metrics = target.pop("its reward"), target.pop("its metrics")
        self._finite("score: reward", reward, agents)
        for k, name in enumerate(self.world.METRICS):
            self._finite(f"score: metric {name!r}", metrics[:, k], agents)
        self._returned("score", target, state)
        return target

    def _in_turn(self, phases: Iterable[Any], state: Arrays, actions: np.ndarray, after: Arrays) -> Arrays:
        for phase in phases:
            if isinstance(phase, Repeat):
                for _ in range(phase.times(self.params)):
                    after = self._in_turn(phase.phases, state, actions, after)
                continue

            def move(i: int, target: Arrays, phase: Any = phase) -> None:
                phase(self.params, self._state(state), actions, i, self._state(target))

            name = f"phase {phase.__name__!r}"
            after = self._for_each(name, move, np.flatnonzero(state["alive"]), after)
            self._returned(name, after, state)
            if (after["alive"] != state["alive"]).any():
                raise self._error(f"{name} clears alive: only score may let an agent leave")
        return after

    def _for_each(
        self, name: str, call: Callable[[int, Arrays], None], agents: Iterable[int], start: Arrays
    ) -> Arrays:
        """What a rule makes of `start`, run for all agents in any order."""
        agents = [int(i) for i in agents]

        def visit(order: Iterable[int]) -> Arrays:
            target = {field: array.copy() for field, array in start.items()}
            for i in order:
                call(i, target)
            return target

        for i in agents:
            self._own_rows_only(name, i, start, visit([i]))
        found = visit(agents)
        if _difference(found, visit(agents)):
            raise self._error(
                f"{name} gives other results for the same input: it draws from a hidden generator; "
                "draw from `key` with interact_env.engine.random"
            )
        for order in (agents[::-1], self.random.permutation(agents).tolist()):
            other = _difference(found, visit(order))
            if other:
                raise self._error(
                    f"{name} gives agent {other[1]} another {other[0]} when the agents are visited in "
                    "another order: it reads what it writes, half-written; read `state`, or make two "
                    "phases of it"
                )
        return found

    def _own_rows_only(self, name: str, i: int, start: Arrays, found: Arrays) -> None:
        for field, array in found.items():
            changed = _rows_that_differ(array, start[field])
            others = [k for k in changed if k != i or len(array) != self.params.n_max]
            if not others:
                continue
            if field == "alive" and array[others[0]]:
                raise self._error(f"{name} of agent {i} lets agent {others[0]} return, which is not there")
            raise self._error(f"{name} writes row {others[0]} of {field} while it runs for agent {i}")

    def _look(self, state: Arrays) -> None:
        """Rows, sight and drawing."""
        before = {name: field.copy() for name, field in state.items()}
        alive = np.flatnonzero(state["alive"])
        for i in alive:
            row = np.full(len(self.bounds.columns), np.nan, self.batch.dtype)
            self.world.observe(self.params, self._state(state), i, row)
            check_row(self.world, row, self.bounds, int(i), self.where)
            for j in alive if self.world.visible is not None else ():
                if self.world.visible(self.params, self._state(state), i, j) not in (True, False):  # type: ignore[misc]
                    raise self._error(f"visible({i}, {j}) must be True or False")
        self._unchanged("observe or visible", state, before)
        if not isinstance(self.world.scene(self.params, self._state(state)), Scene):
            raise self._error("scene must return an interact_env.render.Scene")
        self._unchanged("scene", state, before)

    def _actions(self, state: Arrays, step: int) -> np.ndarray:
        """Scripted and random actions in turn, those of absent agents senseless."""
        space, shape = self.batch.action_space, self.batch.blank_actions().shape[1:]
        sampled = np.stack([space.sample() for _ in range(shape[0])]) if step else np.zeros(shape)
        actions = sampled.astype(self.batch.blank_actions().dtype)
        names = [*self.world.POLICIES, None]
        name = names[step % len(names)]
        if name is not None:
            for i in np.flatnonzero(state["alive"]):
                self.world.POLICIES[name](self.params, self.key, self._state(state), i, step, actions)
                if not space.contains(actions[i]):
                    raise self._error(f"policy {name!r} chose {actions[i]} for agent {i}, not in {space}")
        return actions

    def _state(self, arrays: Arrays) -> Any:
        return self.state_type(*(arrays[name] for name in self.state_type._fields))

    def _finite(self, what: str, values: np.ndarray, agents: np.ndarray) -> None:
        for i in agents:
            if not np.isfinite(values[i]):
                raise self._error(f"{what} of agent {i} is {values[i]}")

    def _returned(self, name: str, after: Arrays, state: Arrays) -> None:
        back = np.flatnonzero(after["alive"] & ~state["alive"])
        if back.size:
            raise self._error(f"{name} lets agent {back[0]} return, which is not there")

    def _unchanged(self, name: str, state: Arrays, before: Arrays) -> None:
        changed = _difference(state, before)
        if changed:
            raise self._error(f"{name} writes to `state` ({changed[0]}), which it may only read")

    def _error(self, text: str) -> InvalidWorld:
        return _fail(self.world, f"{text} ({self.where}, {self.n} agents)")


def _rows_that_differ(one: np.ndarray, other: np.ndarray) -> list[int]:
    same = (one == other) | (np.isnan(one) & np.isnan(other)) if one.dtype.kind == "f" else one == other
    return [int(k) for k in np.flatnonzero(~same.reshape(len(same), -1).all(axis=1))]


def _difference(one: Arrays, other: Arrays) -> tuple[str, int] | None:
    """The first field and row that differ."""
    for name, array in one.items():
        rows = _rows_that_differ(array, other[name])
        if rows:
            return name, rows[0]
    return None


def check_row(world: World, row: np.ndarray, bounds: EntityBox, i: int, where: str) -> None:
    """An entity row must be written, finite, within its columns' bounds, and whole where it is a category.

    Raises:
        InvalidWorld: it is not.
    """
    for k, c in enumerate(bounds.columns):
        value, low, high = row[k], bounds.dtype.type(c.low), bounds.dtype.type(c.high)
        what = f"observe: column {c.name!r} of agent {i} is {value} {where}"
        if not np.isfinite(value):
            raise _fail(world, f"{what}: not written, or not a number")
        if not low <= value <= high:
            raise _fail(world, f"{what}, outside [{c.low:g}, {c.high:g}]")
        if c.kind == "category" and value != np.floor(value):
            raise _fail(world, f"{what}: a category is a whole number")


def _check_batches(world: World, parameters: dict[str, Any]) -> None:
    """Whole worlds: the same twice, alone and in company, with one thread and with many."""
    n_worlds = 5
    options: dict[str, Any] = {"seed": 3, **parameters}
    recorded = [_play(WorldBatch(world, n_worlds, n_threads=1, **options), check=True)]
    recorded.append(_play(WorldBatch(world, n_worlds, n_threads=min(2, max_threads()), **options)))
    alone = _play(WorldBatch(world, 1, n_threads=1, first_world=n_worlds - 1, **options))
    for t, (one, other, single) in enumerate(zip(*recorded, alone, strict=True)):
        for name, array in one.items():
            if not np.array_equal(array, other[name], equal_nan=True):
                raise _fail(world, f"{name} at step {t} differ between two runs of the same seed")
            if not np.array_equal(array[-1], single[name][0], equal_nan=True):
                raise _fail(world, f"{name} at step {t} of a world depend on the other worlds of its batch")


def _play(batch: WorldBatch, *, check: bool = False) -> list[Arrays]:
    batch.reset()
    bounds = EntityBox(batch.columns, batch.n_slots, batch.dtype)
    names = ("random", *batch.world.POLICIES)
    found = []
    for t in range(_BATCH_STEPS):
        there = batch.alive.copy()
        step = batch.step(batch.scripted(names[t // 20 % len(names)]))
        if check:
            _check_step(batch, there, bounds, t)
        kept = {"rows": batch.rows, "rewards": step.reward, "metrics": batch.metrics, "alive": batch.alive}
        found.append({name: array.copy() for name, array in kept.items()})
        batch.reset(batch.over.copy())
    return found


def _check_step(batch: WorldBatch, there: np.ndarray, bounds: EntityBox, t: int) -> None:
    if (batch.alive & ~there).any():
        b, i = np.argwhere(batch.alive & ~there)[0]
        raise _fail(batch.world, f"agent {i} of world {b} returned at step {t}")
    if not np.isfinite(batch.reward).all() or not np.isfinite(batch.metrics).all():
        raise _fail(batch.world, f"score: a reward or metric is not a finite number at step {t}")
    rows = batch.rows[batch.alive]
    low, high = bounds.low[0], bounds.high[0]
    bad = np.flatnonzero(~((rows >= low) & (rows <= high)).all(axis=1))
    for k in bad[:1]:
        i = int(np.argwhere(batch.alive)[k][1])
        check_row(batch.world, rows[k], bounds, i, f"at step {t}")
