"""How to look at a world, and what to draw on top of it: plain data."""

from __future__ import annotations

from typing import NamedTuple

COLORS = ("label", "return")


class Look(NamedTuple):
    """Where the camera stands, and what it shows."""

    zoom: float = 1.0  # 1: the whole arena
    centre: tuple[float, float] | None = None  # in the world; None: the arena's
    follow: int = -1  # agent that the camera stays with; -1: none
    selected: int = -1  # agent that is marked; -1: none
    color: str = "label"  # agents by their scene's colour, or by their "return"
    trails: bool = True
    arrows: bool = True
    numbers: bool = False  # the agents'
    status: bool = True  # the line on top


class Link(NamedTuple):
    """A line between two agents, as wide as its weight (1: the widest); below 0 of another colour."""

    start: int
    end: int
    weight: float


class Bar(NamedTuple):
    """A line of a card: a name, a number in words, and a bar as long as `part` of the card's width."""

    name: str
    value: str
    part: float | None = None


class Overlay(NamedTuple):
    """What is drawn on top of a moment."""

    title: str = ""
    links: tuple[Link, ...] = ()
    card: tuple[Bar, ...] = ()  # about the selected agent
    facts: tuple[Bar, ...] = ()  # more of them for the status line
    note: str = ""  # across the picture, such as "paused"
    help: tuple[tuple[str, str], ...] = ()  # keys and what they do, over everything
