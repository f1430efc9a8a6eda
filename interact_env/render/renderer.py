"""`render_mode` as PettingZoo and Gymnasium know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interact_env.render.moment import Moment, moment

if TYPE_CHECKING:
    from interact_env.engine import WorldBatch

MODES = ("human", "rgb_array")
FPS = 10
METADATA: dict[str, Any] = {"render_modes": list(MODES), "render_fps": FPS}


class Renderer:
    """Frames of an env: arrays, or a window; pygame is not imported before the first."""

    def __init__(self, mode: str | None, size: tuple[int, int] = (600, 600)) -> None:
        """`size` of a frame, pixels.

        Raises:
            ValueError: an unknown mode.
        """
        if mode is not None and mode not in MODES:
            raise ValueError(f"render_mode must be None or one of {MODES}, not {mode!r}")
        self._mode, self._size = mode, size
        self._moment: Moment | None = None
        self._window: Any = None
        self.closed = False  # by its button; it stays closed then

    def follow(self, batch: WorldBatch) -> None:
        """Take note of a batch that has been reset or stepped; in mode "human" show it."""
        if self._mode is None:
            return
        self._moment = moment(batch) if self._moment is None else self._moment.then(batch)
        if self._mode == "human":
            self._show(self._moment)

    def render(self, batch: WorldBatch) -> Any:
        """An RGB frame (height, width, 3) uint8 in mode "rgb_array"; in mode "human" shows it, returns None.

        Raises:
            RuntimeError: no render_mode was chosen, or there was no reset.
            NoDisplay: mode "human" without a screen.
        """
        if self._mode is None:
            raise RuntimeError(f"render() needs a render_mode: make the env with one of {MODES}")
        now = moment(batch)
        if self._moment is not None:
            # The batch may have been restored to another state since.
            now = self._moment._replace(scene=now.scene, step=now.step, n_agents=now.n_agents)
        if self._mode == "human":
            return self._show(now)
        from interact_env.render.viewer import Viewer

        return Viewer(size=self._size).draw(now)

    def _show(self, now: Moment) -> None:
        from interact_env.render.viewer import Viewer
        from interact_env.render.window import Window

        if self.closed:
            return
        if self._window is None:
            self._window = Window(self._size, "interact-env")
        self._window.show(Viewer(size=self._size).surface(now), FPS)
        if self._window.closed():
            self.closed = True
            self.close()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
        self._window = None

    def __getstate__(self) -> dict[str, Any]:
        # A window cannot be copied; the copy opens its own when it draws.
        return {**self.__dict__, "_window": None}
