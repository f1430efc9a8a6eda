"""A scene: what a viewer draws, as plain data in world coordinates (y points up).

`agent` is the slot of the agent that a shape belongs to (-1: of none): by it a viewer finds, follows and
colours agents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np


class Circle(NamedTuple):
    """A disc of `radius` at (x, y), coloured by the palette's entry `color`; `flash` marks an event.

    `z` is its height above the plane, towards who looks at it: what lies deeper is drawn first, and paler.
    """

    x: float
    y: float
    radius: float
    color: int
    flash: bool = False
    agent: int = -1
    z: float = 0.0


class Arrow(NamedTuple):
    """An arrow from (x, y) by (dx, dy); `color` as a circle's, -1: ink."""

    x: float
    y: float
    dx: float
    dy: float
    color: int = -1
    agent: int = -1


class Line(NamedTuple):
    """A thin line from (x1, y1) to (x2, y2), with a dot at its end; `color` as a circle's, -1: grey."""

    x1: float
    y1: float
    x2: float
    y2: float
    color: int = -1
    agent: int = -1


class Label(NamedTuple):
    """A word beside (x, y)."""

    x: float
    y: float
    text: str


class Scene(NamedTuple):
    """Shapes in the rectangle [0, width) x [0, height); `wrap` tells which axes (x, y) are periodic."""

    width: float
    height: float
    wrap: tuple[bool, bool]
    circles: tuple[Circle, ...] = ()
    arrows: tuple[Arrow, ...] = ()
    lines: tuple[Line, ...] = ()
    labels: tuple[Label, ...] = ()

    def places(self) -> dict[int, tuple[float, float]]:
        """Where each agent is: the centre of its first circle."""
        return {c.agent: (c.x, c.y) for c in reversed(self.circles) if c.agent >= 0}

    def nearest(self, dx: float, dy: float) -> tuple[float, float]:
        """The shortest of the displacements that (dx, dy) stands for where the world wraps."""
        if self.wrap[0]:
            dx -= self.width * round(dx / self.width)
        if self.wrap[1]:
            dy -= self.height * round(dy / self.height)
        return dx, dy


def checked(scene: Any) -> Scene:
    """A scene, if it can be drawn.

    Raises:
        ValueError: it cannot; the message tells what is wrong with it.
    """
    if not isinstance(scene, Scene):
        raise ValueError(f"must be an interact_env.render.Scene, not {type(scene).__name__}")
    if not (_finite([scene.width, scene.height]) and scene.width > 0 and scene.height > 0):
        raise ValueError(f"width and height must be finite and above 0, not {scene.width}, {scene.height}")
    if not _finite([n for shapes in scene[3:6] for shape in shapes for n in shape]):
        bad = next(shape for shapes in scene[3:6] for shape in shapes if not _finite(shape))
        raise ValueError(f"every number must be finite, and those of {bad} are not")
    colored: tuple[Circle | Arrow | Line, ...] = (*scene.circles, *scene.arrows, *scene.lines)
    for shape in colored:
        if not hasattr(shape.color, "__index__"):
            raise ValueError(f"color must be a whole number, and that of {shape} is not")
    for label in scene.labels:
        if not (isinstance(label.text, str) and "\0" not in label.text and _finite(label[:2])):
            raise ValueError(f"a label needs finite x and y and a text, and {label} has not")
    return scene


def _finite(numbers: Iterable[Any]) -> bool:
    try:
        return bool(np.isfinite(np.array([*numbers], float)).all())
    except (TypeError, ValueError):
        return False


def between(before: Scene, after: Scene, part: float) -> Scene:
    """A scene on the way between two: what belongs to agents that are in both has moved by `part` of its way.

    Everything else is as in `before`. It is for the eye only: no world was ever in that state.
    """
    if before[:3] != after[:3]:
        return before

    def moved(old: Iterable[Any], new: Iterable[Any], points: tuple[int, ...]) -> tuple[Any, ...]:
        there = _by_agent(new)
        return tuple(
            _on_the_way(before, shape, there[key], part, points) if key in there else shape
            for key, shape in _by_agent(old).items()
        )

    return before._replace(
        circles=moved(before.circles, after.circles, (0,)),
        arrows=moved(before.arrows, after.arrows, (0,)),
        lines=moved(before.lines, after.lines, (0, 2)),
    )


def _by_agent(shapes: Iterable[Any]) -> dict[tuple[int, int], Any]:
    """Shapes by their agent, and their number among its shapes; those of no agent come under -1."""
    found: dict[tuple[int, int], Any] = {}
    seen: dict[int, int] = {}
    for shape in shapes:
        seen[shape.agent] = seen.get(shape.agent, -1) + 1
        found[shape.agent, seen[shape.agent]] = shape
    return found


def _on_the_way(scene: Scene, old: Any, new: Any, part: float, points: tuple[int, ...]) -> Any:
    """The shape with its points (x at index k, y at k + 1), and an arrow's tip, on their way to the new."""
    if old.agent < 0:
        return old
    values = list(old)
    for k in points:
        dx, dy = new[k] - old[k], new[k + 1] - old[k + 1]
        if abs(dx) * 2 > scene.width or abs(dy) * 2 > scene.height:
            dx, dy = scene.nearest(dx, dy)
        values[k], values[k + 1] = old[k] + part * dx, old[k + 1] + part * dy
    if isinstance(old, Arrow):
        values[2] += part * (new[2] - old[2])
        values[3] += part * (new[3] - old[3])
    return old._make(values)
