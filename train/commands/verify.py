"""`interact-env verify`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro
from rich.table import Table

from train.commands.console import console


@dataclasses.dataclass
class VerifyConfig:
    """Check every byte of a run's checkpoints, and that they can be used."""

    run: tyro.conf.Positional[Path]
    """Directory of the run."""
    env: str = ""
    """The run's world, if it is one of your own, as my_module:my_world_v0."""
    policy: str = ""
    """The run's policy, if it is one of your own, as my_module:my_name."""


def run(config: VerifyConfig) -> int:
    """`interact-env verify`."""
    from train import checkpoint, directory
    from train.commands import runs

    table = Table("", "checkpoint", "env steps", "parameters", "bytes", "to go on with")
    for pointer in (checkpoint.LATEST, checkpoint.BEST):
        if pointer == checkpoint.BEST and not (config.run / pointer).exists():
            continue
        saved = runs.load(config.run, config.env, config.policy, pointer)
        n_parameters = sum(tensor.numel() for tensor in saved.policy().weights().values())
        with saved.training() as tensors:
            whole = "yes" if tensors.names else "no"
        size = sum(file.stat().st_size for file in saved.path.iterdir())
        numbers = (f"{number:,}" for number in (saved.env_steps, n_parameters, size))
        table.add_row(pointer, saved.path.name, *numbers, whole)
    if (config.run / directory.CONFIG).exists():
        directory.started(config.run)
    console.print(table)
    console.print(f"{config.run} is whole", highlight=False, soft_wrap=True)
    return 0
