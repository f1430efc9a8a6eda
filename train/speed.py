"""Throughput of stepping and training, measured, with thread count and load beside each figure."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table

import interact_env
from interact_env.engine.batch import max_threads
from train.policy import EntityPolicy
from train.ppo import EntityPPO
from train.vec_env import make_sb3_vec_env

ENV = "colliding_agents_v0"
# What a step costs is measured at these numbers of agents; the three-body force is a sum over pairs for each.
COSTS: tuple[tuple[str, dict[str, Any], tuple[int, ...]], ...] = (
    ("colliding_agents_v0", {}, (1, 8, 64, 512, 4096)),
    ("n_body_v0", {"interaction": "gravity"}, (1, 8, 64, 512, 4096)),
    ("n_body_v0", {"interaction": "charge"}, (1, 8, 64, 512, 4096)),
    ("n_body_v0", {"interaction": "three_body"}, (1, 8, 64, 256)),
)
Report = Callable[[float, float, str], None]
Row = tuple[str, str, int]


def measure(threads: int, repeats: int, report: Report) -> Table:
    """Run every measurement.

    Args:
        threads: for batches and training; 0: all there are.
        repeats: of each; medians are reported.
        report: progress as (done, total, what).
    """
    threads = threads or os.cpu_count() or 1
    workers = min(threads, max_threads())
    tasks: list[tuple[str, Callable[[], tuple[list[float], str]], int]] = [
        *((f"PettingZoo step, {n} agents", lambda n=n: _single(n, repeats), 1) for n in (8, 64)),
        *(
            (f"batch step, {b} x {n}", lambda b=b, n=n: _batch(b, n, workers, repeats), workers)
            for b, n in ((1024, 8), (1024, 64), (4, 4096))
        ),
        *(
            (f"training, {p}, 8 agents", lambda p=p: _training(p, threads, repeats), threads)
            for p in ("sa", "sa_linear")
        ),
    ]
    table = Table("what", "median", "spread", "threads", "load", title=f"{ENV}, median of {repeats}")
    for k, (name, task, n_threads) in enumerate(tasks):
        report(k, len(tasks), name)
        load = os.getloadavg()[0]
        values, unit = task()
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        table.add_row(name, f"{statistics.median(values):,.0f} {unit}", spread, str(n_threads), f"{load:.1f}")
    table.add_row("memory of a batch, 1024 x 64", f"{_memory(1024, 64):.1f} MB", "", "", "")
    return table


def costs(repeats: int, report: Report) -> Table:
    """Microseconds that a step of one world takes on one thread, by the number of agents.

    Args:
        repeats: of each; medians are reported.
        report: progress as (done, total, what).
    """
    table = Table("world", "agents", "us a step", "spread", "us an agent", "exponent", "load")
    table.title = f"one world, one thread, median of {repeats}; exponent of the growth from the row above"
    for k, (env, parameters, counts) in enumerate(COSTS):
        before: tuple[int, float] | None = None
        name = " ".join((env, *parameters.values()))
        for n in counts:
            report(k, len(COSTS), f"{name}, {n} agents")
            load = os.getloadavg()[0]
            values = _cost(env, {**parameters, "n_agents": n}, repeats)
            median = statistics.median(values)
            growth = "" if before is None else f"{math.log(median / before[1], n / before[0]):.2f}"
            spread = f"{min(values):,.1f} to {max(values):,.1f}"
            table.add_row(name, str(n), f"{median:,.1f}", spread, f"{median / n:,.2f}", growth, f"{load:.1f}")
            before = (n, median)
        table.add_section()
    return table


def _cost(env: str, parameters: dict[str, Any], repeats: int) -> list[float]:
    batch = interact_env.make_batch(env, 1, seed=0, n_threads=1, max_cycles=None, **parameters)
    batch.reset()
    saved, actions = batch.save(), batch.blank_actions()

    def steps() -> None:
        # From the start each time: bodies that nobody steers fall together or leave.
        batch.restore(saved)
        for _ in range(3):
            batch.step(actions)

    return [1e6 * _time(steps, 3) / 3 for _ in range(repeats)]


def _single(n_agents: int, repeats: int) -> tuple[list[float], str]:
    env = interact_env.make(ENV, n_agents=n_agents, max_cycles=None, seed=0)
    env.reset()
    actions = dict.fromkeys(env.agents, 1)
    n = 1000
    return [1e6 * _time(lambda: env.step(actions), n) for _ in range(repeats)], "us"


def _batch(n_worlds: int, n_agents: int, threads: int, repeats: int) -> tuple[list[float], str]:
    batch = interact_env.make_batch(
        ENV, n_worlds, seed=0, n_threads=threads, n_agents=n_agents, max_cycles=None
    )
    batch.reset()
    actions = batch.scripted("random")
    n = 20
    agents = n_worlds * n_agents
    return [agents / _time(lambda: batch.step(actions), n) for _ in range(repeats)], "agent steps/s"


def _training(policy: str, threads: int, repeats: int) -> tuple[list[float], str]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    env = make_sb3_vec_env(ENV, 128, seed=0, n_agents=8)
    model = EntityPPO(
        EntityPolicy,
        env,
        n_steps=32,
        batch_size=512,
        n_epochs=3,
        seed=0,
        device="cpu",
        policy_kwargs={"policy": policy},
    )
    steps = 128 * 32
    model.learn(steps)  # warm up
    values = [
        steps * 8 / _time(lambda: model.learn(steps, reset_num_timesteps=False), 1) for _ in range(repeats)
    ]
    torch.set_num_threads(before)
    return values, "agent steps/s"


def _memory(n_worlds: int, n_agents: int) -> float:
    """Megabytes of every array of a batch, the spare copy of the state included."""
    batch = interact_env.make_batch(ENV, n_worlds, seed=0, n_agents=n_agents)
    arrays: dict[str, Any] = batch.save()
    state = sum(a.nbytes for name, a in arrays.items() if name.startswith("state."))
    return (state + sum(a.nbytes for a in arrays.values())) / 1e6


def _time(call: Callable[[], object], n: int) -> float:
    """Seconds a call, over n calls after a warm-up."""
    call()
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n
