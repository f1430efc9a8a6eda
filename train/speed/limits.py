"""What a device can do at the most: copy bandwidth, and the rate of matrix products."""

from __future__ import annotations

import torch

from train.speed.measure import Limits, seconds

# Far beyond any cache; 8192 x 64 x 64 is a product as attention of width 64 makes it.
_COPIED, _ROWS, _WIDTH = 2**28, 8192, 64
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
    x = torch.ones(_ROWS, _WIDTH, device=device)
    w, y = torch.ones(_WIDTH, _WIDTH, device=device), torch.ones(_ROWS, _WIDTH, device=device)
    return 2 * _ROWS * _WIDTH * _WIDTH / _best(lambda: torch.mm(x, w, out=y), device, 100)


def _best(call: object, device: str, n_calls: int = 3) -> float:
    def task() -> None:
        for _ in range(n_calls):
            call()  # type: ignore[operator]
        if device == "cuda":
            torch.cuda.synchronize()

    task()
    return min(seconds(task, 1) for _ in range(_REPEATS)) / n_calls
