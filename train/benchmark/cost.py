"""What a benchmark will cost, before it is begun: operations, memory, and about how long."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import interact_env
from policies import EntityActorCritic
from train import memory, training, update
from train.benchmark import plan
from train.benchmark.grid import Grid, mean_count
from train.benchmark.plan import Run, Task
from train.policy import n_outputs

_STARTING = 4.0  # seconds of a worker's process
_ITERATIONS = 3  # of a training that is measured


def operations(grid: Grid, tasks: Iterable[Task]) -> dict[str, float]:
    """Floating-point operations of the matrix products of tasks, by the names of their runs.

    Of a scripted policy, one for each agent step.
    """
    known: dict[Task, float] = {}  # seeds are alike
    found = {}
    for task in tasks:
        alike = task._replace(run=task.run._replace(seed=0))
        if alike not in known:
            known[alike] = _operations(grid, task)
        found[task.run.name] = known[alike]
    return found


def _operations(grid: Grid, task: Task) -> float:
    run = task.run
    total = 0.0
    if not task.trained:
        n_epochs = plan.config(grid, run).n_epochs
        # A backward pass is two products for each of the forward pass.
        passes = grid.agent_steps * (1 + 3 * n_epochs)
        total += passes * _forward(grid, run, round(mean_count(run.train_count)))
    world = interact_env.world(grid.worlds[run.world].env)
    for test in task.tests:
        cycles = world.params(plan.parameters(grid, run, test)).max_cycles
        steps = grid.episodes(test.test_count) * test.test_count * cycles
        total += steps * (_forward(grid, run, test.test_count) if run.train_count else 1)
    return total


def _forward(grid: Grid, run: Run, n: int) -> float:
    """Operations for one of n agents to act."""
    config = plan.config(grid, run)
    one = interact_env.make_batch(config.env, **{**config.env_parameters(), "n_agents": n})
    network = training.network_of(config, one)
    return (
        _of_a_pass(one.columns, n_outputs(one.action_space), n, memory.sight_is_limited(one), **network) / n
    )


@functools.cache
def _of_a_pass(columns: Any, n_actions: int, n: int, sight: bool, **network: Any) -> float:
    """Counted in a pass of tensors that have shapes and no numbers; 0 for a policy that looks at these."""
    try:
        with FakeTensorMode(), FlopCounterMode(display=False) as counted, torch.no_grad():
            model = EntityActorCritic(columns, n_actions, **network)
            mask = torch.ones(1, n, dtype=torch.bool)
            model(torch.zeros(1, n, len(columns)), mask, mask.expand(n, n)[None] if sight else None)
    except memory.LOOKS_AT_NUMBERS:
        return 0.0
    return float(counted.get_total_flops())


def seconds(grid: Grid, tasks: Sequence[Task], workers: int) -> float:
    """About how long tasks take, by what a short training takes here."""
    trained = next((task.run for task in tasks if not task.trained), None)
    if trained is None:
        return 0.0
    each = _STARTING + sum(operations(grid, tasks).values()) / _rate(grid, trained) / len(tasks)
    return each * len(tasks) / workers


def _rate(grid: Grid, run: Run) -> float:
    """Operations a second of one worker."""
    config = plan.config(grid, run)
    found: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        config.out = Path(folder) / "run"
        config.total_steps = _ITERATIONS * config.n_worlds * config.n_steps
        training.train(config, lambda progress: found.append(progress.agent_steps_per_second))
    return found[-1] * (1 + 3 * config.n_epochs) * _forward(grid, run, round(mean_count(run.train_count)))


def most_memory(grid: Grid, tasks: Iterable[Task]) -> tuple[int, Run]:
    """Bytes that one worker needs at the most, and for which run."""
    runs = dict.fromkeys(task.run._replace(seed=grid.seeds[0]) for task in tasks if task.run.train_count)
    return max((_memory(grid, run), run) for run in runs)


def _memory(grid: Grid, run: Run) -> int:
    config = plan.config(grid, run)
    one = interact_env.make_batch(config.env, **config.env_parameters())
    sizes = {name: getattr(config, name) for name in ("n_worlds", "n_steps", "batch_size")}
    at_once = update.at_once(one.n_slots, "cpu")
    return sum(memory.need(one, training.network_of(config, one), at_once=at_once, **sizes).values())
