"""The rules of a world, called one by one on copies of its state to see what they read and write."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from interact_env.engine import WorldBatch
from interact_env.engine.cells import ROUNDING
from interact_env.engine.cpu import fields
from interact_env.engine.random import Key
from interact_env.render.scene import checked
from interact_env.spaces import EntityBox
from interact_env.world import Near, Pairs, Repeat, World

_STEPS = 40
# Values around an array, whose change shows a write past its end.
_GUARD, _FENCE = 8, 77
Arrays = dict[str, np.ndarray]
Call = Callable[[int, Arrays, Arrays], None]  # call(i, target, read)


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
        self.state_type = type(batch.state())
        self.space = world.action_space(params)
        self.space.seed(seed)
        self.per_agent = fields(world, params).per_agent
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
            self._call("begin", self.world.begin, self.params, self.key, self.n, self._state(blank))

        def spawn(i: int, target: Arrays, read: Arrays) -> None:
            self._call("spawn", self.world.spawn, self.params, self.key, self.n, i, self._state(target))
            target["alive"][i] = True

        return self._for_each("spawn", spawn, range(self.n), blank, {})

    def _step(self, state: Arrays, actions: np.ndarray) -> Arrays:
        before = copied(state)
        after = self._in_turn(self.world.PHASES, state, actions, copied(state))
        dtype, slots = self.batch.dtype, self.params.n_max
        metrics = np.full((slots, len(self.world.METRICS)), np.nan, dtype)
        target = after | {"the reward": np.zeros(slots, dtype), "the metrics": metrics}

        def score(i: int, target: Arrays, read: Arrays) -> None:
            new, metrics = self._state(target), target["the metrics"][i]
            target["the reward"][i] = self._call(
                "score", self.world.score, self.params, self._state(read), read["actions"], i, new, metrics
            )

        agents = np.flatnonzero(state["alive"])
        target = self._for_each("score", score, agents, target, {**state, "actions": actions})
        self._unchanged("a phase or score", state, before)
        self._finite("score: reward", target.pop("the reward"), agents)
        metrics = target.pop("the metrics")
        for k, name in enumerate(self.world.METRICS):
            self._finite(f"score: metric {name!r}", metrics[:, k], agents)
        self._returned("score", target, state)
        return target

    def _in_turn(self, phases: Iterable[Any], state: Arrays, actions: np.ndarray, after: Arrays) -> Arrays:
        for phase in phases:
            if isinstance(phase, Repeat):
                for _ in range(self._call("times", phase.times, self.params)):
                    after = self._in_turn(phase.phases, state, actions, after)
                continue
            if isinstance(phase, Pairs):
                after = self._sum_pairs(phase, after)
                continue
            name = f"phase {phase.__name__!r}"

            def move(i: int, target: Arrays, read: Arrays, phase: Any = phase, name: str = name) -> None:
                old, new = self._state(read), self._state(target)
                self._call(name, phase, self.params, old, read["actions"], i, new)

            agents = np.flatnonzero(state["alive"])
            after = self._for_each(name, move, agents, after, {**state, "actions": actions})
            self._returned(name, after, state)
            if (after["alive"] != state["alive"]).any():
                raise self._error(f"{name} clears alive: only score may let an agent leave")
        return after

    def _sum_pairs(self, phase: Pairs, after: Arrays) -> Arrays:
        name, before = f"pair {phase.pair.__name__!r}", copied(after)
        agents = np.flatnonzero(after["alive"]).tolist()
        # As the engine may call it: the living side by side, in any order.
        order = self.random.permutation(agents).astype(np.int64)
        packed = {k: v[order] if k in self.per_agent else v for k, v in after.items()}
        rows = {int(agent): row for row, agent in enumerate(order)}
        sums = np.zeros_like(after[phase.into])
        for i, j in itertools.permutations(agents, 2):
            given = self._call(name, phase.pair, self.params, self._state(after), i, j)
            again = self._call(name, phase.pair, self.params, self._state(packed), rows[i], rows[j])
            if np.shape(given) != sums[i].shape:
                raise self._error(
                    f"{name} gives {given!r}: must be of the shape {sums[i].shape} of a row of {phase.into}"
                )
            if not np.array_equal(given, again, equal_nan=True):
                raise self._error(
                    f"{name} gives agent {i} other values for agent {j} when the agents are in another "
                    "order: it may read rows i and j of `state`, and no others, and no hidden generator"
                )
            if phase.near is not None and np.any(given):
                self._check_near(name, phase.near, after, i, j)
            sums[i] += given
        self._unchanged(name, after, before)
        return before | {phase.into: sums}

    def _check_near(self, name: str, near: Near, after: Arrays, i: int, j: int) -> None:
        state = self._state(after)
        reach = self._call("reach", near.reach, self.params, state)
        one, other = (self._call("place", near.place, self.params, state, k) for k in (i, j))
        if np.shape(one) not in ((2,), (3,)):
            raise self._error(f"place must give 2 or 3 coordinates, not {one!r}")
        away = abs(np.clip(one, 0, 1) - np.clip(other, 0, 1))
        if (np.minimum(away, 1 - away) > reach + ROUNDING).any():
            raise self._error(
                f"{name} gives agent {i} something from agent {j}, which is out of reach: of {reach:g} from "
                f"{tuple(map(float, one))} to {tuple(map(float, other))}, in sides of the arena"
            )

    def _for_each(self, name: str, call: Call, agents: Iterable[int], start: Arrays, read: Arrays) -> Arrays:
        """What a rule makes of `start`, run for all agents: in any order the same, and of nothing hidden."""
        agents = [int(i) for i in agents]

        def visit(order: Iterable[int], start: Arrays = start, read: Arrays = read) -> Arrays:
            target = guarded(start)
            for i in order:
                call(i, target, read)
            self._within(name, target)
            return target

        for i in agents:
            self._own_rows_only(name, i, start, visit([i]))
        found = visit(agents)
        if difference(found, visit(agents)):
            raise self._error(
                f"{name} gives other results for the same input: it draws from a hidden generator; "
                "draw from `key` with interact_env.engine.random"
            )
        for order in (agents[::-1], self.random.permutation(agents).tolist()):
            other = difference(found, visit(order))
            if other:
                raise self._error(
                    f"{name} gives agent {other[1]} other values of {other[0]} when the agents are "
                    "visited in another order: it reads what it writes, half-written; read `state`, or "
                    "make two phases of it"
                )
        if read:
            self._ignores_the_absent(name, agents, found, visit(agents, *self._haunted(start, read)))
        return found

    def _haunted(self, *sets: Arrays) -> list[Arrays]:
        """The same, but absent agents have the rows of one who is there."""
        alive = sets[-1]["alive"]
        absent, there = np.flatnonzero(~alive), np.flatnonzero(alive)
        found = [copied(arrays) for arrays in sets]
        for arrays in found:
            for name, field in arrays.items():
                if name != "alive" and len(field) == self.params.n_max and there.size:
                    field[absent] = field[there[0]]
        return found

    def _ignores_the_absent(self, name: str, agents: list[int], found: Arrays, haunted: Arrays) -> None:
        living = {k: v[agents] for k, v in found.items() if len(v) == self.params.n_max}
        other = difference(living, {k: haunted[k][agents] for k in living})
        if other:
            raise self._error(
                f"{name} gives agent {agents[other[1]]} other values of {other[0]} when the rows of absent "
                "agents change: ask state.alive[j] first"
            )

    def _own_rows_only(self, name: str, i: int, start: Arrays, found: Arrays) -> None:
        for field, array in found.items():
            changed = rows_that_differ(array, start[field])
            others = [k for k in changed if k != i or len(array) != self.params.n_max]
            if not others:
                continue
            if field == "alive" and array[others[0]]:
                raise self._error(f"{name} of agent {i} lets agent {others[0]} return, which is not there")
            raise self._error(f"{name} writes row {others[0]} of {field} while it runs for agent {i}")

    def _look(self, state: Arrays) -> None:
        """Rows, sight and drawing."""
        before, alive = copied(state), np.flatnonzero(state["alive"])
        rows = {"the row": np.full((self.params.n_max, len(self.bounds.columns)), np.nan, self.batch.dtype)}

        def observe(i: int, target: Arrays, read: Arrays) -> None:
            self._call("observe", self.world.observe, self.params, self._state(read), i, target["the row"][i])

        seen = self._for_each("observe", observe, alive, rows, state)["the row"]
        for i in alive:
            check_row(self.world, seen[i], self.bounds, int(i), self.where)
        if self.world.visible is not None:
            self._check_sight(self.world.visible, state, alive)
        self._unchanged("observe or visible", state, before)
        self._check_scene(self._call("scene", self.world.scene, self.params, self._state(state)), alive)
        self._unchanged("scene", state, before)

    def _check_sight(self, rule: Callable[..., bool], state: Arrays, alive: np.ndarray) -> None:
        for i in alive:
            for j in alive:
                twice = [self._call("visible", rule, self.params, self._state(state), i, j) for _ in range(2)]
                if twice[0] not in (True, False):
                    raise self._error(f"visible({i}, {j}) must be True or False, not {twice[0]!r}")
                if twice[0] != twice[1]:
                    raise self._error(f"visible({i}, {j}) gives other results for the same input")

    def _check_scene(self, scene: Any, alive: np.ndarray) -> None:
        try:
            checked(scene)
        except ValueError as error:
            raise self._error(f"scene: {error}") from None
        shown = {int(shape.agent) for shapes in scene[3:6] for shape in shapes} - {-1, *alive.tolist()}
        if shown:
            raise self._error(f"scene: agent {min(shown)} of a shape is not there")

    def _actions(self, state: Arrays, step: int) -> np.ndarray:
        """Scripted and random actions in turn."""
        space, blank = self.space, self.batch.blank_actions()[0]
        sampled = np.stack([space.sample() for _ in range(len(blank))]).astype(blank.dtype)
        names = [*self.world.POLICIES, None]
        chosen = names[step % len(names)]
        if chosen is None:
            return sampled
        name = f"policy {chosen!r}"

        def choose(i: int, target: Arrays, read: Arrays) -> None:
            rule = self.world.POLICIES[chosen]
            self._call(name, rule, self.params, self.key, self._state(read), i, step, target["the action"])

        alive = np.flatnonzero(state["alive"])
        actions = self._for_each(name, choose, alive, {"the action": sampled}, state)["the action"]
        for i in alive:
            if not space.contains(actions[i]):
                raise self._error(f"{name} chose {actions[i]} for agent {i}, not in {space}")
        return actions.copy()

    def _call(self, name: str, rule: Callable[..., Any], *arguments: Any) -> Any:
        """What a rule returns.

        Raises:
            InvalidWorld: it takes other arguments, does not compile, or raises.
        """
        function = getattr(rule, "py_func", rule)
        takes = list(inspect.signature(function).parameters)
        if len(takes) != len(arguments):
            raise self._error(f"{name} takes ({', '.join(takes)}): must take {len(arguments)} arguments")
        try:
            return rule(*arguments)
        except InvalidWorld:
            raise
        except Exception as error:
            raise self._error(f"{name} cannot run: {type(error).__name__}: {_gist(error)}") from error

    def _within(self, name: str, target: Arrays) -> None:
        for field, array in target.items():
            fence = array.base
            assert fence is not None
            ends = np.concatenate([fence[:_GUARD], fence[-_GUARD:]])
            if (ends != np.array(_FENCE).astype(fence.dtype)).any():
                raise self._error(f"{name} writes past the end of {field}, of shape {array.shape}")

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
        changed = difference(state, before)
        if changed:
            raise self._error(f"{name} writes to `state` ({changed[0]}), which it may only read")

    def _error(self, text: str) -> InvalidWorld:
        return fail(self.world, f"{text} ({self.where}, {self.n} agents)")


def copied(arrays: Arrays) -> Arrays:
    """Copies of the arrays."""
    return {name: field.copy() for name, field in arrays.items()}


def guarded(arrays: Arrays) -> Arrays:
    """Copies of the arrays, each with a fence around it."""
    found = {}
    for name, array in arrays.items():
        fence = np.full(array.size + 2 * _GUARD, np.array(_FENCE).astype(array.dtype), array.dtype)
        found[name] = fence[_GUARD:-_GUARD].reshape(array.shape)
        found[name][...] = array
    return found


def rows_that_differ(one: np.ndarray, other: np.ndarray) -> list[int]:
    """Rows of two arrays that are not the same; NaN is equal to itself here."""
    same = (one == other) | (np.isnan(one) & np.isnan(other)) if one.dtype.kind == "f" else one == other
    return [int(k) for k in np.flatnonzero(~same.reshape(len(same), -1).all(axis=1))]


def difference(one: Arrays, other: Arrays) -> tuple[str, int] | None:
    """The first field and row that differ."""
    for name, array in one.items():
        rows = rows_that_differ(array, other[name])
        if rows:
            return name, rows[0]
    return None


def _gist(error: Exception) -> str:
    """The lines of an error that say what is wrong; numba wraps them in many others."""
    lines = [line.strip() for line in str(error).splitlines()]
    empty = ("Failed in", "During:", "This error", "- Resolution", "[1]", "There are")
    return "; ".join([line for line in lines if line and not line.startswith(empty)][:4])[:400]


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
