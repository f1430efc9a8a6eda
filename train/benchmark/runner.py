"""Runs what is missing of a grid, and writes down what comes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import filelock

from train import disk
from train.benchmark import cost, plan, pool, results
from train.benchmark import grid as grids
from train.benchmark.grid import Grid
from train.benchmark.pool import Pool
from train.benchmark.results import Trained
from train.benchmark.work import GRID

_LOCK = ".lock"


class Progress(NamedTuple):
    """How far a benchmark is."""

    done: float  # floating-point operations, about
    total: float
    latest: str  # run


def prepare(grid_file: Path, folder: Path) -> Grid:
    """The grid, copied to the folder of the benchmark; one that is there must be the same.

    Raises:
        GridError: the grid cannot be run.
        FileExistsError: the folder holds another grid's results.
    """
    grid = grids.read(grid_file)
    kept = folder / GRID
    if kept.exists():
        if grids.read(kept) != grid:
            raise FileExistsError(f"--out {folder} holds the results of another grid: choose another")
        return grid
    folder.mkdir(parents=True, exist_ok=True)
    disk.replace(kept, grid_file.read_bytes())
    return grid


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a benchmark's folder.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        with filelock.FileLock(folder / _LOCK, blocking=False):
            yield
    except filelock.Timeout:
        raise BlockingIOError(f"a benchmark is running in {folder}") from None


def run(grid: Grid, folder: Path, where: Pool, report: Callable[[Progress], None]) -> list[Trained]:
    """Do what is missing, and write down what comes of it as it comes.

    Args:
        grid: what to do, as `prepare` gave it.
        folder: of the benchmark.
        where: to do it.
        report: called as the work goes on.

    Returns:
        The runs that failed.
    """
    path = folder / results.FILE
    done = results.read(path)
    known = {results.key(line) for line in done}
    waiting = {task.run.name: task for task in plan.tasks(grid, done)}
    costs = cost.operations(grid, waiting.values())
    parts, failed = dict.fromkeys(waiting, 0.0), []
    for name, event in pool.events(where, folder, list(waiting)):
        if "part" in event:
            parts[name] = event["part"]
        else:
            lost = "failed" in event
            line = results.failed(waiting[name].run, event["failed"]) if lost else results.parsed(event, name)
            if isinstance(line, Trained) and line.error:
                failed.append(line)
            if results.key(line) not in known:  # a task that was begun again tells all again
                known.add(results.key(line))
                results.append(path, line)
        report(Progress(sum(costs[k] * part for k, part in parts.items()), sum(costs.values()), name))
    return failed
