"""`interact-env speed`."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from pathlib import Path

from train.commands.console import bar, console
from train.config import counts


@dataclasses.dataclass
class SpeedConfig:
    """Measure stepping and training, and print the figures with thread count and load."""

    threads: int = 0
    """CPU threads for batches and training; 0: all there are."""
    repeats: int = 5
    """Repetitions; medians are printed."""
    compare: bool = False
    """Measure other suites on the nearest work too: MPE2, VMAS and JaxMARL, where they are installed."""
    json: Path | None = None
    """File to write the figures to as well, in s, bytes and operations."""
    attention: bool = False
    """Measure the attention modules alone instead, against their definitions: time, growth and memory."""
    entities: str = "8,16,32,64,128,256,512,1024,2048,4096"
    """Numbers of entities for --attention, with commas between."""
    render: bool = False
    """Measure drawing and recording instead."""


def run(config: SpeedConfig) -> int:
    """`interact-env speed`."""
    from train import training

    training.threads(config.threads)
    entities = counts(config.entities, "--entities")
    if config.repeats < 1:
        raise ValueError(f"--repeats must be >= 1, not {config.repeats}")
    if config.attention and config.render:
        raise ValueError("give --attention or --render, not both")
    if config.attention or config.render:
        if config.compare or config.json is not None:
            raise ValueError("--compare and --json are not for --attention and --render")
        _table(config, entities)
        return 0
    return _figures(config)


def _table(config: SpeedConfig, entities: list[int]) -> None:
    from train.speed import attention, drawing

    with bar("measuring") as advance:
        if config.attention:
            table = attention.measure(entities, config.repeats, advance)
        else:
            table = drawing.measure(config.repeats, advance)
    console.print(table)


def _figures(config: SpeedConfig) -> int:
    from interact_env.engine.batch import max_threads
    from train import disk, memory
    from train.speed import gpu, limits, measure, mlp, peers, stepping, training

    if config.json is not None:
        _check(config.json)
    memory.keep_freed()  # as a training does
    threads = min(config.threads or os.cpu_count() or 1, max_threads())
    cases = [*stepping.cases(threads), *gpu.cases(), *training.cases(threads), *mlp.cases()]
    if config.compare:
        cases += peers.cases(threads)
    with bar("measuring") as advance:
        found = {(d, n): limits.measure(d, n) for d, n in dict.fromkeys((c.device, c.threads) for c in cases)}
        figures = measure.run(cases, config.repeats, advance)
    console.print(measure.table(figures, found))
    fresh = stepping.fresh(config.repeats)
    if fresh is not None:
        times, held, torch = fresh
        console.print(
            f"first step of a new process, import included: {statistics.median(times):.2f} s; "
            f"import interact_env: {held / 1e6:.0f} MB, {'with' if torch else 'without'} torch",
            highlight=False,
        )
    if config.compare and peers.missing():
        console.print(f"not installed, so not measured: {', '.join(peers.missing())}", highlight=False)
    if config.json is not None:
        document = measure.document(figures, found)
        if fresh is not None:
            document["fresh"] = dict(zip(("seconds", "memory", "torch"), fresh, strict=True))
        disk.replace(config.json, (json.dumps(document, indent=2) + "\n").encode())
        console.print(f"written to {config.json}", highlight=False, soft_wrap=True)
    return 0


def _check(path: Path) -> None:
    """Before the minutes of measuring."""
    if path.is_dir():
        raise ValueError(f"--json {path} is a folder")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--json {path}: {path.parent} is no folder")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ValueError(f"--json {path}: {path.parent} cannot be written to")
