"""Runs that differ in their seed, put together: means and intervals over runs, as Markdown tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from train import evaluate
from train.evaluate import Estimate, Result

Place = tuple[str, int]  # arena, number of agents
_ALIKE = ("env", "parameters", "env_steps", "episodes", "seed", "deterministic")


class Study(NamedTuple):
    """values[policy][place][metric] holds one mean per run; None where the agents do not fit."""

    values: dict[str, dict[Place, dict[str, list[float]] | None]]
    sizes: dict[Place, float]
    learned: list[str]
    trained_at: str


def read(runs: Iterable[Path]) -> Study:
    """The evaluations of several runs.

    Raises:
        ValueError: no runs, a run without an evaluation, or evaluations that were not made alike.
    """
    found = {run: _read(run) for run in runs}
    if not found:
        raise ValueError("give at least one run")
    first = next(iter(found.values()))
    values: dict[str, dict[Place, Any]] = defaultdict(dict)
    sizes: dict[Place, float] = {}
    networks: dict[str, Any] = {}
    for run, evaluation in found.items():
        for what in _ALIKE:
            if evaluation.get(what) != first.get(what):
                raise ValueError(f"{run / evaluate.FILE}: {what} differs from that of the first run")
        if _places(evaluation) != _places(first):
            raise ValueError(f"{run / evaluate.FILE}: other numbers of agents than in the first run")
        name = evaluation["policy"]
        if networks.setdefault(name, evaluation.get("network")) != evaluation.get("network"):
            raise ValueError(
                f"{run / evaluate.FILE}: its {name} has another network than that of a run before"
            )
        for row in evaluation["results"]:
            place = (row["arena"], row["n_agents"])
            sizes[place] = row["size"]
            kept: Any = values[row["policy"]].setdefault(
                place, defaultdict(list) if row["estimates"] else None
            )
            for metric, estimate in row["estimates"].items():
                kept[metric].append(estimate["mean"])
    learned = list(networks)
    scripted = [name for name in values if name not in learned]
    ordered = {name: values[name] for name in (*learned, *scripted)}
    return Study(ordered, sizes, learned, str(first["parameters"]["n_agents"]))


def _read(run: Path) -> dict[str, Any]:
    path = run / evaluate.FILE
    if not path.exists():
        raise ValueError(f"{run} has no {evaluate.FILE}: run `interact-env evaluate {run}` first")
    return evaluate.read(path)


def _places(evaluation: Any) -> set[Place]:
    return {(row["arena"], row["n_agents"]) for row in evaluation["results"]}


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95% Student t interval over runs; of equal runs, the mean alone."""
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return mean, mean, mean
    low, high = scipy.stats.t.interval(0.95, len(values) - 1, loc=mean, scale=scipy.stats.sem(values))  # type: ignore[attr-defined]
    return mean, float(low), float(high)


def difference(a: list[float], b: list[float]) -> tuple[float, float, float]:
    """Mean of a minus mean of b, both over two or more runs, with Welch's 95% interval."""
    found = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    return float(np.mean(a) - np.mean(b)), float(found.low), float(found.high)


def markdown(study: Study, metric: str) -> str:
    """One table: a row a place, a column a policy, "mean [low, high]" over runs."""
    policies = list(study.values)
    lines = [
        f"{metric}, mean and 95% interval over runs",
        "",
        "| arena | agents | size | " + " | ".join(policies) + " |",
        "|---" * (3 + len(policies)) + "|",
    ]
    for place, size in study.sizes.items():
        cells = [_cell(study.values[policy].get(place), metric) for policy in policies]
        lines.append(f"| {place[0]} | {place[1]} | {size:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def estimates(study: Study, metric: str = "reward") -> list[Result]:
    """One Result a policy and place whose interval is over runs, for a figure."""
    found = []
    for policy, places in study.values.items():
        for (arena, n), values in places.items():
            shown = {} if values is None else {metric: Estimate(*interval(values[metric]))}
            found.append(Result(policy, arena, n, study.sizes[arena, n], shown))
    return found


def _cell(values: dict[str, list[float]] | None, metric: str) -> str:
    if values is None:
        return "do not fit"
    mean, low, high = interval(values[metric])
    return f"{mean:.3f}" if low == high else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def differences(study: Study, metric: str = "reward") -> str:
    """Every learned policy minus every other one, at the number of agents of training."""
    place = next((p for p in study.sizes if str(p[1]) == study.trained_at), None)
    if place is None:
        return f"(not evaluated at {study.trained_at} agents, where the policies were trained)"
    lines = [
        f"{metric} at {place[1]} agents, {place[0]}: difference and 95% interval (Welch)",
        "",
        "| | minus | difference |",
        "|---|---|---|",
    ]
    for a in study.learned:
        for b in study.values:
            theirs = study.values[b].get(place)
            ours = study.values[a].get(place)
            if a == b or ours is None or theirs is None or len(ours[metric]) < 2:
                continue
            if b not in study.learned:  # a scripted policy: the same episodes and numbers in every run
                mean, low, high = interval([value - theirs[metric][0] for value in ours[metric]])
            elif len(theirs[metric]) > 1:
                mean, low, high = difference(ours[metric], theirs[metric])
            else:
                continue
            lines.append(f"| {a} | {b} | {mean:.3f} [{low:.3f}, {high:.3f}] |")
    return "\n".join(lines)
