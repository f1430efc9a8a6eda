"""What the experiments' figures have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.compare import interval
from train.figures import COLORS

_COLOR = {"designed": COLORS[6], "learned": COLORS[1]}


def color(name: str) -> str:
    """Of what is designed and what is learned."""
    return _COLOR[name]


def panels(n: int, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure of n panels side by side."""
    figure = Figure(figsize=(1 + 3.9 * n, height), layout="constrained")
    return figure, list(figure.subplots(1, n, squeeze=False)[0])


def errors(
    xs: Sequence[float],
    lines: Mapping[str, Sequence[Sequence[float]]],
    x_name: str,
    y_name: str,
    trained_at: float | None = None,
    bound: float | None = None,
) -> Figure:
    """Errors of several seeds against a size, on logarithmic scales: geometric means with 95% intervals.

    Args:
        xs: sizes.
        lines: by name; for every size one value for each seed.
        x_name: what the sizes count.
        y_name: what the errors are.
        trained_at: a size to be marked.
        bound: what the errors should be at the most.
    """
    figure, (axis,) = panels(1)
    draw_errors(axis, xs, lines)
    if trained_at is not None:
        axis.axvline(trained_at, color="0.8", lw=6, zorder=0)
    if bound is not None:
        axis.axhline(bound, color="0.4", lw=1, ls=":")
        axis.annotate(
            "bound", (xs[-1], bound), xytext=(0, 3), textcoords="offset points", ha="right", color="0.4"
        )
    axis.set(xlabel=x_name, ylabel=y_name)
    axis.legend(frameon=False)
    return figure


def draw_errors(axis: Axes, xs: Sequence[float], lines: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """The lines of `errors`, on an axis."""
    for shade, style, (name, values) in zip(COLORS, ("-", "--", ":", "-.") * 2, lines.items(), strict=False):
        logs = np.array([interval([float(np.log10(max(v, 1e-300))) for v in of_size]) for of_size in values])
        mean, low, high = 10**logs.T
        axis.plot(xs, mean, "o", ls=style, ms=4, color=shade, label=name)  # where lines lie on each other
        axis.fill_between(xs, low, high, color=shade, alpha=0.2, lw=0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(xs, [f"{x:,}" for x in xs], fontsize=8)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
