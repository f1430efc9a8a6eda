"""`interact-env list`."""

from __future__ import annotations

import dataclasses

from rich.table import Table

from train.commands.console import console
from train.config import TrainConfig


@dataclasses.dataclass
class ListConfig:
    """List the worlds and the policies that are known by name."""


def run(_: ListConfig) -> int:
    """`interact-env list`."""
    import interact_env
    import policies
    from train import policy

    table = Table("world", "", "scripted policies", title="Worlds (--env)", title_justify="left")
    for name, world in interact_env.registered().items():
        table.add_row(name, world.summary, ", ".join(("random", *world.POLICIES)))
    console.print(table)
    batch = interact_env.make_batch(TrainConfig.env, 1, seed=0)
    sizes = batch.columns, policy.n_outputs(batch.action_space)
    title = f"Policies (--policy), at the defaults of train on {TrainConfig.env}"
    table = Table("policy", "", "parameters", title=title, title_justify="left")
    for name, summary in policies.names().items():
        table.add_row(name, summary, f"{policies.n_parameters(*sizes, policy=name):,}")
    console.print(table)
    return 0
