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
from interact_env.render.scene import Scene

if TYPE_CHECKING:
    from interact_env.engine import WorldBatch

SIZE = (800, 800)
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
            ValueError: a size that is not allowed.
        """
        self._batch: WorldBatch | None = getattr(source, "batch", source)  # type: ignore[arg-type]
        width, height = (size, size) if isinstance(size, int) else size
        self.size = (check.whole("width", width, 16, 16384), check.whole("height", height, 16, 16384))

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
            return Moment(what)
        if self._batch is None:
            raise ValueError(f"cannot draw a {type(what).__name__}: make the Viewer of a batch or an env")
        if what is None:
            return moment(self._batch)
        if not hasattr(what, "alive"):
            raise ValueError(f"what must be a Moment, a Scene or a State, not a {type(what).__name__}")
        return Moment(self._batch.world.scene(self._batch.params, what), n_agents=int(what.alive.sum()))


def draw(scene: Scene, size: int = 600) -> np.ndarray:
    """A scene as pixels, without a status line.

    Args:
        scene: what to draw.
        size: pixels of the longer side.

    Returns:
        (height, width, 3) uint8.
    """
    scale = size / float(max(scene.width, scene.height))
    shape = (max(16, round(scene.width * scale)), max(16, round(scene.height * scale)))
    return Viewer(size=shape).draw(scene, Look(status=False))
