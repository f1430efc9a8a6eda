"""A moment as a picture: the world that a camera shows, and what lies on top of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pygame

from interact_env.render import panels
from interact_env.render.camera import Camera
from interact_env.render.canvas import Canvas
from interact_env.render.look import Look, Overlay
from interact_env.render.moment import Moment
from interact_env.render.scene import Circle, Scene
from interact_env.render.style import (
    AGAINST,
    ATTENTION,
    BACKGROUND,
    EDGE,
    FLASH,
    GRID,
    INK,
    MARK,
    PALETTE,
    PAPER,
    VOID,
    Color,
    graded,
    mix,
    rgb,
)

_WALL, _LINK, _RIM = 3.0, 7.0, 0.25  # points; points of the widest; part of a radius
_GRID_FROM = 6.0  # pixels a unit: finer lines would be a grey wash
_DEEP = 0.6  # how pale the deepest is
_READABLE = 5  # pixels that a body with a number is wide at least
_SEGMENTS = 3072  # of all trails together
Paint = Callable[[Circle], Color]


def picture(moment: Moment, look: Look, overlay: Overlay, width: int, height: int) -> pygame.Surface:
    """A picture of width x height pixels."""
    top = strip_of(look, width, height)
    camera = Camera.of(moment.scene, look, width, height - top)
    color = coloring(moment, look)
    canvas = Canvas(camera, rgb(VOID))
    draw_world(canvas, moment, look, overlay, color)
    world = canvas.finished()
    labels = [(label.text, _seen(camera, label[:2])) for label in moment.scene.labels]
    panels.words_at(world, labels, 0)
    if look.numbers:
        _draw_numbers(world, camera, moment.scene)
    if look.color == "return" and moment.returns is not None:
        panels.legend(world, *_spread(moment.returns))
    if overlay.card:
        place = moment.scene.places().get(look.selected)
        panels.card(world, overlay.card, None if place is None else _seen(camera, place))
    if overlay.note:
        panels.note(world, overlay.note)
    if overlay.help:
        panels.keys(world, overlay.help)
    if not top:
        return world
    whole = pygame.Surface((width, height), depth=32)
    panels.status(
        whole.subsurface((0, 0, width, top)), overlay.title, panels.facts_of(moment) + overlay.facts
    )
    whole.blit(world, (0, top))
    return whole


def strip_of(look: Look, width: int, height: int) -> int:
    """Height of the status line on top of a picture, pixels."""
    return panels.strip(width, height) if look.status else 0


def array(surface: pygame.Surface) -> np.ndarray:
    """A surface as (height, width, 3) uint8."""
    width, height = surface.get_size()
    pixels = np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8)
    return pixels.reshape(height, width, 3).copy()


def coloring(moment: Moment, look: Look) -> Paint:
    """The colour of an agent's shapes."""
    if look.color == "label" or moment.returns is None:
        return lambda circle: rgb(PALETTE[circle.color % len(PALETTE)])
    returns = moment.returns
    low, high = _spread(returns)

    def by_return(circle: Circle) -> Color:
        if circle.agent < 0:
            return rgb(PALETTE[circle.color % len(PALETTE)])
        return graded((float(returns[circle.agent]) - low) / max(high - low, 1e-9))

    return by_return


def _spread(returns: np.ndarray) -> tuple[float, float]:
    return float(returns.min()), float(returns.max())


def draw_world(canvas: Canvas, moment: Moment, look: Look, overlay: Overlay, color: Paint) -> None:
    """Everything that has a place in the world, what is nearest last."""
    scene = moment.scene
    canvas.fill(rgb(BACKGROUND))
    _draw_grid(canvas, scene)
    _draw_borders(canvas, scene, wraps=True)
    if look.trails:
        _draw_trails(canvas, moment, color)
    for line in scene.lines:
        shade = rgb(EDGE) if line.color < 0 else rgb(PALETTE[line.color % len(PALETTE)])
        dx, dy = scene.nearest(line.x2 - line.x1, line.y2 - line.y1)
        canvas.line(line.x1, line.y1, dx, dy, shade, 1)
        canvas.circle(line.x1 + dx, line.y1 + dy, 0, shade, times=0.4)
    _draw_links(canvas, scene, overlay)
    circles = sorted(scene.circles, key=lambda c: c.z)
    for circle in circles:
        # The deepest are the palest.
        depth = (circles[-1].z - circle.z) / ((circles[-1].z - circles[0].z) or 1)
        _draw_circle(canvas, circle, mix(color(circle), rgb(BACKGROUND), _DEEP * depth))
    if look.arrows:
        for arrow in scene.arrows:
            shade = rgb(INK) if arrow.color < 0 else rgb(PALETTE[arrow.color % len(PALETTE)])
            canvas.arrow(*arrow[:4], shade)
    _draw_marked(canvas, scene, look)
    _draw_borders(canvas, scene, wraps=False)


