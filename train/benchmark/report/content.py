"""Everything that the page shows, as plain data for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train.benchmark import plan
from train.benchmark.grid import Grid
from train.benchmark.report import about, charts, story, theme
from train.benchmark.report.cells import (
    GAP,
    RETURN,
    SCORE,
    Cell,
    Tested,
    cells,
    improvements,
    overall,
    own,
    profiles,
)
from train.benchmark.report.recordings import Recording
from train.benchmark.report.replay import KEPT, PLACE, WEIGHT
from train.benchmark.results import ORACLE, Evaluated, Trained

_POINTS = 50  # of a learning curve
_LABELS = {
    SCORE: "score (random 0, oracle 1)",
    GAP: "generalisation gap (score lost since training)",
    RETURN: "return per agent and episode",
}


def content(
    folder: Path,
    trained: Sequence[Trained],
    evaluated: Sequence[Evaluated],
    replays: Sequence[Recording],
    grid: Grid,
) -> dict[str, Any]:
    """What the page's script reads.

    Args:
        folder: of the benchmark, for commands and versions.
        trained: its runs.
        evaluated: its evaluations, one at least.
        replays: its recordings.
        grid: that they are of.
    """
    table = cells(evaluated)
    learned = list(
        dict.fromkeys(line.policy for line in evaluated if line.train_count and line.policy != ORACLE)
    )
    scripted = list(dict.fromkeys(line.policy for line in evaluated if not line.train_count))
    looks = theme.series(learned, scripted, [ORACLE] if any(cell.policy == ORACLE for cell in table) else [])
    choices = _choices(evaluated, table)
    missing = [task.run for task in plan.tasks(grid, [*trained, *evaluated])]
    reached = story.reaches(table, learned, choices.arenas[0])
    findings = story.findings(reached) or story.best_by_return(table, learned, choices.arenas[0])
    return {
        "title": grid.title,
        "headline": story.headline(table, choices.trains[0]),
        "lead": story.lead(table, learned, grid.oracle),
        "findings": findings,
        "goal": story.GOAL_RETURN,
        "reaches": [{**reach._asdict(), "met": reach.met} for reach in reached],
        "looks": [look._asdict() for look in looks],
        "choices": choices._asdict(),
        "labels": {name: _LABELS.get(name, f"{name} per agent step") for name in choices.measures},
        "themes": {
            name: theme.config(of, looks) for name, of in (("light", theme.LIGHT), ("dark", theme.DARK))
        },
        "charts": _charts(choices, looks, table),
        "data": {
            "cells": columns(_row(cell) for cell in table),
            "curves": columns(_curves(own(trained, evaluated))),
            "overall": columns({**_tested(t), "test": n, **i._asdict()} for t, n, i in overall(evaluated)),
            "profiles": columns({**_tested(t), "score": x, **i._asdict()} for t, x, i in profiles(evaluated)),
            "improvements": columns(
                {**_tested(t), "other": name, **i._asdict()} for t, name, i in improvements(evaluated)
            ),
            "trains": columns(_trains(choices.trains)),
            "goals": columns([{"measure": SCORE, "y": story.GOAL_RETURN, "name": "goal"}]),
        },
        "costs": about.costs(own(trained, evaluated)),
        "about": about.surroundings(folder, trained, missing),
        "replays": [_plain(replay) for replay in replays],
        "units": {"place": PLACE, "weight": WEIGHT, "kept": KEPT},
    }


def _choices(evaluated: Sequence[Evaluated], table: Sequence[Cell]) -> charts.Choices:
    arenas = [name for name in dict.fromkeys(line.arena for line in evaluated) if name != "as trained"]
    trains = {(line.policy, line.train_count): None for line in evaluated if line.policy != ORACLE}
    policies = Counter(train for _, train in trains if train)
    measures = dict.fromkeys(cell.measure for cell in table)
    return charts.Choices(
        worlds=list(dict.fromkeys(line.world for line in evaluated)),
        arenas=arenas or ["as trained"],
        # Those of most policies first: at the others only the oracle was trained.
        trains=sorted(policies, key=lambda train: (-policies[train], not train.isdecimal(), _bounds(train)))
        or [""],
        measures=sorted(measures, key=lambda name: (name != SCORE, name != RETURN, name == GAP)),
        counts=sorted({line.test_count for line in evaluated}),
    )


def _bounds(train: str) -> tuple[int, int]:
    """The least and the greatest of a number of agents, "8" or "2-16"."""
    low, _, high = train.partition("-")
    return (int(low), int(high or low)) if low.isdecimal() and (high or low).isdecimal() else (0, 0)


def _charts(choices: charts.Choices, looks: Sequence[theme.Series], table: Sequence[Cell]) -> dict[str, Any]:
    trained = {
        look.name: {cell.train_count for cell in table if cell.policy == look.name}
        for look in looks
        if look.learned
    }
    rows = {policy: sorted(trains, key=_bounds) for policy, trains in trained.items()}
    return {
        "transfer": [
            _chart(world, "world", charts.transfer(world, choices, looks)) for world in choices.worlds
        ],
        "heat": [
            _chart(policy, "policy", charts.heat(policy, trains, choices)) for policy, trains in rows.items()
        ],
        "learning": [
            _chart(world, "world", charts.learning(world, choices, looks)) for world in choices.worlds
        ],
        "statistics": _statistics(choices, looks, list(rows)) if choices.measures[0] == SCORE else [],
    }


def _statistics(
    choices: charts.Choices, looks: Sequence[theme.Series], policies: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        _chart("All worlds together", "", charts.overall(choices, looks)),
        _chart("Performance profiles", "", charts.profiles(choices, looks)),
        _chart("Probability of improvement", "", charts.improvements(choices, policies)),
    ]


def _chart(name: str, by: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A chart of the rows whose column `by` holds `name`; "": of all rows."""
    return {"name": name, "by": by, "spec": spec}


