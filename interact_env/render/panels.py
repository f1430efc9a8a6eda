"""Words on a picture: the status line, a card about an agent, a note, the page of keys."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pygame

from interact_env.render.look import Bar
from interact_env.render.moment import Moment
from interact_env.render.style import (
    ATTENTION,
    FONT,
    GRID,
    INK,
    LOW_TO_HIGH,
    MUTED,
    PAPER,
    asset,
    graded,
    rgb,
)

# Pixels of the smallest letters that can be read, and of the smallest picture that gets a status line.
_LEGIBLE, _ROOM = 9, 160
_COVERED = 0.35  # of a picture at most, by a card
Place = tuple[float, float]


def letters(width: int, height: int) -> int:
    """Size of the letters of a picture, pixels."""
    return max(_LEGIBLE, round(min(width, height) / 42))


def strip(width: int, height: int) -> int:
    """Height of the status line of a picture, pixels; 0: too small for one."""
    return 0 if min(width, height) < _ROOM else 2 * letters(width, height)


@functools.cache
def _font(size: int) -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(asset(FONT), size)


def _words(text: str, size: int, color: str = INK) -> pygame.Surface:
    return _font(size).render(text, True, rgb(color))


def facts_of(moment: Moment) -> tuple[Bar, ...]:
    """What the status line says of every moment; return and collisions since the start, per agent."""
    facts = [Bar("step", f"{moment.step}/{moment.limit}" if moment.limit else str(moment.step))]
    facts.append(Bar("agents", str(moment.n_agents)))
    if moment.returns is not None:
        facts.append(Bar("return", f"{moment.returns.sum() / moment.started:.1f}"))
    if moment.collisions is not None:
        facts.append(Bar("collisions", f"{moment.collisions:.1f}"))
    return tuple(facts)


def status(surface: pygame.Surface, title: str, facts: Sequence[Bar]) -> None:
    """A line of words: the title at the left, the facts at the right, as many as there is room for."""
    surface.fill(rgb(PAPER))
    width, height = surface.get_size()
    facts = list(facts)
    while True:
        size = height // 2
        while size > _LEGIBLE and _needed(title, facts, size) > width:
            size -= 1
        if _needed(title, facts, size) <= width or not facts:
            break
        # The title is the first to go: it is the same in every picture.
        title, facts = ("", facts) if title else ("", facts[:-1])
    pad, x = size // 2, width - size // 2
    for fact in reversed(facts):
        value, name = _words(fact.value, size), _words(fact.name, size, MUTED)
        x -= value.get_width()
        surface.blit(value, (x, (height - value.get_height()) // 2))
        x -= name.get_width() + pad
        surface.blit(name, (x, (height - name.get_height()) // 2))
        x -= 2 * pad
    words = _words(title, size)
    surface.blit(words, (pad, (height - words.get_height()) // 2))


def _needed(title: str, facts: Sequence[Bar], size: int) -> int:
    font = _font(size)
    return sum(font.size(f.name + f.value)[0] + 2 * size for f in facts) + font.size(title)[0] + size


def card(surface: pygame.Surface, bars: Sequence[Bar], away_from: Place | None) -> None:
    """A card in a lower corner, the one that is further away from a place."""
    width, height = surface.get_size()
    size = max(_LEGIBLE, round(0.8 * letters(width, height)))
    columns = [
        max(_font(size).size(word)[0] for word in words)
        for words in ([bar.name for bar in bars], [bar.value for bar in bars])
    ]
    length, row, pad = 5 * size, round(1.5 * size), size
    has_bars = any(bar.part is not None for bar in bars)
    wide = sum(columns) + 3 * pad + (length + pad if has_bars else 0)
    box = pygame.Rect(0, 0, wide, row * len(bars) + pad)
    if box.width > width or box.height > height or box.width * box.height > _COVERED * width * height:
        return
    left = away_from is None or away_from[0] > width / 2
    box.bottomleft = (pad, height - pad) if left else (width - pad - wide, height - pad)
    _paper(surface, box)
    for k, bar in enumerate(bars):
        y = box.top + pad // 2 + k * row
        surface.blit(_words(bar.name, size, MUTED), (box.left + pad, y))
        value = _words(bar.value, size)
        right = box.left + 2 * pad + columns[0] + columns[1]
        surface.blit(value, (right - value.get_width(), y))
        if bar.part is not None:
            track = pygame.Rect(right + pad, y + row // 4, length, row // 2)
            pygame.draw.rect(surface, rgb(GRID), track)
            track.width = round(length * min(max(bar.part, 0.0), 1.0))
            pygame.draw.rect(surface, rgb(ATTENTION), track)


def note(surface: pygame.Surface, text: str) -> None:
    """A word in the upper left corner."""
    size = letters(*surface.get_size())
    words = _words(text, size, PAPER)
    box = words.get_rect(topleft=(size, size))
    pygame.draw.rect(surface, rgb(INK), box.inflate(size, size // 2), border_radius=size // 2)
    surface.blit(words, box)


def words_at(surface: pygame.Surface, places: Sequence[tuple[str, Place]], room: float) -> None:
    """Words at places: within `room` pixels where they fit, else beside it."""
    large = letters(*surface.get_size())
    size = max(_LEGIBLE, min(large, round(room * 0.4)), large // 2)
    for text, (x, y) in places:
        words = _words(text, size)
        fits = max(words.get_size()) < 0.8 * room
        box = (
            words.get_rect(center=(x, y)) if fits else words.get_rect(bottomleft=(x + room / 3, y - room / 3))
        )
        box.clamp_ip(surface.get_rect())
        paper = _words(text, size, PAPER)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            surface.blit(paper, box.move(dx, dy))
        surface.blit(words, box)


def legend(surface: pygame.Surface, low: float, high: float) -> None:
    """What the colours of returns mean, in the upper right corner."""
    width, height = surface.get_size()
    size = letters(width, height)
    ends = [_words(f"{value:.1f}", size) for value in (low, high)]
    length = 5 * size
    box = pygame.Rect(0, 0, length + 3 * size + sum(e.get_width() for e in ends), 2 * size)
    if box.width > width or strip(width, height) == 0:
        return
    box.topright = (width - size, size)
    _paper(surface, box)
    surface.blit(ends[0], ends[0].get_rect(midleft=(box.left + size // 2, box.centery)))
    surface.blit(ends[1], ends[1].get_rect(midright=(box.right - size // 2, box.centery)))
    left = box.left + size + ends[0].get_width()
    for x in range(length):
        line = pygame.Rect(left + x, box.centery - size // 2, 1, size)
        surface.fill(graded(x / length, LOW_TO_HIGH), line)


def keys(surface: pygame.Surface, rows: Sequence[tuple[str, str]]) -> None:
    """A page of keys and what they do, over everything."""
    width, height = surface.get_size()
    size = max(_LEGIBLE, min(letters(width, height), round(height / (1.9 * len(rows) + 2))))
    while True:
        row, columns = round(1.7 * size), [max(_font(size).size(r[k])[0] for r in rows) for k in (0, 1)]
        box = pygame.Rect(0, 0, sum(columns) + 5 * size, row * len(rows) + 2 * size)
        if size == 1 or (box.width <= width and box.height <= height):
            break
        size -= 1
    box.center = (width // 2, height // 2)
    _paper(surface, box)
    for k, (key, what) in enumerate(rows):
        y = box.top + size + k * row
        surface.blit(_words(key, size), (box.left + size, y))
        surface.blit(_words(what, size, MUTED), (box.left + 4 * size + columns[0], y))


def _paper(surface: pygame.Surface, box: pygame.Rect) -> None:
    """A sheet to write on, through which a little is seen."""
    sheet = pygame.Surface(box.size, pygame.SRCALPHA)
    radius = min(box.size) // 12
    pygame.draw.rect(sheet, (*rgb(PAPER), 240), sheet.get_rect(), border_radius=radius)
    pygame.draw.rect(sheet, (*rgb(MUTED), 120), sheet.get_rect(), 1, border_radius=radius)
    surface.blit(sheet, box)
