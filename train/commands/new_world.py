"""`interact-env new-world`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from train.commands.console import console


@dataclasses.dataclass
class NewWorldConfig:
    """Write a world of your own: NAME.py, which runs at once, and its test."""

    name: tyro.conf.Positional[str]
    """Name of the world, such as my_world."""
    folder: Path = Path()
    """Folder to write to; by default this one."""


def run(config: NewWorldConfig) -> int:
    """`interact-env new-world`."""
    from train import new_world

    world, test = new_world.write(config.name, config.folder)
    console.print(f"wrote {world} and {test}", highlight=False, soft_wrap=True)
    steps = [] if config.folder == Path() else [f"cd {config.folder}"]
    steps.append(f"pytest {test.name}")
    steps.append(f"interact-env train --env {config.name}:{config.name}_v0 --out runs/{config.name}")
    for step in steps:
        console.print(f"try: {step}", highlight=False, soft_wrap=True)
    return 0
