"""The viewer of all worlds, as a library: it draws what worlds tell it and computes no dynamics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from interact_env import check
from interact_env.render import paint
from interact_env.render.camera import Camera
from interact_env.render.look import COLORS, Look, Overlay
from interact_env.render.moment import Moment, moment
from interact_env.render.scene import Scene, checked

if TYPE_CHECKING:
    from interact_env.engine import WorldBatch

SIZE = (800, 800)
_LARGEST = 8192  # pixels of a side
_CLOSE_BY = 8.0  # pixels that a click may miss by


class HasBatch(Protocol):
    """What a PettingZoo or Gymnasium env of this package is to a viewer."""

    @property
    def batch(self) -> WorldBatch:
        """Its world."""


class Viewer:
    """Pictures of one world: `Viewer(env).draw()` now, `Viewer(env).draw(state)` in any of its states."""

    def __init__(
        self, source: WorldBatch | HasBatch | None = None, size: tuple[int, int] | int = SIZE
    ) -> None:
        """Make a viewer.

        Args:
            source: a batch (its first world is drawn), or an env; None: for scenes only.
            size: (width, height) of a picture, or both, pixels.

        Raises:
            ValueError: a source or a size that is not allowed.
        """
        self._batch: WorldBatch | None = getattr(source, "batch", source)  # type: ignore[arg-type]
        if self._batch is not None and not hasattr(self._batch, "scene_of"):
            raise ValueError(f"source must be a batch or an env, not a {type(source).__name__}")
        sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
        if len(sides) != 2:
            raise ValueError(f"size must be (width, height) or a number, not {size!r}")
        width, height = (
            check.whole(name, side, 16, _LARGEST)
            for name, side in zip(("width", "height"), sides, strict=True)
        )
        self.size = (width, height)

    def draw(
        self, what: Moment | Scene | Any = None, look: Look | None = None, overlay: Overlay | None = None
    ) -> np.ndarray:
        """A picture.

        Args:
            what: a `Moment`, a `Scene`, or a State of the world, as of `batch.state()`; None: as it is now.
            look: where the camera stands and what it shows; by default all of the world.
            overlay: what is drawn on top.

        Returns:
            (height, width, 3) uint8, RGB.

        Raises:
            ValueError: there is no such thing to draw, or the viewer was made for scenes only.
        """
        return paint.array(self.surface(what, look, overlay))

    def surface(
        self, what: Moment | Scene | Any = None, look: Look | None = None, overlay: Overlay | None = None
    ) -> Any:
        """`draw` as a pygame Surface."""
        look = look or Look()
        check.one_of("look.color", look.color, COLORS)
        check.real("look.zoom", look.zoom, 0, above=True)
        return paint.picture(self._moment(what), look, overlay or Overlay(), *self.size)

    def camera(self, what: Moment | Scene | Any, look: Look) -> Camera:
        """What the picture below the status line shows, and where."""
        width, height = self.size
        return Camera.of(self._moment(what).scene, look, width, height - paint.strip_of(look, width, height))

    def point(
        self, what: Moment | Scene | Any, look: Look, pixel: tuple[float, float]
    ) -> tuple[float, float]:
        """The place in the world that is drawn at a pixel (x, y)."""
        return self.camera(what, look).point(pixel[0], pixel[1] - paint.strip_of(look, *self.size))

    def agent_at(self, what: Moment | Scene | Any, look: Look, pixel: tuple[float, float]) -> int:
        """The agent that is drawn at a pixel (x, y), or within a few of it; -1: none."""
        scene, scale = self._moment(what).scene, self.camera(what, look).scale
        x, y = self.point(what, look, pixel)
        found = [
            (math.hypot(*scene.nearest(c.x - x, c.y - y)) - c.radius, c.agent)
            for c in scene.circles
            if c.agent >= 0
        ]
        distance, agent = min(found, default=(math.inf, -1))
        return agent if distance * scale <= _CLOSE_BY else -1

    def _moment(self, what: Any) -> Moment:
        if isinstance(what, Moment):
            return what
        if isinstance(what, Scene):
            return Moment(checked(what))
        if self._batch is None:
            raise ValueError(f"cannot draw a {type(what).__name__}: make the Viewer of a batch or an env")
        if what is None:
            return moment(self._batch)
        if not hasattr(what, "alive"):
            raise ValueError(f"what must be a Moment, a Scene or a State, not a {type(what).__name__}")
        return Moment(self._batch.scene_of(what), n_agents=int(what.alive.sum()))


def draw(scene: Scene, size: int = 600) -> np.ndarray:
    """A scene as pixels, without a status line.

    Args:
        scene: what to draw.
        size: pixels of the longer side.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: a scene that cannot be drawn, or a size that is not allowed.
    """
    checked(scene)
    check.whole("size", size, 16, _LARGEST)
    scale = size / float(max(scene.width, scene.height))
    shape = (max(16, round(scene.width * scale)), max(16, round(scene.height * scale)))
    return Viewer(size=shape).draw(scene, Look(status=False))
