"""`interact-env train`."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from train.commands.console import bar, console
from train.config import TrainConfig

if TYPE_CHECKING:  # imported where it is used: torch takes seconds
    from train import training

# What may be given anew when a run goes on.
_FREE = ("device", "threads", "save_every")


@dataclasses.dataclass
class TrainOptions(TrainConfig):
    """Train a policy with PPO and save it in a new directory, or go on with a run that was stopped.

    Ctrl-C (SIGINT) and SIGTERM stop with a checkpoint and status 130 and 143; a second Ctrl-C stops at once.
    """

    out: Annotated[Path, tyro.conf.arg(help_behavior_hint="(required, or --resume)")] = Path()
    """Directory of the run; made here, must not hold a run yet."""
    resume: Path | None = None
    """Directory of a run to go on with, from its last checkpoint and as it was started: only --device,
    --threads and --save-every may be given anew; --env and --policy must be if they are of your own."""


def run(options: TrainOptions) -> int:
    """`interact-env train`."""
    if options.resume is not None:
        return go_on(options, options.resume)
    if options.out == Path():
        raise ValueError("--out must be given: a new directory, or go on with --resume")
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(TrainConfig)}
    return start(TrainConfig(**given))


def start(config: TrainConfig) -> int:
    """A new run."""
    from train import training

    with bar("training") as advance:
        status = training.train(config, lambda p: advance(p.env_steps, p.total_steps, _describe(p)))
    return _finish(config, status)


def go_on(options: TrainOptions, run: Path) -> int:
    """A run that was stopped."""
    from train import directory, training

    config, differs = directory.started(run)
    default = TrainOptions()
    free = {n: getattr(options, n) for n in _FREE if getattr(options, n) != getattr(default, n)}
    for field in dataclasses.fields(TrainConfig):
        name, option = field.name, field.name.replace("_", "-")
        given, saved = getattr(options, name), getattr(config, name)
        if name in ("env", "policy") and ":" in saved and given != saved:
            # It would be imported, and a file must not choose what is.
            raise ValueError(f"--{option} {saved} must be given with --resume: it is the run's own")
        if name not in _FREE and given not in (saved, getattr(default, name)):
            raise ValueError(f"--{option} must not be given with --resume: the run goes on as it was started")
    if differs:
        text = "; ".join(differs)
        print(f"interact-env: goes on, but not bit for bit as it would have: {text}", file=sys.stderr)
    config = dataclasses.replace(config, **free)
    with bar("training") as advance:
        status = training.resume(config, lambda p: advance(p.env_steps, p.total_steps, _describe(p)))
    return _finish(config, status)


def _finish(config: TrainConfig, status: int) -> int:
    from train import directory, figures

    if os.environ.get("RANK", "0") != "0":  # of torchrun; the first process has written all
        return status
    log = directory.read_log(config.out)
    if log.get("rollout/reward_per_agent_step"):
        title = f"{config.policy} on {config.env}, {config.n_agents} agents"
        figures.learning_curve(log, config.out / "learning_curve.png", title)
    console.print(f"{'stopped; saved' if status else 'saved'} in {config.out}", highlight=False)
    return status


def _describe(p: training.Progress) -> str:
    earned = "" if p.episode_return is None else f"return {p.episode_return:.1f}  "
    metrics = "  ".join(f"{name} {value:.2f}" for name, value in p.metrics.items())
    return f"{earned}{metrics}  {p.agent_steps_per_second:,.0f} agent steps/s"
