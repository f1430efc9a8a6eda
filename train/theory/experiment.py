"""What an experiment is asked, what it finds, and how that is judged."""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch
from matplotlib.figure import Figure

from train.compare import interval

Job = TypeVar("Job")
Found = TypeVar("Found")
Report = Callable[[float, float, str], None]  # what is done, of how much, and a text


class Effort(NamedTuple):
    """How much is spent on an experiment."""

    quick: bool
    seeds: int
    workers: int  # processes, of one thread each
    instead: Mapping[str, str] = {}  # interactions in place of others: what is broken has to fail
    data: str = ""  # of language: a file or data set in place of its own
    preset: str = ""  # of language: sizes in place of its own

    def module(self, name: str) -> str:
        """The interaction that stands for `name`."""
        return self.instead.get(name, name)


class Finding(NamedTuple):
    """A row of an experiment's table: what was measured, and what it has to be."""

    quantity: str
    values: Sequence[float]  # one for each seed
    low: float = -math.inf  # the mean must lie within; without either it is only told
    high: float = math.inf
    reported: str = ""  # what the source says of it
    ours: bool = False  # the quantity or its target is this project's own
    log: bool = False  # mean and interval are those of the logarithms

    @property
    def estimate(self) -> tuple[float, float, float]:
        """Mean and 95% interval over seeds."""
        if not self.log:
            return interval(list(self.values))
        mean, low, high = interval([math.log10(max(value, _LEAST)) for value in self.values])
        return 10**mean, 10**low, 10**high

    @property
    def target(self) -> str:
        """What the mean has to be, in words."""
        if math.isinf(self.low) and math.isinf(self.high):
            return ""
        if math.isinf(self.low):
            return f"<= {self.high:g}"
        return f">= {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"

    @property
    def passed(self) -> bool | None:
        """Whether the mean is what it has to be; None where nothing is asked."""
        return None if not self.target else bool(self.low <= self.estimate[0] <= self.high)  # a nan is not


class Outcome(NamedTuple):
    """What an experiment found."""

    findings: list[Finding]
    figures: dict[str, Figure]  # by the name of their files
    data: dict[str, Any]  # for JSON: everything that was measured

    @property
    def passed(self) -> bool:
        """Whether no finding failed."""
        return all(finding.passed is not False for finding in self.findings)


HEADINGS = ("quantity", "target", "reported", "measured [95% interval]", "verdict")
_LEAST = 1e-300  # whose logarithm stands for that of 0


def cells(finding: Finding) -> tuple[str, ...]:
    """A row of the table; a star marks what is ours."""
    mean, low, high = (f"{value:.3g}" for value in finding.estimate)
    measured = f"{mean} [{low}, {high}]" if len(finding.values) > 1 else mean
    verdict = {True: "PASS", False: "FAIL", None: ""}[finding.passed]
    return f"{finding.quantity}{'*' * finding.ours}", finding.target, finding.reported, measured, verdict


def markdown(findings: Iterable[Finding]) -> str:
    """The table."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(cells(finding) for finding in findings)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def judged(finding: Finding) -> dict[str, Any]:
    """A finding for JSON, with its estimate and verdict; what is not finite as text."""
    mean, low, high = finding.estimate
    found = {**finding._asdict(), "mean": mean, "interval": [low, high], "passed": finding.passed}
    return {name: value if _is_json(value) else str(value) for name, value in found.items()}


def _is_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def side_by_side(
    function: Callable[[Job], Found],
    jobs: Iterable[Job],
    workers: int,
    report: Report,
    name: Callable[[Job], str],
) -> list[Found]:
    """What a function makes of each job, in the order of the jobs.

    Args:
        function: of a module, so that other processes find it.
        jobs: its arguments.
        workers: processes at a time, of one thread each; 1: none but this one.
        report: called with the jobs done, their number and the name of the next.
        name: of a job.
    """
    todo, found = list(jobs), []
    with contextlib.ExitStack() as stack:
        if workers > 1:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(min(workers, len(todo)), context, _one_thread))
            waiting = [pool.submit(function, job).result for job in todo]
        else:
            waiting = [functools.partial(function, job) for job in todo]
        for done, (job, result) in enumerate(zip(todo, waiting, strict=True)):
            report(done, len(todo), name(job))
            found.append(result())
    report(len(todo), len(todo), "")
    return found


def _one_thread() -> None:
    torch.set_num_threads(1)
