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
    from train.theory.diversity import Diagnosis
    from train.theory.experiment import Effort, Outcome

_ALL = "all"
_SHOWN = 10  # kinds of a diagnosis
_FOR = {"data": ("versatility", "language"), "env": ("versatility",), "preset": ("language",)}


@dataclasses.dataclass
class TheoryConfig:
    """Repeat an experiment of the theory, or all, and hold it against what it has to be."""

    name: tyro.conf.Positional[str]
    """length, convergence, versatility, coupling, three-way, genotype, softmax, language, rate, limits, or
    all."""
    out: Path = Path("runs/theory")
    """Directory of the results: of each experiment a table, JSON, and figures as PNG and SVG."""
    quick: bool = False
    """Smaller sizes, minutes on two cores."""
    seeds: int = 0
    """Trainings of each kind; 0: five, with --quick two."""
    threads: int = 0
    """Processes, of one thread each; 0: as many as there are cores."""
    data: str = ""
    """versatility: look at a data set instead, a CSV file with the columns set and entity: will a policy that
    is trained on it generalise? language: learn this text, a file, or hf:NAME or hf:NAME:CONFIGURATION for a
    data set of Hugging Face; by default Python's standard library."""
    env: str = ""
    """versatility: look at what agents of random actions meet in this world instead."""
    preset: str = ""
    """language: sizes, small (the default) or gpt2-small, which needs a GPU."""


def run(config: TheoryConfig) -> int:
    """`interact-env theory`."""
    from train.theory.experiment import Effort

    if config.name not in (*EXPERIMENTS, _ALL):
        raise ValueError(f"no experiment {config.name!r}: give one of {', '.join(EXPERIMENTS)}, or {_ALL}")
    for name in ("seeds", "threads"):
        if getattr(config, name) < 0:
            raise ValueError(f"--{name} must be >= 0, not {getattr(config, name)}")
    for name, of in _FOR.items():
        if getattr(config, name) and config.name not in of:
            raise ValueError(f"--{name} is for {' and '.join(of)}, not {config.name}")
    if config.name == "versatility" and (config.data or config.env):
        return _diagnose(config)
    seeds = config.seeds or (2 if config.quick else 5)
    workers = config.threads or os.cpu_count() or 1
    effort = Effort(config.quick, seeds, workers, data=config.data, preset=config.preset)
    for name in EXPERIMENTS if config.name == _ALL else (config.name,):
        _one(name, effort, config.out / name)
    return 0


def _diagnose(config: TheoryConfig) -> int:
    """Whether data tell all entities apart: a row for each of the worst kinds, and the answer."""
    from train.theory import diversity

    if config.data and config.env:
        raise ValueError("give --data or --env, not both")
    met = diversity.of_world(config.env) if config.env else diversity.of_file(Path(config.data))
    found = diversity.diagnose(met)
    table = Table("entity", "samples", "rank", "of", "smallest singular value", "cannot be told apart")
    for one in found[:_SHOWN]:
        numbers = (str(one.samples), str(one.rank), str(one.kinds), f"{one.smallest:.3g}")
        table.add_row(one.kind, *numbers, " and ".join(one.confused) or "-")
    console.print(table, highlight=False, markup=False)
    console.print(_answer(found), highlight=False, soft_wrap=True)
    return 0


def _answer(found: list[Diagnosis]) -> str:
    short, kinds = sum(not one.versatile for one in found), found[0].kinds
    if not short:
        return f"yes: what a policy learns from these data holds for all sets of these {kinds} kinds"
    return (
        f"no: {short} of {len(found)} kinds of entities have not met all {kinds} kinds in enough ways, "
        "and what a policy learns of them need not hold elsewhere"
    )


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
