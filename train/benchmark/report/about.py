"""How the results came about: commands, versions, machines, what failed and what it cost."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policies import LoadError, files
from train import directory
from train.benchmark.plan import Run
from train.benchmark.report.recordings import run_folder
from train.benchmark.results import Trained
from train.benchmark.work import GRID
from train.config import TrainConfig

_LARGEST_GRID = 2**16  # bytes
_TOLD = ("env", "policy", "n_agents", "seed")  # options of a training, though at their defaults
_UNTOLD = ("out", "save_every")


def surroundings(folder: Path, trained: Sequence[Trained], missing: Iterable[Run]) -> dict[str, Any]:
    """What the runs say of how they were made.

    Args:
        folder: of the benchmark.
        trained: its runs.
        missing: those of which something is still to do.

    Returns:
        "grid": the text of the grid; "commands", the benchmark's and those that would train its runs one
        by one; "facts": (name, value, number of runs); and "failed".
    """
    commands = [shlex.join(["interact-env", "benchmark", GRID, "--out", folder.name])]
    facts: Counter[tuple[str, str]] = Counter()
    for run in trained:
        found = _started(run_folder(folder, run))
        given = found.get("config")
        if isinstance(given, dict):
            commands.append(_command(given))
        versions = found.get("versions")
        if isinstance(versions, dict):
            facts.update((str(name), str(value)) for name, value in versions.items())
        names = ("revision", "machine", "threads")
        facts.update((name, str(found[name])) for name in names if found.get(name) is not None)
    return {
        "grid": _grid(folder / GRID),
        "commands": list(dict.fromkeys(commands)),
        "facts": sorted((*fact, n) for fact, n in facts.items()),
        "failed": list(dict.fromkeys(_failures(trained, set(missing)))),
    }


def _command(given: dict[str, Any]) -> str:
    """What trains a run of this configuration."""
    words = ["interact-env", "train"]
    for field in dataclasses.fields(TrainConfig):
        value = given.get(field.name, field.default)
        told = field.name in _TOLD or value not in (field.default, [])
        if field.name in _UNTOLD or not told:
            continue
        values = value if isinstance(value, list) else [value]
        words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def _failures(trained: Sequence[Trained], missing: set[Run]) -> Iterator[str]:
    """Of runs that failed, or one of whose tests did, and that did not succeed when tried again."""
    for run in trained:
        if run.error and Run(*run[:5]) in missing:
            yield f"{run.policy} in {run.world}, trained with {run.train_count}, seed {run.seed}: {run.error}"


def _started(run: Path) -> dict[str, Any]:
    try:
        return files.read_json(run / directory.CONFIG)
    except (LoadError, OSError):  # results may be read where the runs are not
        return {}


def _grid(path: Path) -> str:
    try:
        with files.opened_bytes(path) as file:
            return file.read(_LARGEST_GRID).decode(errors="replace")
    except (LoadError, OSError):
        return ""


def costs(trained: Sequence[Trained]) -> list[dict[str, Any]]:
    """Size and speed of every architecture in every world."""
    rows = []
    for world, policy in dict.fromkeys((run.world, run.policy) for run in trained):
        runs = [run for run in trained if (run.world, run.policy) == (world, policy)]
        speeds = [run.agent_steps / run.seconds for run in runs if run.seconds > 0]
        rows.append(
            {
                "world": world,
                "policy": policy,
                "parameters": runs[0].parameters,
                "seconds": float(np.median([run.seconds for run in runs])),
                "speed": float(np.median(speeds)) if speeds else None,
                "runs": len(runs),
            }
        )
    return rows
