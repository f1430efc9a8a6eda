"""`interact-env benchmark`."""

from __future__ import annotations

import dataclasses
import json
import os
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from train.commands.console import bar, console

if TYPE_CHECKING:  # imported where they are used: torch takes seconds
    from train.benchmark.grid import Grid
    from train.benchmark.pool import Pool

_SUITES = ("quick", "standard", "full")


@dataclasses.dataclass
class BenchmarkConfig:
    """Train architectures at some numbers of agents, test them at many, and report.

    A grid says what; one that was stopped, or killed, goes on where it was when it is started again.
    """

    grid: tyro.conf.Positional[Path]
    """A TOML file, or the name of one that comes with us: quick, standard or full."""
    out: Path = Path()
    """Folder of the benchmark; by default runs/ and the name of the grid."""
    dry_run: bool = False
    """Only say how many runs there are, and about how long and how much memory they take."""
    workers: int = 0
    """Runs at a time, a thread each; 0: one for each core."""
    ray: Annotated[str | None, tyro.conf.arg(metavar="[ADDRESS]")] = None
    """Run on the Ray cluster at this address instead, whose machines must see the folder; local: a new one"""


def run(config: BenchmarkConfig) -> int:
    """`interact-env benchmark`."""
    from train.benchmark import runner

    if config.workers < 0:
        raise ValueError(f"--workers must be >= 0, not {config.workers}")
    path = _path(config.grid)
    out = config.out if config.out != Path() else Path("runs") / path.stem
    if config.dry_run:
        from train.benchmark import grid as grids

        _tell(grids.read(path), out, config.workers or os.cpu_count() or 1)
        return 0
    grid = runner.prepare(path, out)
    with runner.locked(out):
        return _run(grid, out, config)


def _run(grid: Grid, out: Path, config: BenchmarkConfig) -> int:
    from train.benchmark import plan, results, runner

    workers = config.workers or os.cpu_count() or 1
    _tell(grid, out, workers)
    with bar("benchmark") as advance:
        failed = runner.run(grid, out, _pool(config, workers), lambda p: advance(p.done, p.total, p.latest))
    for line in failed:
        console.print(f"failed: {plan.Run(*line[:5]).name}: {line.error}", highlight=False, markup=False)
    left = plan.tasks(grid, results.read(out / results.FILE))
    if left:
        console.print(f"{len(left)} runs are not done: start again to go on", highlight=False)
    _report(out)
    return 1 if left else 0


def _report(out: Path) -> None:
    from train import disk
    from train.benchmark import report, results
    from train.benchmark.exchange import marl_eval

    found = json.dumps(marl_eval(results.read(out / results.FILE)))
    disk.replace(out / "marl_eval.json", found.encode())
    with console.status("report"):
        page = report.write(out)
    console.print(f"wrote {page}, figures/ and marl_eval.json beside it", highlight=False, soft_wrap=True)


def _path(grid: Path) -> Path:
    if str(grid) in _SUITES:
        return Path(str(resources("train") / "suites" / f"{grid}.toml"))
    if not grid.exists():
        raise ValueError(f"no grid {grid}: give a TOML file, or one of {', '.join(_SUITES)}")
    return grid


def _pool(config: BenchmarkConfig, workers: int) -> Pool:
    from train.benchmark.pool import Local, OnRay

    if config.ray is None:
        return Local(workers)
    return OnRay(config.ray, workers)


def _tell(grid: Grid, out: Path, workers: int) -> None:
    """What there is to do."""
    from train import memory
    from train.benchmark import cost, plan, results

    tasks = plan.tasks(grid, results.read(out / results.FILE))
    training = [task for task in tasks if not task.trained]
    tests = sum(len(task.tests) for task in tasks)
    console.print(f"{grid.title}: {len(training)} trainings and {tests} tests to do", highlight=False)
    if not training:
        return
    need, run = cost.most_memory(grid, training)
    free = memory.available("cpu")
    console.print(
        f"about {_time(cost.seconds(grid, tasks, workers))} with {workers} workers; "
        f"at most {need / 1e6:,.0f} MB each ({run.name}), of {free / 1e9:.1f} GB that are free",
        highlight=False,
    )
    if need * workers > free:
        raise ValueError(
            f"{workers} workers may need {need * workers} bytes of memory, and {free} are free: lower "
            f"--workers, or the agents or the network of {run.name}"
        )


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
