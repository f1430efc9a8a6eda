"""One pygame viewer for every world: it draws scenes and computes no dynamics."""

from __future__ import annotations

import itertools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from interact_env.render.scene import Arrow, Circle, Line, Scene

if TYPE_CHECKING:
    import pygame

MODES = ("human", "rgb_array")
FPS = 10
METADATA: dict[str, Any] = {"render_modes": list(MODES), "render_fps": FPS}
BACKGROUND, GRID, EDGE, FLASH, INK = "#f7f7f5", "#e6e6e2", "#8a8a86", "#d01c1c", "#1a1a1a"
# Okabe and Ito's palette, which people with colour-vision deficiencies can tell apart.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#d55e00")


class Renderer:
    """`render_mode` as PettingZoo and Gymnasium know it: an array, or a window."""

    def __init__(self, mode: str | None, size: int = 600) -> None:
        """Nothing is opened, and pygame not imported, before the first frame.

        Raises:
            ValueError: an unknown mode.
        """
        if mode is not None and mode not in MODES:
            raise ValueError(f"render_mode must be None or one of {MODES}, not {mode!r}")
        self._mode, self._size = mode, size
        self._window: Any = None
        self._clock: Any = None

    def render(self, scene: Scene) -> np.ndarray | None:
        """An RGB frame in mode "rgb_array"; in mode "human" shows it and returns None.

        Raises:
            RuntimeError: no render_mode was chosen.
        """
        if self._mode is None:
            raise RuntimeError(f"render() needs a render_mode: make the env with one of {MODES}")
        frame = draw(scene, self._size)
        if self._mode == "rgb_array":
            return frame
        self._show(frame)
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is None:
            return
        import pygame

        pygame.display.quit()
        self._window = None

    def __getstate__(self) -> dict[str, Any]:
        # A window cannot be copied; the copy opens its own when it draws.
        return {**self.__dict__, "_window": None, "_clock": None}

    def _show(self, frame: np.ndarray) -> None:
        import pygame

        if self._window is None:
            pygame.display.init()
            self._window = pygame.display.set_mode(frame.shape[1::-1])
            self._clock = pygame.time.Clock()
        pygame.event.pump()
        pygame.surfarray.blit_array(self._window, frame.swapaxes(0, 1))
        pygame.display.flip()
        self._clock.tick(FPS)


def draw(scene: Scene, size: int = 600) -> np.ndarray:
    """A scene as pixels.

    Args:
        scene: what to draw.
        size: pixels of the longer side.

    Returns:
        (height, width, 3) uint8.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    # Drawn at twice the size and scaled down: pygame's shapes are not anti-aliased.
    scale = 2 * size / float(max(scene.width, scene.height))
    shape = (round(scene.width * scale), round(scene.height * scale))
    canvas = pygame.Surface(shape)
    canvas.fill(BACKGROUND)
    _draw_grid(canvas, scene, scale)
    for line, (dx, dy) in itertools.product(scene.lines, _images(scene)):
        _draw_line(canvas, line, dx, dy, scale)
    for circle, (dx, dy) in itertools.product(scene.circles, _images(scene)):
        _draw_circle(canvas, circle, dx, dy, scale)
    for arrow, (dx, dy) in itertools.product(scene.arrows, _images(scene)):
        _draw_arrow(canvas, arrow, dx, dy, scale)
    _draw_walls(canvas, scene)
    small = pygame.transform.smoothscale(canvas, (shape[0] // 2, shape[1] // 2))
    return np.ascontiguousarray(pygame.surfarray.array3d(small).swapaxes(0, 1))


def _images(scene: Scene) -> list[tuple[float, float]]:
    """Offsets at which a shape shows again across the seams of a world that wraps."""
    across = (-scene.width, 0.0, scene.width) if scene.wrap[0] else (0.0,)
    up = (-scene.height, 0.0, scene.height) if scene.wrap[1] else (0.0,)
    return list(itertools.product(across, up))


def _pixel(canvas: pygame.Surface, x: float, y: float, scale: float) -> tuple[float, float]:
    return float(x) * scale, canvas.get_height() - float(y) * scale  # numpy's floats are refused


def _draw_grid(canvas: pygame.Surface, scene: Scene, scale: float) -> None:
    import pygame

    if scale < 12:  # finer lines would be a grey wash
        return
    width, height = canvas.get_size()
    for k in range(int(scene.width) + 1):
        pygame.draw.line(canvas, GRID, (k * scale, 0), (k * scale, height), 2)
    for k in range(int(scene.height) + 1):
        pygame.draw.line(canvas, GRID, (0, height - k * scale), (width, height - k * scale), 2)


def _draw_walls(canvas: pygame.Surface, scene: Scene) -> None:
    import pygame

    width, height = canvas.get_size()
    if not scene.wrap[0]:
        pygame.draw.line(canvas, EDGE, (0, 0), (0, height), 12)
        pygame.draw.line(canvas, EDGE, (width, 0), (width, height), 12)
    if not scene.wrap[1]:
        pygame.draw.line(canvas, EDGE, (0, 0), (width, 0), 12)
        pygame.draw.line(canvas, EDGE, (0, height), (width, height), 12)


def _draw_line(canvas: pygame.Surface, line: Line, dx: float, dy: float, scale: float) -> None:
    import pygame

    start = _pixel(canvas, line.x1 + dx, line.y1 + dy, scale)
    end = _pixel(canvas, line.x2 + dx, line.y2 + dy, scale)
    pygame.draw.line(canvas, EDGE, start, end, 2)
    pygame.draw.circle(canvas, EDGE, end, 4)


def _draw_circle(canvas: pygame.Surface, circle: Circle, dx: float, dy: float, scale: float) -> None:
    import pygame

    centre = _pixel(canvas, circle.x + dx, circle.y + dy, scale)
    radius = max(2.0, float(circle.radius) * scale)
    pygame.draw.circle(canvas, PALETTE[circle.color % len(PALETTE)], centre, radius)
    if circle.flash:
        pygame.draw.circle(canvas, FLASH, centre, radius, max(2, round(radius / 4)))


def _draw_arrow(canvas: pygame.Surface, arrow: Arrow, dx: float, dy: float, scale: float) -> None:
    import pygame

    tail = _pixel(canvas, arrow.x + dx, arrow.y + dy, scale)
    head = _pixel(canvas, arrow.x + dx + arrow.dx, arrow.y + dy + arrow.dy, scale)
    angle = math.atan2(head[1] - tail[1], head[0] - tail[0])
    length = math.dist(tail, head)
    pygame.draw.line(canvas, INK, tail, head, max(1, round(length / 8)))
    wings = [
        (head[0] - length / 3 * math.cos(angle + turn), head[1] - length / 3 * math.sin(angle + turn))
        for turn in (-0.5, 0.5)
    ]
    pygame.draw.polygon(canvas, INK, [head, *wings])