def _draw_grid(canvas: Canvas, scene: Scene) -> None:
    if canvas.small.scale < _GRID_FROM:
        return
    for k in range(1, int(scene.width)):
        canvas.line(k, 0, 0, scene.height, rgb(GRID), 1)
    for k in range(1, int(scene.height)):
        canvas.line(0, k, scene.width, 0, rgb(GRID), 1)


def _draw_trails(canvas: Canvas, moment: Moment, color: Paint) -> None:
    """Where agents came from, paler the longer ago; shorter where there are many."""
    circles = {c.agent: c for c in reversed(moment.scene.circles) if c.agent >= 0}
    if not (circles and moment.trail):
        return
    agents = list(circles)
    length = max(1, _SEGMENTS // len(agents))
    places = np.stack([*moment.trail, moment.where(len(moment.trail[0]))])[-length - 1 :, agents]
    steps = np.diff(places, axis=0)
    for axis, (size, wraps) in enumerate(zip(moment.scene[:2], moment.scene.wrap, strict=True)):
        if wraps:
            steps[..., axis] -= size * np.round(steps[..., axis] / size)
    # Each step in a colour of its own; who was nowhere leaves no trail, who stayed needs none.
    ages, who = np.nonzero(np.nan_to_num(abs(steps).max(-1)))
    own, pale = [color(circles[agent]) for agent in agents], rgb(BACKGROUND)
    shades = [
        mix(pale, own[k], 0.15 + 0.4 * age / len(places))
        for age, k in zip(ages.tolist(), who.tolist(), strict=True)
    ]
    radius = canvas.pixels(max(c.radius for c in circles.values())) / canvas.point
    width = max(1.0, min(4.0, 0.3 * radius))
    canvas.segments(places[ages, who], steps[ages, who], shades, width)


def _draw_circle(canvas: Canvas, circle: Circle, color: Color) -> None:
    x, y, radius = circle.x, circle.y, circle.radius
    if not circle.flash:
        canvas.circle(x, y, radius, color)
        return
    canvas.circle(x, y, radius, rgb(FLASH), times=1 + _RIM)
    canvas.circle(x, y, radius, color, times=1 - _RIM)


def _draw_links(canvas: Canvas, scene: Scene, overlay: Overlay) -> None:
    places = scene.places()
    for link in sorted(overlay.links, key=lambda link: abs(link.weight)):
        if link.start not in places or link.end not in places or link.weight == 0:
            continue
        (x, y), (to_x, to_y) = places[link.start], places[link.end]
        strength = min(abs(link.weight), 1.0)
        shade = rgb(ATTENTION if link.weight > 0 else AGAINST)
        shade = mix(rgb(BACKGROUND), shade, 0.25 + 0.75 * strength)
        canvas.line(x, y, *scene.nearest(to_x - x, to_y - y), shade, max(0.5, _LINK * strength))


def _draw_marked(canvas: Canvas, scene: Scene, look: Look) -> None:
    for circle in scene.circles:
        if circle.agent == look.selected >= 0:
            canvas.circle(circle.x, circle.y, circle.radius, rgb(PAPER), grown=5, rim=5)
            canvas.circle(circle.x, circle.y, circle.radius, rgb(MARK), grown=5, rim=3)


def _draw_borders(canvas: Canvas, scene: Scene, *, wraps: bool) -> None:
    """Walls where the world ends, or fine lines where it begins anew."""
    color, width = (rgb(GRID), 1.0) if wraps else (rgb(EDGE), 2 * _WALL)
    if scene.wrap[0] == wraps:
        for x in (0, scene.width):
            canvas.line(x, 0, 0, scene.height, color, width)
    if scene.wrap[1] == wraps:
        for y in (0, scene.height):
            canvas.line(0, y, scene.width, 0, color, width)


def _draw_numbers(surface: pygame.Surface, camera: Camera, scene: Scene) -> None:
    circles = [c for c in scene.circles if c.agent >= 0]
    places = [(str(c.agent), _seen(camera, (c.x, c.y))) for c in circles]
    room = 2 * max((c.radius for c in circles), default=0) * camera.scale
    if room >= _READABLE:
        panels.words_at(surface, places, room)


def _seen(camera: Camera, place: tuple[float, float]) -> tuple[float, float]:
    """The pixel of a place, in the image that is shown."""
    return camera.pixel(*next(iter(camera.images(*place, 0)), place))
