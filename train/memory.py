"""Memory: what a training would need of it, what there is, and that freed memory is kept."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

import interact_env
from interact_env.memory import as_text, free_memory
from policies import EntityActorCritic
from train.policy import n_outputs
from train.ranks import Ranks
from train.update import at_once

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Of a network that a pass of shapes alone cannot go through.
LOOKS_AT_NUMBERS = (DataDependentOutputException, DynamicOutputShapeException)
_SCALARS = 9  # float32 numbers of an agent at a step in a rollout, temporary ones of its end among them


def keep_freed() -> None:
    """Let the C library keep freed memory for the next tensors instead of giving it back each time.

    A fifth of an update's time on a CPU went into pages that were given back and asked for again. Does
    nothing where the C library is not glibc.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that it takes
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def check(
    batch: interact_env.WorldBatch,
    network: Mapping[str, Any],
    sizes: Mapping[str, int],
    ranks: Ranks,
    device: str,
) -> None:
    """Refuse a training that would not fit in memory, before any of it is allocated.

    Args:
        batch: one world of those that are trained in.
        network: keyword arguments of `EntityActorCritic`.
        sizes: `n_worlds`, `n_steps` and `batch_size` of the processes together.
        ranks: of these processes.
        device: "cpu" or "cuda".

    Raises:
        ValueError: it would not fit; tells the bytes, and what to lower.
    """
    parts = need(
        batch,
        network,
        n_worlds=sizes["n_worlds"] // ranks.size,
        n_steps=sizes["n_steps"],
        batch_size=sizes["batch_size"] // ranks.size,
        at_once=at_once(batch.n_slots, device),
        n_processes=ranks.size,
    )
    # Processes on one machine share its memory; each has a GPU of its own.
    local = 1 if device == "cuda" else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    total, free = local * sum(parts.values()), available(device)
    if total <= free:
        return
    lower = {
        "worlds": "--n-worlds",
        "rollout": "--n-worlds or --n-steps",
        "minibatch": "--batch-size",
        "network": "--d-model or --n-layers" if device == "cpu" else "--batch-size",
    }
    largest = max(parts, key=lambda name: parts[name])
    listed = ", ".join(f"{name} {as_text(local * n)}" for name, n in parts.items())
    raise ValueError(
        f"the training would need {total} bytes of memory ({listed}), and {free} ({as_text(free)}) are free "
        f"on {device}: lower {lower[largest]}, or the number of agents"
    )


def need(
    batch: interact_env.WorldBatch,
    network: Mapping[str, Any],
    *,
    n_worlds: int,
    n_steps: int,
    batch_size: int,
    at_once: int,
    n_processes: int = 1,
) -> dict[str, int]:
    """Bytes that one process needs at least, by what for; nothing is allocated.

    Args:
        batch: one world of those that are trained in.
        network: keyword arguments of `EntityActorCritic`.
        n_worlds: of the process.
        n_steps: of a rollout.
        batch_size: worlds at a step in a minibatch of the process.
        at_once: of which the network takes so many at once.
        n_processes: that train together.
    """
    slots = batch.n_slots
    sight = slots * slots if sight_is_limited(batch) else 0
    columns, actions = len(batch.columns), batch.blank_actions().nbytes
    chosen = min(batch_size, n_worlds * n_steps)
    step = slots * (4 * columns + 4 * _SCALARS + 3) + actions + sight
    # Twice: a step writes the next state beside the last; and twice those of all processes, which the first
    # one keeps for a checkpoint while it takes the next.
    world = (2 + 2 * n_processes) * sum(array.nbytes for array in batch.save().values()) + sight
    return {
        "worlds": n_worlds * world,
        "rollout": n_worlds * n_steps * step,
        "minibatch": chosen * step,
        "network": min(at_once, chosen) * activations(batch, network),
    }


def activations(batch: interact_env.WorldBatch, network: Mapping[str, Any]) -> int:
    """Bytes that the network keeps of one world at a step for the backward pass.

    Counted in a pass of tensors that have shapes and no memory; 0 for a policy that looks at numbers on its
    way, which those do not have.
    """
    kept: dict[int, int] = {}
    held: list[Tensor] = []  # while they are held, no two storages have the same id

    def keep(tensor: Tensor) -> Tensor:
        kept[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        held.append(tensor)
        return tensor

    n = batch.n_slots
    try:
        with FakeTensorMode(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model = EntityActorCritic(batch.columns, n_outputs(batch.action_space), **network)
            mask, sight = torch.ones(1, n, dtype=torch.bool), torch.ones(1, n, n, dtype=torch.bool)
            model(torch.zeros(1, n, len(batch.columns)), mask, sight if sight_is_limited(batch) else None)
            own = sum(parameter.nbytes for parameter in model.parameters())
    except LOOKS_AT_NUMBERS:
        return 0
    return max(0, sum(kept.values()) - own)


def sight_is_limited(batch: interact_env.WorldBatch) -> bool:
    """Whether a world tells who sees whom."""
    return batch.world.visible is not None and batch.params.vision_radius != np.inf


def available(device: str) -> int:
    """Bytes that are free on a device."""
    return int(torch.cuda.mem_get_info()[0]) if device == "cuda" else free_memory()
