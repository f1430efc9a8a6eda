"""The rules of a world, called one by one on copies of its state to see what they read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from interact_env.engine import WorldBatch
from interact_env.engine.random import Key
from interact_env.render import Scene
from interact_env.spaces import EntityBox
from interact_env.world import Repeat, World

_STEPS = 40
Arrays = dict[str, np.ndarray]


class InvalidWorld(ValueError):
    """A world that breaks its contract; the message says which rule does, and how."""


def fail(world: World, text: str) -> InvalidWorld:
    """What is wrong with a world, as an exception to raise."""
    return InvalidWorld(f"{world.name}: {text}")


class Probe:
    """One world whose rules are called one by one, on copies of its state."""

    def __init__(self, world: World, params: Any, batch: WorldBatch, seed: int) -> None:
        """`batch` tells shapes, dtypes and spaces; it is not stepped."""
        self.world, self.params, self.batch = world, params, batch
        self.key = Key(*(np.uint64(word) for word in (seed, 0, 0, 0)))
        self.random = np.random.default_rng(seed)
        self.n = int(self.random.integers(params.n_min, params.n_max + 1))
        self.where = "at the start"
        blank = batch.state()
        self.state_type = type(blank)
        self.bounds = EntityBox(batch.columns, params.n_max, batch.dtype)

    def run(self) -> None:
        """Play an episode of some steps.

        Raises:
            InvalidWorld: at the first rule that breaks the contract.
        """
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
        return fail(self.world, f"{text} ({self.where}, {self.n} agents)")


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
            raise fail(world, f"{what}: not written, or not a number")
        if not low <= value <= high:
            raise fail(world, f"{what}, outside [{c.low:g}, {c.high:g}]")
        if c.kind == "category" and value != np.floor(value):
            raise fail(world, f"{what}: a category is a whole number")
