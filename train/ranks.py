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

    @contextlib.contextmanager
    def agreed(self) -> Iterator[None]:
        """With what all must be able to do before they go on; if one cannot, all end, and it alone tells why.

        Inside of it processes must not meet: one that fails would miss the others.

        Raises:
            SystemExit: it was another that could not, with status 1.
        """
        failed: Exception | None = None
        try:
            yield
        except Exception as error:  # whatever it is: the others must hear of it
            failed = error
        fine = self.joined(torch.tensor([failed is None])).tolist()
        if all(fine):
            return
        if failed is None or self.rank != fine.index(False):
            raise SystemExit(1) from failed
        raise failed

    def same(self, tensor: Tensor) -> None:
        """Give all processes what the first one has, in place."""
        if self.size > 1:
            with _meeting():
                dist.broadcast(tensor, 0)


ALONE = Ranks()
# What gloo says of it, in a plain RuntimeError.
_CONNECTION = ("gloo", "connection", "peer", "timed out")


@contextlib.contextmanager
def together(device: str) -> Iterator[Ranks]:
    """With the other processes that torchrun started, if it did; each has a GPU, unless `device` is "cpu".

    Raises:
        ValueError: torch was built without torch.distributed, or there are too few GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    if not dist.is_available():
        raise ValueError(f"WORLD_SIZE is {size}, but this torch was built without torch.distributed")
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        local, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        n = torch.cuda.device_count()
        if here > n:
            if local:
                raise SystemExit(1)  # the first tells
            raise ValueError(f"{here} processes, and {n} GPUs: start one for each, or use --device cpu")
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield Ranks(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _meeting() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        if not isinstance(error, dist.DistError) and not any(word in reason.lower() for word in _CONNECTION):
            raise
        raise OSError(f"another process of this training has ended: {reason}") from error
