"""One task of a benchmark, in a process of its own: `python -m train.benchmark.work FOLDER RUN`.

Tells what it finds on its output, a line of JSON each: how far it is, as {"part": 0.5}, and lines of results.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from train import checkpoint, directory, evaluate, training
from train.benchmark import grid as grids
from train.benchmark import plan, results
from train.benchmark.grid import Grid
from train.benchmark.plan import Run, Task, Test
from train.benchmark.results import Evaluated, Line, Trained

GRID, RUNS = "grid.toml", "runs"
_SEED = 1_000_000  # of the episodes that are watched: the same for all policies
_POINTS = 50  # of a learning curve
_TESTING = 0.2  # of the work, about
_FAILURES = (ValueError, OSError, ArithmeticError, RuntimeError, MemoryError)
_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h
Tell = Callable[[Line | float], None]


def main() -> int:
    """Do the task that is named."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    _end_with_parent()
    sys.path.append(os.getcwd())  # as the command line does, for worlds and policies of one's own
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever is printed on the way is no answer

    def tell(found: Line | float) -> None:
        answers.write(
            (json.dumps({"part": found}) if isinstance(found, float) else results.text(found)) + "\n"
        )

    grid = grids.read(folder / GRID)
    done = results.read(folder / results.FILE)
    task = next(task for task in plan.tasks(grid, done) if task.run.name == name)
    return work(grid, task, folder / RUNS / name, tell)


def _end_with_parent() -> None:
    """Else a run would go on unseen when its benchmark is killed, and stand in the way of the next."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def work(grid: Grid, task: Task, run: Path, tell: Tell) -> int:
    """Train, or go on with it, and watch the missing episodes.

    Args:
        grid: of the benchmark.
        task: of it.
        run: directory of the run.
        tell: called with what is found, and with how much of the work is done.

    Returns:
        Exit status: 0, or that of a training that was stopped.
    """
    try:
        status = 0 if task.trained else _train(grid, task, run, tell)
        if status == 0:
            _test(grid, task, run, tell)
    except _FAILURES as error:
        tell(results.failed(task.run, f"{type(error).__name__}: {error}"))
        return 0
    return status


def _train(grid: Grid, task: Task, run: Path, tell: Tell) -> int:
    config = plan.config(grid, task.run)
    config.out = run
    rates: list[float] = []

    def report(progress: training.Progress) -> None:
        rates.append(progress.agent_steps_per_second)
        tell((1 - _TESTING) * min(1.0, progress.env_steps / progress.total_steps))

    start = training.resume if (run / directory.CONFIG).exists() else training.train
    status = start(config, report)
    if status:
        return status
    log = directory.read_log(run)
    steps, rewards = log["time/agent_steps"], log["rollout/reward_per_agent_step"]
    saved = checkpoint.load(run)
    tell(
        Trained(
            *task.run,
            parameters=sum(p.numel() for p in saved.policy().parameters()),
            agent_steps=int(steps[-1]),
            # Of this process's rollouts: a run may have been stopped and gone on with.
            seconds=steps[-1] / statistics.median(rates) if rates else 0.0,
            curve=[[steps[k], rewards[k]] for k in range(0, len(steps), -(-len(steps) // _POINTS))],
            error="",
        )
    )
    return 0


def _test(grid: Grid, task: Task, run: Path, tell: Tell) -> None:
    training.threads(1)
    scripted = not task.run.train_count
    act = evaluate.scripted(task.run.policy) if scripted else evaluate.learned(checkpoint.load(run).policy())
    for k, test in enumerate(task.tests):
        try:
            tell(_watched(grid, task.run, test, act))
        except _FAILURES as error:  # the other numbers of agents may do
            tell(results.failed(task.run, f"{type(error).__name__}: {error}"))
        tell(1 - _TESTING * (1 - (k + 1) / len(task.tests)))


def _watched(grid: Grid, run: Run, test: Test, act: evaluate.Act) -> Evaluated:
    start = time.perf_counter()
    env, n_episodes = grid.worlds[run.world].env, grid.episodes(test.test_count)
    values = evaluate.episodes(act, env, plan.parameters(grid, run, test), n_episodes, _SEED)
    return Evaluated(
        world=run.world,
        policy=test.policy,
        train_count=run.train_count,
        arena=test.arena,
        seed=run.seed,
        test_count=test.test_count,
        episodes=n_episodes,
        values={name: float(v.mean()) for name, v in values.items()},
        seconds=time.perf_counter() - start,
    )


if __name__ == "__main__":
    raise SystemExit(main())
