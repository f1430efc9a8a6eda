"""Which of the CPU's libraries multiplies matrices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

_EXACT = 1e-5  # relative to the largest number of a product; bfloat16 would be off by 1e-3


@contextlib.contextmanager
def fastest() -> Iterator[None]:
    """While open, oneDNN multiplies matrices on the CPU instead of MKL, where it is as exact.

    torch asks oneDNN when it is allowed to round to bfloat16, which only cores with units for that (AMX) do.
    On AMD's it stays in float32 and has the wider instructions: twice as fast as MKL.
    """
    matmul = getattr(torch.backends.mkldnn, "matmul", None)  # of torch >= 2.9
    if matmul is None or not _is_exact():
        yield
        return
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


@cache
def _is_exact() -> bool:
    """Whether oneDNN keeps float32 when it need not."""
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 64, generator=generator) for n in (512, 128))
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        return all(_error(*pair) < _EXACT for pair in ((a, b), (a.T @ a, b), (a.T, a[:, :32].T)))
    finally:
        matmul.fp32_precision = before


def _error(x: Tensor, y: Tensor) -> float:
    """Of x @ y^T, as a share of its largest number."""
    exact = x.double() @ y.double().T
    return float((x @ y.T - exact).abs().max() / exact.abs().max())
