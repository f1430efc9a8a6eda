"""How much memory is free."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_CACHED = ("inactive_file ", "active_file ")
# Of version 2 and 1: the limit, what is used, and how much of that files are cached in.
_CGROUPS = (
    ("memory.max", "memory.current", _CACHED),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", tuple(f"total_{k}" for k in _CACHED)),
)


def free_memory() -> int:
    """Bytes that this process may still take of the machine's memory, or of its container's."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    for most, now, cached in _CGROUPS:  # a container's limit, if it has one
        with contextlib.suppress(OSError, ValueError, StopIteration):
            limit, used = (int(Path("/sys/fs/cgroup", name).read_text()) for name in (most, now))
            lines = Path("/sys/fs/cgroup", now).with_name("memory.stat").read_text().splitlines()
            # What files are cached in is given back when it is wanted.
            used -= sum(int(line.split()[1]) for line in lines if line.startswith(cached))
            free = min(free, max(0, limit - used))
    return free


def as_text(n: float) -> str:
    """Bytes as people read them."""
    power = min(4, int(math.log10(max(1, n)) // 3))
    return f"{n / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
