"""Processes that train one policy together, each in its share of the worlds; started by torchrun."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Ranks(NamedTuple):
    """Which process this is, of how many; alone by default.

    What takes all of them raises OSError when one has ended, with gloo; NCCL aborts after its own time.
    """

    rank: int = 0
    size: int = 1

    def share(self, name: str, n: int) -> int:
        """How many of n each process has.

        Raises:
            ValueError: they cannot be shared out evenly; n is called `name`.
        """
        if n % self.size:
            raise ValueError(f"{name} must be a multiple of the {self.size} processes, not {n}")
        return n // self.size

    def own(self, n: int) -> slice:
        """The process's part of what all have, n each, side by side."""
        return slice(self.rank * n, (self.rank + 1) * n)

    def total(self, part: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            with _meeting():
                dist.all_reduce(part)
        return part

    def joined(self, part: Tensor, dim: int = 0) -> Tensor:
        """What all processes have, side by side along `dim`."""
        if self.size == 1:
            return part
        # As bytes: not every backend knows every dtype.
        flat = part.contiguous().flatten().view(torch.uint8)
        parts = [torch.empty_like(flat) for _ in range(self.size)]
        with _meeting():
            dist.all_gather(parts, flat)
        return torch.cat([p.view(part.dtype).view(part.shape) for p in parts], dim)

    def same(self, tensor: Tensor) -> None:
        """Give all processes what the first one has, in place."""
        if self.size > 1:
            with _meeting():
                dist.broadcast(tensor, 0)


ALONE = Ranks()


@contextlib.contextmanager
def together() -> Iterator[Ranks]:
    """With the other processes that torchrun started, if it did.

    Raises:
        ValueError: torch was built without torch.distributed.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    if not dist.is_available():
        raise ValueError(f"WORLD_SIZE is {size}, but this torch was built without torch.distributed")
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield Ranks(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _meeting() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise OSError(f"another process of this training has ended: {reason}") from error
