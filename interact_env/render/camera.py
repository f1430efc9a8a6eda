"""From the world's coordinates to pixels, where the world may wrap."""

from __future__ import annotations

import dataclasses
import functools
import math

from interact_env.render.look import Look
from interact_env.render.scene import Scene

ZOOM_MAX = 64.0


@dataclasses.dataclass(frozen=True)
class Camera:
    """What a picture of `width` x `height` pixels shows: `scale` pixels a unit, (x, y) in its centre.

    Along an axis that wraps one period around the centre is shown, so that each thing is seen once.
    """

    scene: Scene
    width: int
    height: int
    scale: float
    x: float
    y: float

    @classmethod
    def of(cls, scene: Scene, look: Look, width: int, height: int) -> Camera:
        """The camera of a look; it does not leave an arena that has walls."""
        scale = float(look.zoom * min(width / scene.width, height / scene.height))
        home = (scene.width / 2, scene.height / 2)
        centre = look.centre or home
        if look.follow >= 0:
            centre = scene.places().get(look.follow, centre)
        x, y = (
            _inside(at, size, pixels / scale, wraps)
            for at, size, pixels, wraps in zip(centre, scene[:2], (width, height), scene.wrap, strict=True)
        )
        return cls(scene, width, height, scale, x, y)

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the world is in the picture."""
        # Plain floats: worlds may give numpy's, which pygame refuses.
        px, py = self.width / 2 + (x - self.x) * self.scale, self.height / 2 - (y - self.y) * self.scale
        return float(px), float(py)

    def point(self, px: float, py: float) -> tuple[float, float]:
        """Which point of the world is at a pixel."""
        return self.x + (px - self.width / 2) / self.scale, self.y - (py - self.height / 2) / self.scale

    def images(self, x: float, y: float, reach: float) -> list[tuple[float, float]]:
        """Where in the world a shape of this reach about (x, y) shows, also across the seams."""
        left, bottom, right, top = self.edges
        if left + reach <= x <= right - reach and bottom + reach <= y <= top - reach:
            return [(x, y)]
        xs = _shown(x, reach, left, right, self.scene.width if self.scene.wrap[0] else 0)
        ys = _shown(y, reach, bottom, top, self.scene.height if self.scene.wrap[1] else 0)
        return [(at_x, at_y) for at_x in xs for at_y in ys]

    @functools.cached_property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top, in the world, of what is shown of it."""
        left, right = _edges(self.x, self.scene.width, self.scene.wrap[0], self.width / 2 / self.scale)
        bottom, top = _edges(self.y, self.scene.height, self.scene.wrap[1], self.height / 2 / self.scale)
        return left, bottom, right, top

    def frame(self) -> tuple[int, int, int, int]:
        """Left, top, width and height, in pixels, of the part of the picture that shows the world."""
        left, bottom, right, top = self.edges
        (x0, y0), (x1, y1) = self.pixel(left, top), self.pixel(right, bottom)
        return round(x0), round(y0), round(x1) - round(x0), round(y1) - round(y0)


def _inside(at: float, size: float, shown: float, wraps: bool) -> float:
    """The camera's place along an axis."""
    if wraps:
        return at % size
    return size / 2 if shown >= size else min(max(at, shown / 2), size - shown / 2)


def _edges(centre: float, size: float, wraps: bool, half: float) -> tuple[float, float]:
    low, high = (centre - size / 2, centre + size / 2) if wraps else (0.0, size)
    return max(low, centre - half), min(high, centre + half)


def _shown(at: float, reach: float, low: float, high: float, period: float) -> list[float]:
    """The images of a coordinate whose shapes reach into what is shown; without a period there is one."""
    if not period:
        return [at] if low - reach <= at <= high + reach else []
    first = at + period * math.ceil((low - reach - at) / period)
    return [first + k * period for k in range(1 + math.floor((high + reach - first) / period))]
