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
from interact_env.engine.cache import names_read
from interact_env.population import population
from interact_env.probe import Arrays, Probe, check_row, copied, fail
from interact_env.spaces import EntityBox
from interact_env.world import Column, Pairs, Repeat, World

_SEEDS = (0, 1, 2)
_STEPS = 200  # of whole worlds


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
        Probe(world, batch.params, batch, seed).run()
    _check_batches(world, parameters)


def _world(world: World | ModuleType | str) -> World:
    if isinstance(world, str):
        return registry.world(world)
    if isinstance(world, ModuleType):
        return World.from_module(world.__name__, world)
    return world


def _phases(phases: Iterable[Any]) -> Iterator[Callable[..., Any]]:
    for phase in phases:
        if isinstance(phase, Repeat):
            yield phase.times
            yield from _phases(phase.phases)
        elif isinstance(phase, Pairs):
            yield from (phase.pair, *(phase.near or ()))
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
    if not isinstance(world.PHASES, tuple | list) or not world.PHASES:
        raise fail(
            world, f"PHASES must be a tuple of at least one phase, as in (move,), not {world.PHASES!r}"
        )
    for name in ("n_min", "n_max", "max_cycles", "vision_radius"):
        if not hasattr(params, name):
            raise fail(world, f"Params lacks {name}")
    drawn = population(parameters.get("n_agents", world.parameters()["n_agents"])).range
    if (params.n_min, params.n_max) != drawn:
        raise fail(world, f"configure: n_min, n_max are {(params.n_min, params.n_max)} for n_agents={drawn}")
    for name, rule in _rules(world).items():
        if not isinstance(rule, Dispatcher) and not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            raise fail(world, f"{name} is not compiled: decorate it with @interact_env.rule")
    _check_state(world, params)
    _check_columns(world, world.columns(params))
    _check_names(world)
    if world.arena_size is not None and not {"size", "density"} <= world.parameters().keys():
        raise fail(world, "arena_size is for worlds with the parameters size and density")


def _check_names(world: World) -> None:
    names = world.METRICS
    good = isinstance(names, tuple | list) and names and all(isinstance(name, str) for name in names)
    if not good or len(set(names)) < len(names):
        raise fail(world, f"METRICS must be a tuple of at least one name, each once, not {names!r}")
    if "random" in world.POLICIES:
        raise fail(world, "POLICIES must not have 'random', which every world has")


def _check_state(world: World, params: Any) -> None:
    state: Any = world.blank(params)
    if not isinstance(state, tuple) or not hasattr(state, "_fields"):
        raise fail(world, f"blank must return a NamedTuple of arrays, not a {type(state).__name__}")
    for name, field in zip(state._fields, state, strict=True):
        if not isinstance(field, np.ndarray) or field.ndim == 0 or field.any():
            raise fail(world, f"blank: {name} must be an array of zeros of one dimension or more")
    alive = getattr(state, "alive", None)
    if alive is None or alive.dtype != np.bool_ or alive.shape != (params.n_max,):
        raise fail(world, f"blank: State needs a field alive, bool of shape ({params.n_max},)")

    for phase in _pairs(world.PHASES):
        _check_sum(world, phase, getattr(state, phase.into, None), len(alive))


def _pairs(phases: Iterable[Any]) -> Iterator[Pairs]:
    for phase in phases:
        if isinstance(phase, Repeat):
            yield from _pairs(phase.phases)
        elif isinstance(phase, Pairs):
            yield phase


def _check_sum(world: World, phase: Pairs, field: Any, n: int) -> None:
    name = f"Pairs {phase.pair.__name__!r}"
    if field is None or field.ndim not in (1, 2) or len(field) != n or phase.into == "alive":
        raise fail(world, f"{name}: into={phase.into!r} must be a field of State of shape ({n},) or ({n}, M)")
    if phase.into in names_read(phase.pair):
        raise fail(world, f"{name}: must not read into={phase.into!r}, which is being written")
    if phase.near is not None and field.dtype.kind not in "iu":
        raise fail(
            world,
            f"{name}: with `near`, into={phase.into!r} must be a field of whole numbers, which may be added "
            f"in any order, not of {field.dtype}",
        )


def _check_columns(world: World, columns: Sequence[Any]) -> None:
    if not isinstance(columns, tuple | list) or not all(isinstance(c, Column) for c in columns):
        raise fail(world, "columns must return a tuple of interact_env.Column")
    names = [c.name for c in columns]
    if not names or len(set(names)) < len(names):
        raise fail(world, f"columns: names must differ, and be at least one, not {names}")
    for c in columns:
        if c.kind not in ("position", "category", "real"):
            raise fail(
                world, f"columns: {c.name!r} must be of kind position, category or real, not {c.kind!r}"
            )
        if not c.low <= c.high:
            raise fail(world, f"columns: {c.name!r} must have low <= high, not {c.low} and {c.high}")
        if c.kind != "real" and c.size < 1:
            raise fail(world, f"columns: {c.name!r} of kind {c.kind} needs a size >= 1, not {c.size}")
        if c.kind == "category" and (c.low, c.high) != (0, c.size - 1):
            raise fail(world, f"columns: category {c.name!r} of size {c.size} must go from 0 to {c.size - 1}")


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
                raise fail(world, f"{name} at step {t} differ between two runs of the same seed")
            if not np.array_equal(array[-1], single[name][0], equal_nan=True):
                raise fail(world, f"{name} at step {t} of a world depend on the other worlds of its batch")


def _play(batch: WorldBatch, *, check: bool = False) -> list[Arrays]:
    batch.reset()
    bounds = EntityBox(batch.columns, batch.n_slots, batch.dtype)
    names = ("random", *batch.world.POLICIES)
    found = []
    for t in range(_STEPS):
        there = batch.alive.copy()
        step = batch.step(batch.scripted(names[t // 20 % len(names)]))
        if check:
            _check_step(batch, there, bounds, t)
        kept = {"rows": batch.rows, "rewards": step.reward, "metrics": batch.metrics, "alive": batch.alive}
        visible = batch.visible()
        found.append(copied(kept if visible is None else {**kept, "sight": visible}))
        batch.reset(batch.over.copy())
    return found


def _check_step(batch: WorldBatch, there: np.ndarray, bounds: EntityBox, t: int) -> None:
    if (batch.alive & ~there).any():
        b, i = np.argwhere(batch.alive & ~there)[0]
        raise fail(batch.world, f"agent {i} of world {b} returned at step {t}")
    if not np.isfinite(batch.reward).all() or not np.isfinite(batch.metrics).all():
        raise fail(batch.world, f"score: a reward or metric is not a finite number at step {t}")
    rows = batch.rows[batch.alive]
    low, high = bounds.low[0], bounds.high[0]
    bad = np.flatnonzero(~((rows >= low) & (rows <= high)).all(axis=1))
    for k in bad[:1]:
        i = int(np.argwhere(batch.alive)[k][1])
        check_row(batch.world, rows[k], bounds, i, f"at step {t}")
