"""What a step of the worlds costs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import interact_env
from interact_env import WorldBatch
from train.speed.measure import Case, Task

COLLIDING, N_BODY = "colliding_agents_v0", "n_body_v0"
# Worlds on all threads, agents of each; of four worlds the growth is told.
BATCHES = (
    (COLLIDING, 1024, 8),
    (COLLIDING, 1024, 64),
    (COLLIDING, 4, 64),
    (COLLIDING, 4, 512),
    (COLLIDING, 4, 4096),
    (N_BODY, 64, 256),
)
# Worlds on one thread, by their numbers of agents; the three-body force is a sum over pairs for each.
GROWTH: tuple[tuple[str, dict[str, Any], tuple[int, ...]], ...] = (
    (COLLIDING, {}, (8, 64, 512, 4096)),
    (N_BODY, {"interaction": "gravity"}, (8, 64, 512, 4096)),
    (N_BODY, {"interaction": "charge"}, (8, 64, 512)),
    (N_BODY, {"interaction": "three_body"}, (8, 64, 128)),
)
# Of a pair under gravity: 3 differences, 6 for the softened square of the distance, a root, a quotient, 3 for
# the mass over the cube, 6 for the sum. Source: Nyland, Harris and Prins 2007, GPU Gems 3, chapter 31.
_PAIR = 20
_STEPS = 3
FRESH = """
import sys
import interact_env
lines = open("/proc/self/status").read().splitlines()  # getrusage would tell of the parent too
memory = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
env = interact_env.make("colliding_agents_v0", n_agents=8)
env.reset(seed=0)
env.step({agent: 1 for agent in env.agents})
print(memory, "torch" in sys.modules)
"""


def cases(threads: int) -> Iterator[Case]:
    """PettingZoo envs, batches on all threads, and single worlds on one.

    Args:
        threads: for the batches.
    """
    for n in (8, 64):
        yield Case("colliding agents, PettingZoo", 1, n, 1, lambda n=n: _single(n))  # type: ignore[misc]
    smallest = min(n for _, worlds, n in BATCHES if worlds == 4)
    for env, worlds, n in BATCHES:
        grows_from = smallest if worlds == 4 and n > smallest else 0
        yield batch(title(env), env, worlds, n, threads, grows_from)
    for env, parameters, counts in GROWTH:
        name = ", ".join((title(env), *parameters.values()))
        for before, n in zip((0, *counts), counts, strict=False):
            yield batch(name, env, 1, n, 1, grows_from=before, **parameters)


def batch(
    what: str, env: str, worlds: int, agents: int, threads: int, grows_from: int = 0, **parameters: Any
) -> Case:
    """Steps of a batch, each from the same state: bodies that nobody steers fall together or leave."""
    given = {"n_agents": agents, "max_cycles": None, **parameters}

    def make() -> Task:
        stepped = interact_env.make_batch(env, worlds, seed=0, n_threads=threads, **given)
        stepped.reset()
        saved, actions = stepped.save(), stepped.scripted("random")

        def task() -> None:
            stepped.restore(saved)
            for _ in range(_STEPS):
                stepped.step(actions)

        return task

    one = interact_env.make_batch(env, 1, seed=0, **given)
    moved, products = worlds * _STEPS * bytes_of(one), worlds * _STEPS * arithmetic(one)
    return Case(what, worlds, agents, threads, make, _STEPS, 0 if products else moved, products, grows_from)


def title(env: str) -> str:
    """A world's name in words."""
    return env.rpartition("_v")[0].replace("_", " ")


def arithmetic(one: WorldBatch) -> float:
    """Floating-point operations of a step of one world of bodies under gravity; 0 for all others."""
    if one.world.name != N_BODY or not one.params.gravity:
        return 0.0
    # The leapfrog asks for the forces before its first substep, and after each.
    return float(_PAIR * (one.params.substeps + 1) * one.n_slots * (one.n_slots - 1))


def bytes_of(one: WorldBatch) -> int:
    """Bytes that a step of one world must move: state and actions read, what changes and results written."""
    one.reset()
    sizes = {name: array.nbytes for name, array in one.save().items()}
    changing = set()
    for _ in range(64):
        before = one.save()
        one.step(one.scripted("random"))
        changing |= {name for name, array in one.save().items() if (array != before[name]).any()}
        one.reset(one.over.copy())
    moved = one.blank_actions().nbytes
    for name, size in sizes.items():
        kind = name.partition(".")[0]
        moved += size * ((kind == "state") + (kind == "result" or (kind == "state" and name in changing)))
    return int(moved)


def _single(n_agents: int) -> Task:
    env = interact_env.make(COLLIDING, n_agents=n_agents, max_cycles=None, seed=0)
    env.reset()
    actions = dict.fromkeys(env.agents, 1)
    return lambda: env.step(actions)


def fresh(repeats: int) -> tuple[list[float], float, bool] | None:
    """Seconds of new processes to their first step; bytes after the import; whether it imports torch."""
    if not Path("/proc/self/status").exists():
        return None
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        command = [sys.executable, "-c", FRESH]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        times.append(time.perf_counter() - start)
    memory, torch = done.stdout.split()
    return times, 1024.0 * float(memory), torch == "True"
