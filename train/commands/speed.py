"""`interact-env speed`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from rich.table import Table

from train.commands.console import Report, bar, console
from train.config import counts


@dataclasses.dataclass
class SpeedConfig:
    """Measure stepping and training, and print the figures with thread count and load."""

    threads: int = 0
    """CPU threads for batches and training; 0: all there are."""
    repeats: int = 5
    """Repetitions; medians are printed."""
    attention: bool = False
    """Measure the attention modules alone instead, against their definitions: time, growth and memory."""
    entities: str = "8,16,32,64,128,256,512,1024,2048,4096"
    """Numbers of entities for --attention, with commas between."""
    render: bool = False
    """Measure drawing and recording instead."""


def run(config: SpeedConfig) -> int:
    """`interact-env speed`."""
    from train import attention_speed, render_speed, speed, training

    training.threads(config.threads)
    entities = counts(config.entities, "--entities")
    if config.repeats < 1:
        raise ValueError(f"--repeats must be >= 1, not {config.repeats}")
    if config.attention and config.render:
        raise ValueError("give --attention or --render, not both")
    tables: list[Callable[[Report], Table]]
    if config.attention:
        tables = [lambda report: attention_speed.measure(entities, config.repeats, report)]
    elif config.render:
        tables = [lambda report: render_speed.measure(config.repeats, report)]
    else:
        tables = [
            lambda report: speed.measure(config.threads, config.repeats, report),
            lambda report: speed.costs(config.repeats, report),
        ]
    for measure in tables:
        with bar("measuring") as advance:
            table = measure(advance)
        console.print(table)
    return 0
