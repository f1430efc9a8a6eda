"""The command line, `interact-env`: which commands there are, and how their errors end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import tyro

from train.commands import (
    benchmark,
    compare,
    demo,
    evaluate,
    export,
    listing,
    micro_tasks,
    new_world,
    play,
    speed,
    theory,
    train,
    verify,
    watch,
)

Command = (
    Annotated[train.TrainOptions, tyro.conf.subcommand("train")]
    | Annotated[evaluate.EvaluateConfig, tyro.conf.subcommand("evaluate")]
    | Annotated[compare.CompareConfig, tyro.conf.subcommand("compare")]
    | Annotated[benchmark.BenchmarkConfig, tyro.conf.subcommand("benchmark")]
    | Annotated[watch.WatchConfig, tyro.conf.subcommand("watch")]
    | Annotated[play.PlayConfig, tyro.conf.subcommand("play")]
    | Annotated[export.ExportConfig, tyro.conf.subcommand("export")]
    | Annotated[verify.VerifyConfig, tyro.conf.subcommand("verify")]
    | Annotated[demo.DemoConfig, tyro.conf.subcommand("demo")]
    | Annotated[speed.SpeedConfig, tyro.conf.subcommand("speed")]
    | Annotated[theory.TheoryConfig, tyro.conf.subcommand("theory")]
    | Annotated[micro_tasks.MicroTasksConfig, tyro.conf.subcommand("micro-tasks")]
    | Annotated[new_world.NewWorldConfig, tyro.conf.subcommand("new-world")]
    | Annotated[listing.ListConfig, tyro.conf.subcommand("list")]
)
_RUN: dict[type, Callable[..., int]] = {
    train.TrainOptions: train.run,
    evaluate.EvaluateConfig: evaluate.run,
    compare.CompareConfig: compare.run,
    benchmark.BenchmarkConfig: benchmark.run,
    watch.WatchConfig: watch.run,
    play.PlayConfig: play.run,
    export.ExportConfig: export.run,
    verify.VerifyConfig: verify.run,
    demo.DemoConfig: demo.run,
    speed.SpeedConfig: speed.run,
    theory.TheoryConfig: theory.run,
    micro_tasks.MicroTasksConfig: micro_tasks.run,
    new_world.NewWorldConfig: new_world.run,
    listing.ListConfig: listing.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input ends in one line and status 1."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = tyro.cli(
        Command,
        args=arguments,
        prog="interact-env",
        description="Train attention policies in multi-agent worlds, and run them with any number of agents.",
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    if isinstance(command, train.TrainOptions):
        command.typed = train.typed(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    sys.path.append(os.getcwd())  # where my_module of --env my_module:my_world_v0 may lie; shadows nothing
    try:
        return _RUN[type(command)](command)
    except BrokenPipeError:  # as in `interact-env compare ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interact-env: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        return _failed(str(error))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):  # torch's, of an allocation
            raise
        return _failed(f"not enough memory: {str(error) or 'lower what you asked for'}")


def _failed(message: str) -> int:
    print(f"interact-env: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


def _terminate(number: int, _frame: object) -> None:
    """End as after Ctrl-C, so that nothing half done is left behind."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
