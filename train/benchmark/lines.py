"""Where in a TOML file something stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

Where = Sequence[str | int]  # keys, and places in arrays


def toml_line(text: str, where: Where) -> int:
    """The line of what is at `where`, or of the nearest that holds it."""
    wanted = [part for part in where if isinstance(part, str)]
    table: list[str] = []
    found, depth = 1, 0
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("["):
            table = _keys(line) or table
            path = table
        else:
            path = table + _keys(line.partition("=")[0] + "=0")
        if len(path) > depth and wanted[: len(path)] == path:
            found, depth = number, len(path)
    value = _value(tomllib.loads(text), where)
    if isinstance(value, str | int):  # the line of an array of several
        shown = re.compile(rf"(?<![\w.-]){re.escape(str(value))}(?![\w.-])")
        for number in range(found, len(lines) + 1):
            if shown.search(lines[number - 1]):
                return number
            if number > found and "=" in lines[number - 1]:
                break
    return found


def _keys(line: str) -> list[str]:
    """Of a header, or of a key with any value."""
    try:
        held: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return []
    keys = []
    while isinstance(held, dict | list) and held:
        if isinstance(held, dict):
            key, held = next(iter(held.items()))
            keys.append(key)
        else:
            held = held[0]
    return keys


def _value(held: Any, where: Where) -> Any:
    for part in where:
        try:
            held = held[part]
        except (KeyError, IndexError, TypeError):
            return None
    return held
