"""Other suites on the nearest work that they have, in the same run: those that are installed."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch

from train.speed import mlp
from train.speed.measure import Case, Task

_STEPS = 10


def cases(threads: int) -> Iterator[Case]:
    """Discs that push each other apart: `simple_spread`, which all of them have; and training in it.

    Args:
        threads: of torch, for VMAS; JaxMARL steps with those that it finds, and trains on one core.
    """
    for name, module, made in _PEERS:
        if importlib.util.find_spec(module) is not None:
            yield from made(name, threads)


def missing() -> list[str]:
    """Those that are not installed."""
    return [name for name, module, _ in _PEERS if importlib.util.find_spec(module) is None]


def _mpe2(name: str, _: int) -> Iterator[Case]:
    for n in (8, 64):
        yield Case(f"{name} simple_spread, PettingZoo", 1, n, 1, lambda n=n: _single(n))  # type: ignore[misc]


def _single(n_agents: int) -> Task:
    from mpe2 import simple_spread_v3

    env = simple_spread_v3.parallel_env(N=n_agents, max_cycles=10**9)
    env.reset(seed=0)
    actions = dict.fromkeys(env.agents, 1)
    return lambda: env.step(actions)


def _vmas(name: str, threads: int) -> Iterator[Case]:
    # Its pairs are a loop in Python: 64 agents take ten seconds a step.
    yield Case(f"{name} simple_spread, batch", 1024, 8, threads, lambda: _torch(1024, 8, threads))


def _torch(worlds: int, n_agents: int, threads: int) -> Task:
    import vmas

    torch.set_num_threads(threads)
    env = vmas.make_env("simple_spread", worlds, "cpu", seed=0, n_agents=n_agents, max_steps=None)
    env.reset()
    actions = [torch.zeros(worlds, 2) for _ in range(n_agents)]
    return lambda: env.step(actions)


def _jaxmarl(name: str, threads: int) -> Iterator[Case]:
    for worlds, n in ((1024, 8), (1024, 64)):
        yield Case(
            f"{name} simple_spread, batch",
            worlds,
            n,
            threads,
            lambda worlds=worlds, n=n: _jax(worlds, n),  # type: ignore[misc]
            steps=_STEPS,
        )
    # Which its training is made of beside its worlds.
    if all(importlib.util.find_spec(module) for module in ("distrax", "flax", "optax")):
        yield Case(
            f"{name} IPPO, two MLPs 64 x 64", mlp.WORLDS, mlp.AGENTS, 1, _ippo, mlp.STEPS, elsewhere=True
        )


def _jax(worlds: int, n_agents: int) -> Task:
    import jax
    import jaxmarl

    env: Any = jaxmarl.make("MPE_simple_spread_v3", num_agents=n_agents, num_landmarks=n_agents)
    keys = jax.random.split(jax.random.PRNGKey(0), worlds)
    _, start = jax.vmap(env.reset)(keys)
    actions = {agent: jax.numpy.ones(worlds, dtype=int) for agent in env.agents}

    @jax.jit
    def steps(state: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            observations, state, rewards, *_ = jax.vmap(env.step_env)(keys, state, actions)
            return state, (observations, rewards)

        return jax.lax.scan(step, state, None, length=_STEPS)

    return lambda: jax.block_until_ready(steps(start))


def _ippo() -> Task:
    """Iterations of a process of its own, which is given one core before JAX takes all."""
    words = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the process
    process = subprocess.Popen(
        [sys.executable, "-m", "train.speed.jaxmarl_ippo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        text=True,
    )
    ask, answer = process.stdin, process.stdout
    assert ask is not None
    assert answer is not None

    def iteration() -> None:
        with contextlib.suppress(BrokenPipeError):  # the missing answer tells
            ask.write("go on\n")
            ask.flush()
        if not answer.readline():
            process.communicate()
            words.seek(0)
            with words:
                last = (words.read().strip().splitlines() or ["it said nothing"])[-1]
            raise ValueError(f"JaxMARL's IPPO has ended with status {process.returncode}: {last}")

    return iteration


_PEERS: tuple[tuple[str, str, Callable[[str, int], Iterator[Case]]], ...] = (
    ("MPE2", "mpe2", _mpe2),
    ("VMAS", "vmas", _vmas),
    ("JaxMARL", "jaxmarl", _jaxmarl),
)
