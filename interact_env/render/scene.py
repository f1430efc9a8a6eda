"""A scene: what a viewer draws, as plain data in world coordinates (y points up)."""

from typing import NamedTuple


class Circle(NamedTuple):
    """A disc of `radius` at (x, y), coloured by the palette's entry `color`; `flash` marks an event."""

    x: float
    y: float
    radius: float
    color: int
    flash: bool = False


class Arrow(NamedTuple):
    """An arrow from (x, y) by (dx, dy)."""

    x: float
    y: float
    dx: float
    dy: float


class Line(NamedTuple):
    """A thin line from (x1, y1) to (x2, y2)."""

    x1: float
    y1: float
    x2: float
    y2: float


class Scene(NamedTuple):
    """Shapes in the rectangle [0, width) x [0, height); `wrap` tells which axes (x, y) are periodic."""

    width: float
    height: float
    wrap: tuple[bool, bool]
    circles: tuple[Circle, ...] = ()
    arrows: tuple[Arrow, ...] = ()
    lines: tuple[Line, ...] = ()
