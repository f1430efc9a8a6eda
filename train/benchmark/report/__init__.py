"""A benchmark's results as one page that needs nothing else: figures, tables and a replay."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

from train import disk
from train.benchmark import results
from train.benchmark.results import Evaluated, Trained

FILE = "report.html"


def write(folder: Path, report: Callable[[str], None] = lambda _: None) -> Path:
    """Write a benchmark's report.

    Args:
        folder: of the benchmark: its results.jsonl, and, for the replay, its runs.
        report: called with what is being done.

    Returns:
        The file, folder/report.html.

    Raises:
        ValueError: nothing has been evaluated yet.
    """
    from train.benchmark.report.content import content
    from train.benchmark.report.page import page
    from train.benchmark.report.recordings import recordings

    lines = results.read(folder)
    trained = [line for line in lines if isinstance(line, Trained)]
    evaluated = [line for line in lines if isinstance(line, Evaluated)]
    if not evaluated:
        raise ValueError(f"{folder / results.FILE}: nothing has been evaluated yet")
    replays = recordings(folder, trained, evaluated, report)
    text = page(content(folder, trained, evaluated, replays, _oracle(folder)))
    disk.replace(folder / FILE, text.encode())
    return folder / FILE


def _oracle(folder: Path) -> str:
    """The architecture of the oracles."""
    return str(tomllib.loads((folder / "grid.toml").read_text()).get("oracle", ""))
