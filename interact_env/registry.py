"""The worlds that are known by name, and the ways to make one."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

import gymnasium
import pettingzoo

from interact_env.engine import WorldBatch
from interact_env.parallel_env import WorldParallelEnv, pettingzoo_makers
from interact_env.vector_env import JointEnv, WorldVectorEnv
from interact_env.world import World

_registry: dict[str, World] = {}


def register(name: str, module: ModuleType) -> World:
    """Make a world known by name, here and as `interact_env/my_world-v0` in Gymnasium and PettingZoo.

    Args:
        name: ends in a version: "my_world_v0".
        module: holds the world's rules, see `interact_env.World`.

    Raises:
        ValueError: a bad or taken name, or a module that lacks a rule.
    """
    stem, _, version = name.rpartition("_v")
    if not stem.isidentifier() or not version.isdigit():
        raise ValueError(f"name must look like 'my_world_v0', not {name!r}")
    if name in _registry and _registry[name].module != module.__name__:
        raise ValueError(f"name {name!r} is taken by {_registry[name].module}: raise the version")
    replaces = name in _registry
    world = _registry[name] = World.from_module(name, module)
    if not replaces:
        _register_elsewhere(f"interact_env/{stem}-v{version}", name)
    return world


def _register_elsewhere(id_: str, name: str) -> None:
    gymnasium.register(
        id_,
        entry_point=functools.partial(_make_with, JointEnv, name),
        vector_entry_point=functools.partial(_make_with, WorldVectorEnv, name),
        # The spaces and the order of calls are checked by the env itself.
        disable_env_checker=True,
    )
    if hasattr(pettingzoo, "register"):  # PettingZoo >= 1.27
        parallel, _, aec = pettingzoo_makers(functools.partial(world, name))
        pettingzoo.register("parallel", id_, parallel)
        pettingzoo.register("aec", id_, aec)


def _make_with(maker: Any, name: str, **parameters: Any) -> Any:
    return maker(world(name), **parameters)


def world(name: str) -> World:
    """The registered world of this name; "my_module:my_world_v0" imports `my_module` first.

    Raises:
        ValueError: there is none, or no such module; the message lists those there are.
    """
    module, _, name = name.rpartition(":")
    if module:
        _import(module)
    if name not in _registry:
        raise ValueError(
            f"no world {name!r}; known: {', '.join(sorted(_registry))}; "
            f"one of your own is named with its module, as in my_module:{name or 'my_world_v0'}"
        )
    home = _registry[name].module
    if module and home.partition(".")[0] != module.partition(".")[0]:
        raise ValueError(f"world {name!r} is not of module {module!r} but of {home!r}")
    return _registry[name]


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a module may do wrong
        raise ValueError(f"module {module!r} cannot be imported: {type(error).__name__}: {error}") from error


def registered() -> dict[str, World]:
    """Every registered world by name."""
    return dict(sorted(_registry.items()))


def make(name: str, **parameters: Any) -> WorldParallelEnv:
    """A PettingZoo ParallelEnv of a registered world; see the world's `configure` for parameters."""
    return WorldParallelEnv(world(name), **parameters)


def make_batch(name: str, n_worlds: int = 1, **options: Any) -> WorldBatch:
    """A WorldBatch of a registered world; `options` are WorldBatch's and the world's parameters."""
    return WorldBatch(world(name), n_worlds, **options)
