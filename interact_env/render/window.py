"""A window on the screen."""

from __future__ import annotations

import os

import pygame

from interact_env.render.style import asset


class NoDisplay(OSError):
    """There is no screen to open a window on; the message says what to do instead."""


class Window:
    """A window that shows pictures; made of one, it is as large."""

    def __init__(self, size: tuple[int, int], title: str, *, resizable: bool = False) -> None:
        """Open it.

        Raises:
            NoDisplay: there is no screen.
        """
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or _elsewhere()):
            raise NoDisplay(_advice("neither DISPLAY nor WAYLAND_DISPLAY is set"))
        try:
            pygame.display.init()
            pygame.display.set_caption(title)
            pygame.display.set_icon(pygame.image.load(asset("icon.png")))
            self.surface = pygame.display.set_mode(size, pygame.RESIZABLE if resizable else 0)
        except pygame.error as error:
            raise NoDisplay(_advice(str(error))) from None
        self._clock = pygame.time.Clock()

    def show(self, picture: pygame.Surface, fps: float) -> None:
        """Put a picture on it, and wait so that there are no more than `fps` a second."""
        self.surface.blit(picture, (0, 0))
        pygame.display.flip()
        pygame.event.pump()  # tells the desktop that the program is alive
        self._clock.tick(fps)

    @property
    def fps(self) -> float:
        """Pictures a second, of late."""
        return self._clock.get_fps()

    def close(self) -> None:
        """Close it."""
        pygame.display.quit()


def _elsewhere() -> bool:
    """Whether SDL was told of another screen, or this is a system without X and Wayland."""
    return "SDL_VIDEODRIVER" in os.environ or os.name == "nt" or os.uname().sysname == "Darwin"


def _advice(why: str) -> str:
    return (
        f"no display to open a window on ({why}): record to a file with --record out.mp4, "
        "or use render_mode='rgb_array'"
    )
