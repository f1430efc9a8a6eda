"""`interact-env theory`."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.table import Table

from train.commands.console import bar, console
from train.theory import EXPERIMENTS

if TYPE_CHECKING:  # imported where they are used: torch takes seconds
    from train.theory.experiment import Effort, Outcome

_ALL = "all"


@dataclasses.dataclass
class TheoryConfig:
    """Repeat an experiment of the theory, or all, and hold it against what it has to be."""

    name: tyro.conf.Positional[str]
    """length, convergence, coupling, three-way, genotype, or all."""
    out: Path = Path("runs/theory")
    """Directory of the results: of each experiment a table, JSON, and figures as PNG and SVG."""
    quick: bool = False
    """Smaller sizes, minutes on two cores."""
    seeds: int = 0
    """Trainings of each kind; 0: five, with --quick two."""
    threads: int = 0
    """Processes, of one thread each; 0: as many as there are cores."""


def run(config: TheoryConfig) -> int:
    """`interact-env theory`."""
    from train.theory.experiment import Effort

    if config.name not in (*EXPERIMENTS, _ALL):
        raise ValueError(f"no experiment {config.name!r}: give one of {', '.join(EXPERIMENTS)}, or {_ALL}")
    for name in ("seeds", "threads"):
        if getattr(config, name) < 0:
            raise ValueError(f"--{name} must be >= 0, not {getattr(config, name)}")
    seeds = config.seeds or (2 if config.quick else 5)
    effort = Effort(config.quick, seeds, config.threads or os.cpu_count() or 1)
    for name in EXPERIMENTS if config.name == _ALL else (config.name,):
        _one(name, effort, config.out / name)
    return 0


def _one(name: str, effort: Effort, folder: Path) -> None:
    experiment: Any = importlib.import_module(EXPERIMENTS[name])
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with bar(name) as advance:
        outcome = experiment.run(effort, advance)
    seconds = time.perf_counter() - start
    console.print(_table(experiment.TITLE, outcome))
    _save(folder, experiment.TITLE, effort, outcome, seconds)
    console.print(f"{seconds:.0f} s; saved in {folder}", highlight=False, soft_wrap=True)


def _table(title: str, outcome: Outcome) -> Table:
    from train.theory.experiment import HEADINGS, cells

    ours = any(finding.ours for finding in outcome.findings)
    table = Table(*HEADINGS, title=title, title_justify="left", caption="* ours" if ours else None)
    for finding in outcome.findings:
        table.add_row(*cells(finding))
    return table


def _save(folder: Path, title: str, effort: Effort, outcome: Outcome, seconds: float) -> None:
    from train import disk, figures
    from train.theory.experiment import judged, markdown

    for name, figure in outcome.figures.items():
        for suffix in ("png", "svg"):
            figures.save(figure, folder / f"{name}.{suffix}")
    about = {"title": title, "quick": effort.quick, "seeds": effort.seeds, "seconds": round(seconds, 1)}
    found = {**about, "findings": [judged(finding) for finding in outcome.findings], "data": outcome.data}
    disk.replace(folder / "result.json", json.dumps(found, indent=1).encode())
    disk.replace(folder / "table.md", f"{markdown(outcome.findings)}\n".encode())
