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
    from policies import LoadError
    from train import checkpoint, directory
    from train.commands import runs

    def load(which: str) -> checkpoint.Checkpoint:
        return runs.load(config.run, config.env, config.policy, which)

    if not config.run.is_dir():
        raise ValueError(f"{config.run} is not the directory of a run")
    started = (config.run / directory.CONFIG).exists()
    if started:
        directory.started(config.run)
    pointers = [name for name in (checkpoint.LATEST, checkpoint.BEST) if (config.run / name).exists()]
    pointed = {name: load(name).path.name for name in pointers}
    if checkpoint.LATEST not in pointed:
        raise LoadError(f"{config.run} holds no checkpoint")
    table = Table("checkpoint", "", "env steps", "parameters", "bytes", "to go on with")
    for name in checkpoint.kept(config.run):
        saved = load(name)
        if started and saved.run != directory.digest(config.run):
            raise LoadError(f"{config.run / directory.CONFIG}: is not that which {saved.path} was made with")
        n_parameters = sum(tensor.numel() for tensor in saved.policy().weights().values())
        with saved.training() as tensors:
            whole = "yes" if tensors.names else "no"
        size = sum(file.stat().st_size for file in saved.path.iterdir())
        numbers = (f"{number:,}" for number in (saved.env_steps, n_parameters, size))
        table.add_row(name, ", ".join(p for p in pointers if pointed[p] == name), *numbers, whole)
    console.print(table)
    console.print(f"{config.run} is whole", highlight=False, soft_wrap=True)
    return 0
