"""Shapes of a world on a surface of pixels, anti-aliased."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pygame

from interact_env.render.camera import Camera
from interact_env.render.style import Color

# Drawn larger and scaled down, since pygame's shapes are not anti-aliased; small pictures need it most.
_SMALL, _FINE, _COARSE = 320, 4, 2
_POINT = 0.3  # pixels, at least


class Canvas:
    """A picture of the world that a camera shows.

    Lengths are in the world's units; widths in points: an 800th of the picture's shorter side.
    """

    def __init__(self, camera: Camera, void: Color) -> None:
        """An empty picture."""
        self.finer = _FINE if max(camera.width, camera.height) <= _SMALL else _COARSE
        self.small = camera
        self.point = self.finer * max(_POINT, min(camera.width, camera.height) / 800)
        # What is small in a large world is drawn so that it can be seen.
        self.least = max(5 * self.point, self.finer)
        width, height = camera.width * self.finer, camera.height * self.finer
        self.camera = dataclasses.replace(camera, width=width, height=height, scale=camera.scale * self.finer)
        self.surface = _surface(self.camera.width, self.camera.height)
        self.surface.set_clip(None)
        self.surface.fill(void)
        self.surface.set_clip(self.camera.frame())

    def fill(self, color: Color) -> None:
        """Everything that is world."""
        self.surface.fill(color)

    def finished(self) -> pygame.Surface:
        """The picture in its own size."""
        return pygame.transform.smoothscale(self.surface, (self.small.width, self.small.height))

    def circle(
        self,
        x: float,
        y: float,
        radius: float,
        color: Color,
        *,
        times: float = 1.0,
        grown: float = 0.0,
        rim: float = 0.0,
    ) -> None:
        """A disc, `times` as large as it is and `grown` points larger; with a `rim`, only that, inwards."""
        pixels = times * self.pixels(radius) + grown * self.point
        width = max(1, round(rim * self.point)) if rim else 0
        for image in self.camera.images(x, y, pixels / self.camera.scale):
            pygame.draw.circle(self.surface, color, self.camera.pixel(*image), pixels, width)

    def pixels(self, radius: float) -> float:
        """How large a disc of this radius is drawn, pixels of the surface."""
        return max(float(radius) * self.camera.scale, self.least)

    def line(self, x: float, y: float, dx: float, dy: float, color: Color, width: float) -> None:
        """A line from (x, y) by (dx, dy)."""
        thick = max(1, round(width * self.point))
        for start, end in self._both_ends(x, y, dx, dy):
            if thick <= 2:
                pygame.draw.line(self.surface, color, start, end, thick)
            else:
                _thick_line(self.surface, color, start, end, thick)

    def arrow(self, x: float, y: float, dx: float, dy: float, color: Color) -> None:
        """An arrow from (x, y) by (dx, dy)."""
        length = math.hypot(dx, dy) * self.camera.scale
        if length < 2 * self.point:
            return
        for tail, head in self._both_ends(x, y, dx, dy):
            wide = min(max(length / 4, 3.0 * self.point), 12.0 * self.point)
            along = ((head[0] - tail[0]) / length, (head[1] - tail[1]) / length)
            neck = min(1.4 * wide, length)
            base = (head[0] - neck * along[0], head[1] - neck * along[1])
            side = (-along[1] * wide * 0.55, along[0] * wide * 0.55)
            _thick_line(self.surface, color, tail, base, max(1, round(wide / 3)))
            wings = [(base[0] + s * side[0], base[1] + s * side[1]) for s in (1, -1)]
            pygame.draw.polygon(self.surface, color, [head, *wings])

    def segments(self, starts: np.ndarray, steps: np.ndarray, colors: Sequence[Color], width: float) -> None:
        """`line` for many thin ones: from starts (N, 2) by steps (N, 2), each in its colour."""
        scene, camera = self.small.scene, self.camera
        low, high = np.reshape(camera.edges, (2, 2))
        middle = starts + steps / 2
        for axis in (0, 1):
            if scene.wrap[axis]:
                middle[:, axis] = low[axis] + (middle[:, axis] - low[axis]) % scene[axis]
        reach = abs(steps).max(axis=1, keepdims=True) / 2 + width * self.point / camera.scale
        whole = ((middle - reach >= low) & (middle + reach <= high)).all(axis=1).tolist()
        flip = np.array([camera.scale, -camera.scale])
        origin = np.array(camera.pixel(0, 0))
        ends = [(origin + flip * (middle + half * steps)).tolist() for half in (-0.5, 0.5)]
        thick = max(1, round(width * self.point))
        for k, color in enumerate(colors):
            if whole[k]:
                pygame.draw.line(self.surface, color, ends[0][k], ends[1][k], thick)
            else:  # across a seam, or out of sight
                (x, y), (dx, dy) = starts[k].tolist(), steps[k].tolist()
                self.line(x, y, dx, dy, color, width)

    def _both_ends(
        self, x: float, y: float, dx: float, dy: float
    ) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """The pixels of the ends of every image of a line."""
        images = self.camera.images(
            x + dx / 2, y + dy / 2, max(abs(dx), abs(dy)) / 2 + 4 * self.point / self.camera.scale
        )
        return [
            (self.camera.pixel(u - dx / 2, v - dy / 2), self.camera.pixel(u + dx / 2, v + dy / 2))
            for u, v in images
        ]


_surfaces: dict[tuple[int, int], pygame.Surface] = {}


def _surface(width: int, height: int) -> pygame.Surface:
    """A surface to draw on, the same for pictures of the same size: making one takes as long as drawing."""
    if (width, height) not in _surfaces:
        _surfaces.clear()
        _surfaces[width, height] = pygame.Surface((width, height), depth=32)
    return _surfaces[width, height]


def _thick_line(
    surface: pygame.Surface,
    color: Color,
    start: tuple[float, float],
    end: tuple[float, float],
    width: int,
) -> None:
    """A thick line as a polygon: pygame's own are cut along the axes."""
    length = math.dist(start, end)
    if length == 0:
        return
    across = (
        -(end[1] - start[1]) / length * width / 2,
        (end[0] - start[0]) / length * width / 2,
    )
    corners = [
        (start[0] + across[0], start[1] + across[1]),
        (end[0] + across[0], end[1] + across[1]),
        (end[0] - across[0], end[1] - across[1]),
        (start[0] - across[0], start[1] - across[1]),
    ]
    pygame.draw.polygon(surface, color, corners)
