"""`interact-env train`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
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
    checkpoint: str = "latest"
    """Which checkpoint to go on from: latest, best, or one by its name, as step_000000100000."""
    typed: tyro.conf.Suppress[frozenset[str]] = frozenset()
    """The options that were typed, as fields."""


def typed(arguments: Sequence[str]) -> frozenset[str]:
    """Fields of the options in a command line."""
    names = (argument[2:].partition("=")[0] for argument in arguments if argument.startswith("--"))
    return frozenset(name.replace("-", "_").removeprefix("no_") for name in names)


def run(options: TrainOptions) -> int:
    """`interact-env train`."""
    if options.resume is not None:
        return go_on(options, options.resume)
    if "checkpoint" in options.typed:
        raise ValueError("--checkpoint is for --resume")
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

    config = directory.started(run)
    # Own worlds and policies would be imported, and a file must not choose what is.
    own = {name: getattr(config, name) for name in ("env", "policy") if ":" in getattr(config, name)}
    for name, value in own.items():
        if getattr(options, name) != value:
            raise ValueError(f"--{name} {value} must be given with --resume: it is the run's own")
    for name in options.typed:
        if name not in (*_FREE, *own, "resume", "checkpoint"):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} must not be given with --resume: the run goes on as it was started")
    free = {name: getattr(options, name) for name in _FREE if name in options.typed}
    config = dataclasses.replace(config, **free)
    with bar("training") as advance:
        status = training.resume(
            config,
            lambda p: advance(p.env_steps, p.total_steps, _describe(p)),
            which=options.checkpoint,
            note=_note,
        )
    return _finish(config, status)


def _note(differs: str) -> None:
    print(f"interact-env: goes on, but not bit for bit as it would have: {differs}", file=sys.stderr)


def _finish(config: TrainConfig, status: int) -> int:
    from train import checkpoint, directory, figures

    if console.quiet:  # the first of several processes has written all
        return status
    log = directory.read_log(config.out)
    if log.get("rollout/reward_per_agent_step"):
        title = f"{config.policy} on {config.env}, {config.n_agents} agents"
        figures.learning_curve(log, config.out / "learning_curve.png", title)
    saved = "saved" if (config.out / checkpoint.LATEST).exists() else "nothing to save yet"
    console.print(f"{'stopped; ' if status else ''}{saved} in {config.out}", highlight=False)
    return status


def _describe(p: training.Progress) -> str:
    earned = "" if p.episode_return is None else f"return {p.episode_return:.1f}  "
    metrics = "  ".join(f"{name} {value:.2f}" for name, value in p.metrics.items())
    return f"{earned}{metrics}  {p.agent_steps_per_second:,.0f} agent steps/s"
