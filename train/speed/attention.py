"""What attention costs against the number of entities: time, growth, memory, eager and compiled."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from policies import HyperAttention, HyperFeatureAttention, Interaction, SelfAttention
from policies.definition import define

Report = Callable[[float, float, str], None]

MODULES: dict[str, tuple[type[SelfAttention | HyperFeatureAttention | HyperAttention], str]] = {
    "SelfAttention, softmax": (SelfAttention, "softmax"),
    "SelfAttention, linear": (SelfAttention, "linear"),
    "HyperFeatureAttention, softmax": (HyperFeatureAttention, "softmax"),
    "HyperFeatureAttention, linear": (HyperFeatureAttention, "linear"),
    "HyperAttention, softmax": (HyperAttention, "softmax"),
    "HyperAttention, linear": (HyperAttention, "linear"),
}
GROWTH = (256, 4096)  # the exponent is between these
COMPILED = (8, 64, 512, 4096)  # it takes seconds each
SETS, D_MODEL, N_HEADS = 4, 64, 4
# The definition is left out where its tuples, and softmax over pairs where its scores, are more than this.
_MOST_TUPLES, _MOST_SCORES = 2**24, 2**27
_BATCH_SECONDS = 0.02  # calls are timed together until they take this long


class Case(NamedTuple):
    """One module at one number of entities."""

    name: str
    n: int

    def module(self) -> Interaction:
        """The module at its defaults, with fresh weights."""
        torch.manual_seed(0)
        made, kind = MODULES[self.name]
        return made(D_MODEL, N_HEADS, kind=kind)

    def sets(self) -> tuple[Tensor, Tensor]:
        """Sets of which nine entities in ten are there."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(SETS, self.n, D_MODEL, generator=generator)
        return x, torch.rand(SETS, self.n, generator=generator) < 0.9

    def tuples(self) -> int:
        """Of entities, that the definition adds up."""
        order = 3 if MODULES[self.name][0] is HyperAttention else 2
        return SETS * N_HEADS * self.n**order

    def feasible(self) -> bool:
        """Whether it is worth the wait."""
        return self.name != "HyperAttention, softmax" or self.tuples() <= _MOST_SCORES


def measure(entities: Sequence[int], repeats: int, report: Report) -> Table:
    """A table of milliseconds, growth and megabytes for every module.

    Args:
        entities: their numbers.
        repeats: of which the medians are printed; fast, defined and compiled take turns.
        report: called with the work done, its total and a text.
    """
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    title = (
        f"Attention, {SETS} sets, width {D_MODEL}, {N_HEADS} heads, float32: ms, medians of {repeats}; "
        f"{threads} thread(s), load {load:.1f} at the start"
    )
    columns = ("module", "entities", "forward", "and backward", "definition", "ratio", "compiled", "peak MB")
    table = Table(*columns, title=title, title_justify="left")
    cases = [Case(name, n) for name in MODULES for n in entities if Case(name, n).feasible()]
    # The cost is about quadratic: the bar moves with it.
    total = sum(case.n**2 for case in cases)
    done, growth = 0, {}
    for case in cases:
        report(done, total, f"{case.name}, {case.n} entities")
        row = _row(case, repeats)
        growth[case] = row["and backward"]
        if case.n == entities[0]:
            table.add_section()
        table.add_row(case.name, str(case.n), *(_shown(row.get(column)) for column in columns[2:]))
        few, many = (Case(case.name, n) for n in GROWTH)
        if case == many and few in growth:
            exponent = math.log(growth[many] / growth[few]) / math.log(many.n / few.n)
            table.add_row("", f"{few.n} to {many.n}", "", f"^{exponent:.2f}")
        done += case.n**2
    report(total, total, "")
    return table


def _row(case: Case, repeats: int) -> dict[str, float]:
    module, (x, mask) = case.module(), case.sets()

    def backward(call: Callable[..., Tensor]) -> Callable[[], None]:
        return lambda: call(x, mask).sum().backward()

    def forward() -> None:
        with torch.no_grad():
            module(x, mask)

    tasks: dict[str, Callable[[], None]] = {"forward": forward, "and backward": backward(module)}
    if case.tuples() <= _MOST_TUPLES:
        tasks["definition"] = backward(lambda x, mask: define(module, x, mask))
    if case.n in COMPILED and shutil.which("g++"):
        torch._dynamo.reset()  # or the sizes before count, and beyond eight nothing is compiled any more
        tasks["compiled"] = backward(torch.compile(module, dynamic=False))
    found = _medians(tasks, repeats)
    if "definition" in found:
        found["ratio"] = found["and backward"] / found["definition"]
    return found | {"peak MB": peak_bytes(forward) / 1e6}


def _medians(tasks: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Milliseconds of a call of each; they take turns, so that a busy neighbour slows all."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    n_calls = {}
    for name, task in tasks.items():
        task()
        task()  # warm
        n_calls[name] = max(1, math.ceil(_BATCH_SECONDS / _seconds(task, 1)))
    for _ in range(repeats):
        for name, task in tasks.items():
            times[name].append(1e3 * _seconds(task, n_calls[name]) / n_calls[name])
    return {name: statistics.median(values) for name, values in times.items()}


def _seconds(task: Callable[[], None], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        task()
    return time.perf_counter() - start


def peak_bytes(task: Callable[[], None]) -> int:
    """The most memory that torch held at once for a task, beyond what it held before, on the CPU."""
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with _silent(), torch.profiler.profile(activities=cpu, profile_memory=True) as seen:
        task()
    results = seen.profiler.kineto_results
    changes = sorted((e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]")
    held = most = 0
    for _, change in changes:
        held += change
        most = max(most, held)
    return most


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what torch's profiler writes to stderr by itself, below Python."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
