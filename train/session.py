"""A window in which policies are watched, or played with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pygame

from interact_env.render import Bar, Viewer
from interact_env.render.camera import ZOOM_MAX, Camera
from interact_env.render.steering import held, steered
from interact_env.render.window import Window
from train.stage import Stage

FPS = 60
FASTEST, SLOWEST = 240.0, 0.25  # steps a second
_LINGER = 1.0  # seconds that the end of an episode stays
_DRAG = 4  # pixels from which on a click is a drag


class Session:
    """What a person does with a stage: keys and mouse in, pictures out."""

    def __init__(self, stage: Stage, speed: float, *, steering: frozenset[str] = frozenset()) -> None:
        """Make a session.

        Args:
            stage: what is shown.
            speed: steps a second.
            steering: names of the keys that steer an agent, and so do nothing else.
        """
        self.stage, self.speed = stage, speed
        self.steering, self.tapped = steering, list[str]()
        self.playing, self.quit, self.help = True, False, False
        self.size = (800, 800)
        self._part, self._rest, self._drag = 1.0, 0.0, 0.0
        self._keys: dict[str, Callable[[], None]] = {
            key: action for keys, _, action in self._bindings() for key in keys.split()
        }

    def run(self, size: tuple[int, int], title: str) -> None:
        """Open a window and stay until it is closed.

        Raises:
            NoDisplay: there is no screen.
        """
        window = Window(size, title, resizable=True)
        try:
            before = time.perf_counter()
            while not self.quit:
                self.size = window.size
                for event in pygame.event.get():
                    self.handle(event)
                now = time.perf_counter()
                self.tick(now - before)
                before = now
                window.show(self.picture(window.fps), FPS)
        finally:
            window.close()

    def steer(self, keys: Mapping[str, Any]) -> Any:
        """The action of the keys that are down, or were tapped since the last step."""
        tapped, self.tapped = self.tapped, []
        space = self.stage.players[0].batch.action_space
        return steered(space, keys, [*dict.fromkeys([*held(keys), *tapped])])

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        if not self.playing:
            return
        self._part += seconds * self.speed
        while self._part > 1:
            if not self.stage.advance():
                self._part = 1.0
                self._end(seconds)
                return
            self._part -= 1

    def picture(self, fps: float) -> pygame.Surface:
        """What there is to see now."""
        speed = f"{self.speed:g}/s"
        facts = (Bar("speed", speed), Bar("frames/s", f"{fps:.0f}"), Bar("keys", "?"))
        note = "" if self.playing else "paused"
        if self.stage.over and self._part >= 1:
            note = "over"
        rows = [(keys.replace("=", "").strip(), text) for keys, text, _ in self._bindings()]
        rows += [("click", "follow an agent, see what it attends to"), ("wheel, drag", "zoom, pan")]
        if self.steering:
            rows.insert(0, (", ".join(sorted(self.steering)), "steer"))
        return self.stage.surface(
            self.size, self._part, facts=facts, note=note, keys=rows if self.help else ()
        )

    def handle(self, event: pygame.event.Event) -> None:
        """A key, the mouse, or the window."""
        if event.type == pygame.QUIT:
            self.quit = True
        elif event.type == pygame.KEYDOWN:
            self._press(event)
        elif event.type == pygame.MOUSEWHEEL:
            self._zoom(1.25**event.y, pygame.mouse.get_pos())
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._drag = 0.0
        elif event.type == pygame.MOUSEMOTION and event.buttons[0]:
            self._move(event)
        elif event.type == pygame.MOUSEBUTTONUP and event.button == 1 and self._drag < _DRAG:
            self._click(event.pos)

    def _bindings(self) -> list[tuple[str, str, Callable[[], None]]]:
        """Names of keys, what they do in words, and what they do."""
        return [
            ("space", "pause, go on", self._pause),
            (". right", "one step on", self._step),
            (", left", "one step back", self._back),
            ("+ =", "faster", lambda: self._faster(2)),
            ("-", "slower", lambda: self._faster(0.5)),
            ("tab", "the next agent", self._next_agent),
            ("f", "follow the chosen agent, or not", self._follow),
            ("l", "attention of the next layer", lambda: self._look_into(1, 0)),
            ("h", "attention of the next head, or the mean of all", lambda: self._look_into(0, 1)),
            ("t", "trails", lambda: self._toggle("trails")),
            ("a", "arrows", lambda: self._toggle("arrows")),
            ("n", "numbers of the agents", lambda: self._toggle("numbers")),
            ("c", "colours by label, by return", self._color),
            ("0", "the whole arena", self._home),
            ("r", "from the start", self._restart),
            ("e", "the next episode", self._next_episode),
            ("?", "these keys", self._toggle_help),
            ("q escape", "quit", self._stop),
        ]

    def _press(self, event: pygame.event.Event) -> None:
        name = pygame.key.name(event.key)
        if name in self.steering:
            self.tapped.append(name)
            return
        written = event.unicode.lower() if event.unicode.isprintable() and event.unicode.strip() else name
        action = self._keys.get(written) or self._keys.get(name)
        if action is not None:
            action()

    def _pause(self) -> None:
        self.playing = not self.playing
        if not self.playing:
            self._settle()

    def _step(self) -> None:
        self.playing = False
        self.stage.advance()
        self._settle()

    def _back(self) -> None:
        self.playing = False
        for player in self.stage.players:
            player.back()
        self._settle()

    def _restart(self) -> None:
        for player in self.stage.players:
            player.restart()
        self._settle()

    def _next_episode(self) -> None:
        for player in self.stage.players:
            player.next_episode()
        self._settle()

    def _settle(self) -> None:
        self._part, self._rest = 1.0, 0.0
        self.stage.hold()

    def _end(self, seconds: float) -> None:
        if self._rest == 0:
            self.stage.hold()
        self._rest += seconds
        if self._rest >= _LINGER:
            self._next_episode()

    def _faster(self, times: float) -> None:
        self.speed = min(max(self.speed * times, SLOWEST), FASTEST)

    def _next_agent(self) -> None:
        present = sorted(self.stage.players[0].now.scene.places())
        after = [agent for agent in present if agent > self.stage.look.selected]
        if present:
            self._select((after or present)[0])

    def _select(self, agent: int) -> None:
        self._change(selected=agent, follow=agent)

    def _follow(self) -> None:
        look = self.stage.look
        self._change(follow=-1 if look.follow >= 0 else look.selected)

    def _look_into(self, layer: int, head: int) -> None:
        stage = self.stage
        n_layers, n_heads = stage.attention
        if n_layers:
            stage.layer = (stage.layer % n_layers + layer) % n_layers
            stage.head = (stage.head + 1 + head) % (n_heads + 1) - 1  # -1: the mean
            self._change()

    def _toggle(self, name: str) -> None:
        self._change(**{name: not getattr(self.stage.look, name)})

    def _color(self) -> None:
        self._change(color="label" if self.stage.look.color == "return" else "return")

    def _home(self) -> None:
        self._change(zoom=1.0, centre=None, follow=-1)

    def _change(self, **settings: object) -> None:
        self.stage.look = self.stage.look._replace(**settings)  # type: ignore[arg-type]
        if not self.playing:
            self.stage.hold()

    def _toggle_help(self) -> None:
        self.help = not self.help

    def _stop(self) -> None:
        self.quit = True

    def _pane(self, place: tuple[int, int]) -> tuple[int, Viewer, tuple[int, int]]:
        """The player that is shown at a place of the window, its viewer, and the place in its picture."""
        for k in reversed(range(len(self.stage.players))):
            left, width = self.stage.pane(self.size, k)
            if place[0] >= left:
                break
        return k, Viewer(size=(width, max(16, self.size[1]))), (place[0] - left, place[1])

    def _click(self, place: tuple[int, int]) -> None:
        k, viewer, pixel = self._pane(place)
        self._select(viewer.agent_at(self.stage.shown(k, self._part), self.stage.look, pixel))

    def _zoom(self, times: float, place: tuple[int, int]) -> None:
        """Nearer or further away; what is under the pointer stays there, unless an agent is followed."""
        look, before = self.stage.look, self._camera(place)
        nearer = look._replace(zoom=min(max(look.zoom * times, 1.0), ZOOM_MAX))
        if look.follow < 0:
            shrunk = look.zoom / nearer.zoom
            x, y = self._point(place)
            nearer = nearer._replace(centre=(x + (before.x - x) * shrunk, y + (before.y - y) * shrunk))
        self._change(**nearer._asdict())

    def _move(self, event: pygame.event.Event) -> None:
        self._drag += abs(event.rel[0]) + abs(event.rel[1])
        if self._drag < _DRAG:
            return
        camera = self._camera(event.pos)
        dx, dy = event.rel
        self._change(follow=-1, centre=(camera.x - dx / camera.scale, camera.y + dy / camera.scale))

    def _camera(self, place: tuple[int, int]) -> Camera:
        """The camera of the picture at a place of the window."""
        k, viewer, _ = self._pane(place)
        return viewer.camera(self.stage.shown(k, self._part), self.stage.look)

    def _point(self, place: tuple[int, int]) -> tuple[float, float]:
        """The place in the world that is shown at a place of the window."""
        k, viewer, pixel = self._pane(place)
        return viewer.point(self.stage.shown(k, self._part), self.stage.look, pixel)
