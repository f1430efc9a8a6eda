"""What drawing takes: frames a second without a screen, and the time of a recording."""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

import interact_env
from interact_env.render import Look, paint
from interact_env.spaces import entity_space
from train import evaluate, record
from train.player import Player
from train.policy import EntityPolicy
from train.stage import Stage

SIZE = (800, 800)
WORLDS: tuple[tuple[str, dict[str, Any]], ...] = (("colliding_agents_v0", {}), ("n_body_v0", {"dims": 3}))
COUNTS = (8, 64, 512, 1024)
_STEPS, _FRAMES = 12, 3  # that a rate is measured over, and frames a step: 10 steps and 30 frames a second
Report = Callable[[float, float, str], None]


def measure(repeats: int, report: Report) -> Table:
    """Frames a second, and seconds of a recording.

    Args:
        repeats: of each; medians are reported.
        report: progress as (done, total, what).
    """
    title = f"{SIZE[0]} x {SIZE[1]} pixels, one thread, no screen, median of {repeats}"
    table = Table("world", "agents", "what", "median", "spread", "load", title=title)
    frames = [(env, parameters, n) for env, parameters in WORLDS for n in COUNTS]
    total = len(frames) + 2
    for k, (env, parameters, n) in enumerate(frames):
        report(k, total, f"{env}, {n} agents")
        stage = _stage(env, {**parameters, "n_agents": n})
        rates = [_rate(stage) for _ in range(repeats)]
        _row(table, env, n, "a step, 3 frames", rates, "frames/s")
    env, n = WORLDS[0][0], 64
    report(len(frames), total, "attention")
    stage = _stage(env, {"n_agents": n}, policy="sa")
    stage.look = Look(selected=0)
    rates = [_rate(stage) for _ in range(repeats)]
    _row(table, env, n, "the same, sa's attention", rates, "frames/s")
    report(len(frames) + 1, total, "recording")
    seconds = [_recording(_stage(env, {"n_agents": n})) for _ in range(repeats)]
    _row(table, env, n, "300 frames to mp4", seconds, "s")
    return table


def _row(table: Table, env: str, n: int, what: str, values: list[float], unit: str) -> None:
    median, load = statistics.median(values), os.getloadavg()[0]
    spread = f"{min(values):,.1f} to {max(values):,.1f}"
    table.add_row(env, str(n), what, f"{median:,.1f} {unit}", spread, f"{load:.1f}")


def _stage(env: str, parameters: dict[str, Any], policy: str = "") -> Stage:
    """One player, in the middle of an episode that does not end."""
    batch = interact_env.make_batch(env, 1, n_threads=1, max_cycles=None, **parameters)
    act, network = evaluate.scripted(next(iter(batch.world.POLICIES))), None
    if policy:
        space = entity_space(batch.columns, batch.n_slots)
        network = EntityPolicy(space, batch.action_space, lambda _: 0.0, policy=policy)
        act = evaluate.learned(network)
    stage = Stage([Player(env, batch, act, network)], Look())
    for _ in range(15):
        stage.advance()
    gc.freeze()  # as the commands do, see `train.commands.watch`
    return stage


def _rate(stage: Stage) -> float:
    start = time.perf_counter()
    for _ in range(_STEPS):
        stage.advance()
        for k in range(_FRAMES):
            paint.array(stage.surface(SIZE, k / _FRAMES))
    return _STEPS * _FRAMES / (time.perf_counter() - start)


def _recording(stage: Stage) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        record.record(stage, Path(folder) / "out.mp4", SIZE, fps=30, speed=10, steps=100)
        return time.perf_counter() - start
