"""A window on the screen."""

from __future__ import annotations

import os
from typing import ClassVar

import pygame

from interact_env.render.style import asset


class NoDisplay(OSError):
    """There is no screen to open a window on; the message says what to do instead."""


# What SDL takes by itself where no screen answers.
_UNSEEN = ("dummy", "offscreen", "evdev")


class Window:
    """A window that shows pictures."""

    _open: ClassVar[int] = 0  # windows of this process

    def __init__(self, size: tuple[int, int], title: str, *, resizable: bool = False) -> None:
        """Open it.

        Raises:
            NoDisplay: there is no screen.
        """
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or _elsewhere()):
            raise NoDisplay(_advice("neither DISPLAY nor WAYLAND_DISPLAY is set"))
        try:
            pygame.display.init()
            if "SDL_VIDEODRIVER" not in os.environ and pygame.display.get_driver() in _UNSEEN:
                raise pygame.error(f"{os.environ.get('DISPLAY', 'the display')!r} does not answer")
            self._window = pygame.Window(title, size, resizable=resizable)
        except pygame.error as error:
            if not Window._open:
                pygame.display.quit()
            raise NoDisplay(_advice(str(error))) from None
        Window._open += 1
        self._window.set_icon(pygame.image.load(asset("icon.png")))
        pygame.event.get((pygame.QUIT, pygame.WINDOWCLOSE))  # of a window before
        self._clock = pygame.time.Clock()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self._window.size

    def show(self, picture: pygame.Surface, fps: float) -> None:
        """Put a picture on it, and wait so that there are no more than `fps` a second."""
        self._window.get_surface().blit(picture, (0, 0))
        self._window.flip()
        pygame.event.pump()  # tells the desktop that the program is alive
        self._clock.tick(fps)

    def closed(self) -> bool:
        """Whether its close button was pressed since it was last asked for."""
        closing = pygame.event.get(pygame.WINDOWCLOSE)
        for event in closing:
            if event.window is not self._window:
                pygame.event.post(event)
        return any(event.window is self._window for event in closing)

    @property
    def fps(self) -> float:
        """Pictures a second, of late."""
        return self._clock.get_fps()

    def close(self) -> None:
        """Close it."""
        self._window.destroy()
        Window._open -= 1
        if not Window._open:
            pygame.display.quit()


def _elsewhere() -> bool:
    """Whether SDL was told of another screen, or this is a system without X and Wayland."""
    return "SDL_VIDEODRIVER" in os.environ or os.name == "nt" or os.uname().sysname == "Darwin"


def _advice(why: str) -> str:
    return (
        f"no display to open a window on ({why}): record to a file, as with "
        "`interact-env watch --record out.mp4`, or use render_mode='rgb_array'"
    )
