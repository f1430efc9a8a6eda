"""Checks of arguments whose messages name the argument, what was given and what is allowed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection
from typing import Any

MOST_AGENTS = 2**20  # of a world: what arrays of a size that memory holds are made for


class DoesNotFit(ValueError):
    """More agents than the arena has room for."""


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """`value` as an int in [low, high].

    Raises:
        ValueError: not a whole number, or out of range.
    """
    allowed = f"a whole number >= {low}" if high is None else f"a whole number in [{low}, {high}]"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be {allowed}, not {number}")
    return number


def real(name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False) -> float:
    """`value` as a finite float in [low, high], or in (low, high] with `above`.

    Raises:
        ValueError: not a number, NaN, infinite, or out of range.
    """
    bound = f"{'>' if above else '>='} {low:g}"
    allowed = f"a finite number {bound}" + (f" and <= {high:g}" if high < math.inf else "")
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
    number = float(value)
    if not math.isfinite(number) or number < low or number > high or (above and number == low):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
    return number


def one_of(name: str, value: Any, allowed: Collection[str]) -> Any:
    """`value`, if it is allowed.

    Raises:
        ValueError: it is not; the message lists what is.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def flag(name: str, value: Any) -> bool:
    """`value` as a bool.

    Raises:
        ValueError: it is not True or False.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return value


def vision(name: str, value: Any, auto: float, high: float) -> float:
    """A radius of sight in [0, high]; None: inf, which sees all; "auto": `auto`.

    Raises:
        ValueError: anything else.
    """
    if value is None:
        return math.inf
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(f"{name} must be a number, None or 'auto', not {value!r}")
        return auto
    return real(name, value, 0, high)


def count_range(name: str, value: Any) -> tuple[int, int]:
    """A number of agents as (low, high): a whole number in [1, 2^20] or a pair of them, low <= high.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, list | tuple):
        number = whole(name, value, 1, MOST_AGENTS)
        return number, number
    if len(value) != 2:
        raise ValueError(
            f"{name} must be a whole number, a (low, high) pair or a list of (count, weight) pairs, "
            f"not {value!r}"
        )
    low, high = (whole(f"{name}[{k}]", bound, 1, MOST_AGENTS) for k, bound in enumerate(value))
    if low > high:
        raise ValueError(f"{name} must be a (low, high) pair with low <= high, not {value!r}")
    return low, high
