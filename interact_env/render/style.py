"""Colours, fonts and sizes of everything that is drawn."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

Color = tuple[int, int, int]

# The background of the world, of what lies around it, and what is drawn on them.
BACKGROUND, VOID, GRID, EDGE, INK, MUTED = "#f7f7f5", "#e4e4df", "#ececE8", "#8a8a86", "#1a1a1a", "#6b6b68"
FLASH, MARK, PAPER = "#d01c1c", "#111111", "#ffffff"
# Okabe and Ito's palette, which people with colour-vision deficiencies can tell apart.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#d55e00")
ATTENTION, AGAINST = "#7b2d8b", "#e69f00"  # a weight above 0, and one below
# Five colours of cividis (Nunez, Anderton and Renslow 2018, doi 10.1371/journal.pone.0199239), low to high.
LOW_TO_HIGH = ("#00224e", "#35456c", "#7d7c78", "#bcae6c", "#fee838")
# Everything that a picture may hold, but for shades between.
DRAWN = (
    BACKGROUND, VOID, GRID, EDGE, INK, MUTED, FLASH, MARK, PAPER, *PALETTE, ATTENTION, AGAINST, *LOW_TO_HIGH,
)  # fmt: skip
FONT = "B612-Regular.otf"


@functools.cache
def rgb(color: str) -> Color:
    """Three numbers of a color like "#1a1a1a"."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


@functools.lru_cache(4096)
def mix(one: Color, other: Color, part: float) -> Color:
    """`part` of the way from one colour to the other."""
    r, g, b = (round(a + part * (z - a)) for a, z in zip(one, other, strict=True))
    return r, g, b


def graded(part: float, colors: Sequence[str] = LOW_TO_HIGH) -> Color:
    """The colour of a number in [0, 1], from low to high."""
    at = min(max(part, 0.0), 1.0) * (len(colors) - 1)
    first = min(int(at), len(colors) - 2)
    return mix(rgb(colors[first]), rgb(colors[first + 1]), at - first)


def asset(name: str) -> Path:
    """A file of assets/, which is installed within this package and stands beside it in a checkout.

    Raises:
        FileNotFoundError: it is in neither.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "assets", package.parent / "assets"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"assets/{name} is missing: install interact-env again")
