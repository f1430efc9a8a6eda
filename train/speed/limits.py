"""What a device can do at the most: copy bandwidth, and the rate of matrix products."""

from __future__ import annotations

import torch

from train import products
from train.speed.measure import Limits, Task, seconds

_COPIED = 2**28  # bytes, far beyond any cache
_SHAPES = ((8192, 64, 64), (2048, 2048, 2048))  # as attention of width 64 has them, and at its best
_REPEATS = 5


def measure(device: str, threads: int) -> Limits:
    """The best of a few measurements.

    Args:
        device: "cpu" or "cuda".
        threads: of torch, on a CPU.
    """
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(threads)
    try:
        return Limits(copy=_copy(device), products=_products(device))
    finally:
        torch.set_num_threads(before)


def _copy(device: str) -> float:
    source = torch.ones(_COPIED, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * _COPIED / _best(lambda: target.copy_(source), device)


def _products(device: str) -> float:
    with products.fastest():
        return max(_rate(*shape, device) for shape in _SHAPES)


def _rate(n: int, inner: int, m: int, device: str) -> float:
    x, w, y = (torch.ones(*shape, device=device) for shape in ((n, inner), (inner, m), (n, m)))
    n_operations = 2 * n * inner * m
    n_calls = max(1, 2**33 // n_operations)
    return n_operations / _best(lambda: torch.mm(x, w, out=y), device, n_calls)


def _best(call: Task, device: str, n_calls: int = 3) -> float:
    def task() -> None:
        for _ in range(n_calls):
            call()
        if device == "cuda":
            torch.cuda.synchronize()

    task()
    return min(seconds(task, 1) for _ in range(_REPEATS)) / n_calls
