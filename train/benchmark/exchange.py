"""Results in the JSON schema of marl-eval, which its plots and tables read.

Source: Gorsane et al. 2022, arXiv 2209.10485, and the README of github.com/instadeepai/marl-eval.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from train.benchmark.results import ORACLE, Evaluated, Line, Trained


def marl_eval(lines: Iterable[Line]) -> dict[str, Any]:
    """Environments, of tasks, of algorithms, of runs, of steps of training and "absolute_metrics" of tests.

    A world is an environment, a number of agents in an arena a task; an algorithm is a policy with what it
    was trained at, unless it is scripted, or the oracle; a seed is a run. A step has the reward per agent
    step of training, the same in all tasks.
    """
    lines = list(lines)
    # All train in the arena that they are first tested in; only oracles in others.
    arenas = {line.world: line.arena for line in reversed(lines) if isinstance(line, Evaluated)}
    curves = {
        (line.world, line.policy, line.train_count, line.seed): _steps(line)
        for line in lines
        if isinstance(line, Trained) and not line.error and line.arena == arenas.get(line.world)
    }
    found: dict[str, Any] = {}
    for line in lines:
        if not isinstance(line, Evaluated):
            continue
        world, policy, train_count, arena, seed, n = line[:6]
        named = policy if policy == ORACLE or not train_count else f"{policy}, trained with {train_count}"
        algorithms = found.setdefault(world, {}).setdefault(f"{n} agents, {arena}", {})
        steps = curves.get((world, policy, train_count, seed), {})
        absolute = {name: [value] for name, value in line.values.items()}
        algorithms.setdefault(named, {})[f"seed_{seed}"] = {**steps, "absolute_metrics": absolute}
    return found


def _steps(run: Trained) -> dict[str, Any]:
    return {
        f"step_{k}": {
            "step_count": int(agent_steps),
            "elapsed_time": run.seconds * agent_steps / run.agent_steps,
            "reward": [reward],
        }
        for k, (agent_steps, reward) in enumerate(run.curve)
    }
