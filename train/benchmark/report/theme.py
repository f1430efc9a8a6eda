"""Colours of the report, light and dark, and what they make of a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


class Theme(NamedTuple):
    """Colours as #rrggbb."""

    paper: str
    ink: str
    muted: str
    line: str
    low: str  # of a heat map
    high: str
    palette: tuple[str, ...]  # architectures
    greys: tuple[str, ...]  # scripted policies


# After Okabe and Ito's palette, which people with colour-vision deficiencies can tell apart; lighter on dark.
LIGHT = Theme(
    "#ffffff", "#1b1e23", "#667080", "#e3e6ea", "#eef3f7", "#0b4a7a",
    ("#0072b2", "#d55e00", "#009e73", "#b3598f", "#c98a00", "#3f9fd1", "#6a4fb3"), ("#7c838d", "#a9afb7"),
)  # fmt: skip
DARK = Theme(
    "#14171c", "#e8eaed", "#9aa3af", "#2c323b", "#1d2833", "#62b0e4",
    ("#4aa8e8", "#ff8b4d", "#35c79a", "#e493c1", "#f0b93a", "#a5dcff", "#b39df0"), ("#8f97a3", "#6a727d"),
)  # fmt: skip
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")


class Series(NamedTuple):
    """How a policy looks in every figure."""

    name: str
    learned: bool
    light: str
    dark: str
    dash: list[int]
    shape: str


def series(learned: Sequence[str], scripted: Sequence[str], oracle: Sequence[str] = ()) -> list[Series]:
    """Looks of policies; beyond seven architectures a colour comes again with other dashes and marks.

    Args:
        learned: architectures, in colours.
        scripted: policies, in greys.
        oracle: what the others are measured by, in ink.
    """
    n = len(LIGHT.palette)
    made = [
        Series(name, True, LIGHT.palette[k % n], DARK.palette[k % n], DASHES[k // n % 3], SHAPES[k // n % 6])
        for k, name in enumerate(learned)
    ]
    made += [Series(name, False, LIGHT.ink, DARK.ink, DASHES[3], "circle") for name in oracle]
    return made + [
        Series(name, False, LIGHT.greys[k % 2], DARK.greys[k % 2], DASHES[2 + k % 2], SHAPES[3 + k % 3])
        for k, name in enumerate(scripted)
    ]


def config(theme: Theme, looks: Sequence[Series]) -> dict[str, Any]:
    """Vega-Lite's configuration."""
    colors = [look.dark if theme is DARK else look.light for look in looks]
    text = {"labelColor": theme.muted, "titleColor": theme.muted, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": theme.paper,
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "domainColor": theme.line,
            "gridColor": theme.line,
            "tickColor": theme.line,
            "titlePadding": 10,
            "labelPadding": 6,
        },
        "axisY": {"domain": False, "ticks": False, "tickCount": 5},
        "axisX": {"grid": False},
        "legend": {
            **text,
            "labelColor": theme.ink,
            "labelLimit": 220,
            "symbolSize": 90,
            "symbolStrokeWidth": 0,
            "symbolStrokeColor": "transparent",
            "symbolOpacity": 1,
        },
        "title": {"color": theme.ink, "fontSize": 14, "fontWeight": 600, "anchor": "start", "offset": 12},
        "header": {"labelColor": theme.ink, "labelFontSize": 13, "titleColor": theme.muted},
        "range": {"category": colors, "ramp": [theme.low, theme.high], "heatmap": [theme.low, theme.high]},
        "line": {"strokeWidth": 2.25, "strokeCap": "round", "strokeJoin": "round"},
        "point": {"size": 36, "filled": True},
    }
