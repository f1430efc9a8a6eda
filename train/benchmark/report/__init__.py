"""A benchmark's results as one page that needs nothing else: figures, tables and a replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from train import disk
from train.benchmark import results
from train.benchmark.results import Evaluated, Trained

FILE, FIGURES = "report.html", "figures"


def write(folder: Path, report: Callable[[str], None] = lambda _: None) -> Path:
    """Write a benchmark's report, and its figures in a folder beside it, as SVG and PNG.

    Args:
        folder: of the benchmark: its grid.toml and results.jsonl, and, for the replay, its runs.
        report: called with what is being done.

    Returns:
        The file, folder/report.html.

    Raises:
        ValueError: nothing has been evaluated yet.
        LoadError: the results or the grid cannot be read.
    """
    from train.benchmark import grid
    from train.benchmark.report.cells import own
    from train.benchmark.report.content import content
    from train.benchmark.report.figures import figures
    from train.benchmark.report.page import page
    from train.benchmark.report.recordings import recordings
    from train.benchmark.work import GRID

    lines = results.read(folder / results.FILE)
    trained = [line for line in lines if isinstance(line, Trained)]
    evaluated = [line for line in lines if isinstance(line, Evaluated)]
    if not evaluated:
        raise ValueError(f"{folder / results.FILE}: nothing has been evaluated yet")
    replays = recordings(folder, own(trained, evaluated), evaluated, report)
    found = content(folder, trained, evaluated, replays, grid.read(folder / GRID))
    disk.replace(folder / FILE, page(found).encode())
    (folder / FIGURES).mkdir(exist_ok=True)
    for name, data in figures(found):
        disk.replace(folder / FIGURES / name, data)
    return folder / FILE
