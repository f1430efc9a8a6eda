"""Cases to time, and the figures that came of them, as a table and as JSON."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich import box
from rich.table import Table

Report = Callable[[float, float, str], None]
Task = Callable[[], object]
_LEAST_SECONDS = 0.1  # a task is repeated until a measurement takes this long
_PACKAGES = ("interact-env", "torch", "numpy", "numba", "stable-baselines3")


class Case(NamedTuple):
    """Something to time: `make` prepares it and returns what is called."""

    what: str
    worlds: int
    agents: int  # of a world
    threads: int
    make: Callable[[], Task]
    steps: int = 1  # env steps of each world in a call
    moved: float = 0  # bytes that a call must read and write at least; 0: not told
    products: float = 0  # floating-point operations of a call; 0: not told
    grows_from: int = 0  # agents of the case from which the growth of the cost is told; 0: none
    device: str = "cpu"
    elsewhere: bool = False  # in another process, whose memory is not seen


class Figure(NamedTuple):
    """What a case took; seconds of a call, one number a repetition."""

    case: Case
    seconds: list[float]
    peak: float | None  # bytes held at the most, beyond those before; None: cannot be told here
    load: float  # of the machine, before

    @property
    def median(self) -> float:
        """Seconds of a call."""
        return statistics.median(self.seconds)

    def rate(self, seconds: float) -> float:
        """Agent steps a second at so many seconds a call."""
        return self.case.worlds * self.case.agents * self.case.steps / seconds


class Limits(NamedTuple):
    """What the machine can do at the most, with the threads of the measurement."""

    copy: float  # bytes a second, read and written, of a copy of large arrays
    products: float  # floating-point operations a second of float32 matrix products


def run(cases: Sequence[Case], repeats: int, report: Report) -> list[Figure]:
    """Time every case, in turn.

    Args:
        cases: what to time.
        repeats: measurements of each.
        report: progress as (done, total, what).
    """
    figures = []
    for k, case in enumerate(cases):
        report(k, len(cases), f"{case.what}, {case.worlds} x {case.agents}")
        load = os.getloadavg()[0]
        with peak(case.device) as held:
            task = case.make()
            task()
            n_calls = max(1, math.ceil(_LEAST_SECONDS / seconds(task, 1)))
            times = [seconds(task, n_calls) for _ in range(repeats)]
        figures.append(Figure(case, times, None if case.elsewhere else held(), load))
    report(len(cases), len(cases), "")
    return figures


def seconds(task: Task, n_calls: int) -> float:
    """Seconds of a call, over several."""
    start = time.perf_counter()
    for _ in range(n_calls):
        task()
    return (time.perf_counter() - start) / n_calls


@contextlib.contextmanager
def peak(device: str) -> Iterator[Callable[[], float | None]]:
    """The most memory in bytes that was held meanwhile, beyond what was held before.

    Of the GPU where the device is "cuda", else of this process, on Linux only; None: it cannot be told.
    """
    if device == "cuda":
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        yield lambda: float(torch.cuda.max_memory_allocated() - held)
        return
    try:
        _release()
        Path("/proc/self/clear_refs").write_text("5")  # forget the most so far
        before = _held("VmRSS")
    except OSError:
        yield lambda: None
        return
    yield lambda: max(0.0, _held("VmHWM") - before)


def _release() -> None:
    """Give back what is freed and kept, which would hide what is held next."""
    with contextlib.suppress(AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def _held(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def growth(figure: Figure, figures: Sequence[Figure]) -> float | None:
    """Exponent of the cost in the number of agents, from the case that it names."""
    case = figure.case
    wanted = case.what, case.worlds, case.grows_from
    for other in figures:
        if (other.case.what, other.case.worlds, other.case.agents) == wanted:
            return math.log(figure.median / other.median, case.agents / other.case.agents)
    return None


def share(figure: Figure, limits: Limits) -> tuple[float, str] | None:
    """How near a case comes to the limit that is told for it, and the limit's name."""
    if figure.case.moved:
        return figure.case.moved / figure.median / limits.copy, "copy"
    if figure.case.products:
        return figure.case.products / figure.median / limits.products, "products"
    return None


def table(figures: Sequence[Figure], limits: dict[tuple[str, int], Limits]) -> Table:
    """The figures, a row each; `limits` by device and number of threads."""
    title = "; ".join(
        f"{f'{threads} thread(s)' if device == 'cpu' else device}: copy {found.copy / 1e9:.1f} GB/s, "
        f"products {found.products / 1e9:.0f} GFLOP/s"
        for (device, threads), found in limits.items()
    )
    columns = (
        "what",
        "worlds x agents",
        "us a step",
        "agent steps/s",
        "spread",
        "env steps/s",
        "growth (from)",
    )
    made = Table(
        *columns,
        "peak MB",
        "of limit",
        "threads",
        "load",
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for figure in figures:
        case = figure.case
        slow, fast = (figure.rate(pick(figure.seconds)) for pick in (max, min))
        exponent, near = growth(figure, figures), share(figure, limits[case.device, case.threads])
        made.add_row(
            case.what,
            f"{case.worlds:,} x {case.agents:,}",
            f"{1e6 * figure.median / case.steps:,.4g}",
            short(figure.rate(figure.median)),
            f"{short(slow)} to {short(fast)}",
            short(figure.rate(figure.median) / case.agents),
            "" if exponent is None else f"^{exponent:.2f} ({case.grows_from})",
            "" if figure.peak is None else f"{figure.peak / 1e6:,.1f}",
            "" if near is None else f"{near[0]:.0%} {near[1]}",
            str(case.threads) if case.device == "cpu" else case.device,
            f"{figure.load:.1f}",
        )
    return made


def short(number: float) -> str:
    """Three digits, in thousands or millions."""
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:.3g}"


def document(figures: Sequence[Figure], limits: dict[tuple[str, int], Limits]) -> dict[str, Any]:
    """The figures as JSON, in s, bytes and operations, with what they were measured on."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "limits": [
            {"device": device, "threads": threads, **found._asdict()}
            for (device, threads), found in limits.items()
        ],
        "figures": [
            {
                **{k: v for k, v in f.case._asdict().items() if k != "make"},
                "seconds": f.seconds,
                "agent_steps_per_second": f.rate(f.median),
                "peak": f.peak,
                "load": f.load,
                "growth": growth(f, figures),
                "share": share(f, limits[f.case.device, f.case.threads]),
            }
            for f in figures
        ],
    }


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return platform.processor()
