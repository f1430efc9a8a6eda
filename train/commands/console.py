"""What commands print: tables, and bars of progress."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Report = Callable[[float, float, str], None]  # what is done, of how much, and a text
# Where there is no terminal, wide enough for the tables.
_QUIET = os.environ.get("RANK", "0") != "0"  # torchrun's processes but the first
console = Console(width=None if sys.stdout.isatty() else 150, quiet=_QUIET)


@contextlib.contextmanager
def bar(what: str) -> Iterator[Report]:
    """A progress bar; where there is no terminal, a line at every tenth instead."""
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        tenth = 0

        def advance(done: float, total: float, text: str) -> None:
            nonlocal tenth
            progress.update(task, completed=min(1.0, done / total), description=text)
            if not console.is_terminal and int(10 * done / total) > tenth:
                tenth = int(10 * done / total)
                console.print(f"{what} {min(1.0, done / total):.0%}  {text}", highlight=False)

        yield advance