def _tested(tested: Tested) -> dict[str, str]:
    return {"arena": tested.arena, "train": tested.train_count, "policy": tested.policy}


def _row(cell: Cell) -> dict[str, Any]:
    return {
        "world": cell.world,
        "arena": cell.arena,
        "policy": cell.policy,
        "train": cell.train_count,
        "test": cell.test_count,
        "measure": cell.measure,
        "mean": cell.mean,
        "low": cell.low,
        "high": cell.high,
        "runs": cell.runs,
    }


def _curves(trained: Sequence[Trained]) -> Iterable[dict[str, Any]]:
    """Means over seeds with the span of all, at the same steps."""
    runs = [run for run in trained if len(run.curve) > 1 and not run.error]
    for key in dict.fromkeys((run.world, run.policy, run.train_count) for run in runs):
        alike = [np.array(run.curve) for run in runs if (run.world, run.policy, run.train_count) == key]
        steps = np.linspace(max(c[0, 0] for c in alike), min(c[-1, 0] for c in alike), _POINTS)
        values = np.stack([np.interp(steps, curve[:, 0], curve[:, 1]) for curve in alike])
        names = dict(zip(("world", "policy", "train"), key, strict=True))
        found = zip(steps, values.mean(0), values.min(0), values.max(0), strict=True)
        yield from (
            {**names, "steps": round(x), "mean": y, "low": low, "high": high} for x, y, low, high in found
        )


def _trains(trains: Sequence[str]) -> Iterable[dict[str, Any]]:
    """Spans of the numbers of training, a little wider, so that one number is seen too."""
    for train in trains:
        low, high = _bounds(train)
        if low:
            yield {"train": train, "low": low / 1.1, "high": high * 1.1}


def columns(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Rows as columns, in which texts are numbered and numbers have five digits."""
    table = list(rows)
    found: dict[str, Any] = {}
    for name in table[0] if table else ():
        values = [row[name] for row in table]
        if isinstance(values[0], str):
            numbers = {text: k for k, text in enumerate(dict.fromkeys(values))}
            found[name] = {"texts": list(numbers), "numbers": [numbers[text] for text in values]}
        else:
            found[name] = [float(f"{v:.5g}") if isinstance(v, float) else v for v in values]
    return found


def _plain(value: Any) -> Any:
    """NamedTuples as dictionaries, all the way down."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
