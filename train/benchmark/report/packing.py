"""Arrays of whole numbers as text that a browser unpacks: differences, planes of bytes, deflate, base64.

Bytes of one significance lie together, since the high ones of small numbers are all alike; that, and
storing what changes instead of what is, makes deflate several times better on the motion of agents.
"""

from __future__ import annotations

import base64
import zlib
from typing import NamedTuple

import numpy as np


class Packed(NamedTuple):
    """An array of `shape`, as numbers of `bytes` bytes each; `replay.js` unpacks it."""

    shape: tuple[int, ...]
    bytes: int
    differences: bool  # along the first axis, from 0
    data: str


def pack(numbers: np.ndarray, *, differences: bool = False) -> Packed:
    """Pack an array of whole numbers, in as many bytes each as the largest needs.

    Args:
        numbers: of any shape, within the range of int32.
        differences: store how they change along the first axis.
    """
    stored = numbers.astype(np.int64)
    if differences:
        stored = np.diff(stored, axis=0, prepend=np.zeros_like(stored[:1]))
    largest = int(np.abs(stored).max(initial=0))
    size = next(size for size in (1, 2, 4) if largest < 2 ** (8 * size - 1))
    # Column by column: what belongs to one thing changes little from step to step.
    flat = np.moveaxis(stored, 0, -1).ravel() if differences else stored.ravel()
    planes = flat.astype(f"<i{size}").view(np.uint8).reshape(-1, size).T
    data = zlib.compress(planes.tobytes(), 9)
    return Packed(numbers.shape, size, differences, base64.b64encode(data).decode())
