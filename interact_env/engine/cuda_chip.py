"""The chip that kernels run on: a GPU, or numba's simulator of one.

Kernels are tested by numba's simulator (`NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1`), with torch's
CPU tensors in place of a GPU's; what differs there is here, and nowhere else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numba import cuda
from numba.cuda.core import config

from interact_env.memory import free_memory

# NUMBA_ENABLE_CUDASIM=1: no GPU, kernels are plain Python.
SIMULATED = bool(config.ENABLE_CUDASIM)
# Agents from which cells ought to be faster than all pairs. Not measured: a pair is taken to cost 15
# instructions, an agent by cells a few hundred, and the sorting some 25 barriers.
_CELLS_FROM = 512


@cuda.jit
def _nothing() -> None:
    """A kernel to see whether any can run."""


class Chip(NamedTuple):
    """How many threads run at once."""

    multiprocessors: int
    threads: int  # of a multiprocessor
    block: int  # that small worlds share
    most: int  # of a block
    cells_from: int  # agents, from which a block finds neighbours by cells


class GPU:
    """torch's tensors on a GPU, as numba's arrays, and launches on torch's current stream."""

    def __init__(self, device: str) -> None:
        """Find the GPU.

        Raises:
            ValueError: it cannot be used, with the reason.
        """
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small batch is meant to be small
        try:
            torch.cuda.init()
            index = torch.device(device).index
            self.device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
            chip = torch.cuda.get_device_properties(self.device)
            with torch.cuda.device(self.device):
                torch.zeros(1, device=self.device)
                _nothing[1, 1]()  # an old driver may refuse what numba-cuda compiles
        except Exception as error:  # torch and numba each have their own
            why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ValueError(f"device {device!r} cannot be used: {why.strip().rstrip(':')}") from None
        self.chip = Chip(
            chip.multi_processor_count, chip.max_threads_per_multi_processor, 256, 1024, _CELLS_FROM
        )

    def free_memory(self) -> int:
        """Bytes, those among them that torch keeps for its next tensors."""
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(torch.cuda.mem_get_info(self.device)[0]) + kept

    def share(self, tensor: torch.Tensor) -> Any:
        """The same memory for a kernel."""
        with torch.cuda.device(self.device):
            return cuda.as_cuda_array(tensor.detach(), sync=False)

    def launch(self, kernel: Any, blocks: int, threads: tuple[int, int], *arguments: Any) -> None:
        """Run a kernel after what is on torch's current stream."""
        with torch.cuda.device(self.device):
            stream = torch.cuda.current_stream().cuda_stream
            kernel[blocks, threads, stream and cuda.external_stream(stream)](*arguments)


class Simulator:
    """torch's CPU tensors, and a chip so small that a few agents need several blocks, rounds and strides."""

    device = torch.device("cpu")
    chip = Chip(2, 8, 8, 8, 16)

    def free_memory(self) -> int:
        """Bytes."""
        return free_memory()

    def share(self, tensor: torch.Tensor) -> Any:
        """The same memory for a kernel."""
        return tensor.detach().numpy()

    def launch(self, kernel: Any, blocks: int, threads: tuple[int, int], *arguments: Any) -> None:
        """Run a kernel."""
        kernel[blocks, threads](*arguments)
