"""Numbers of parameters, and the width at which architectures have the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from policies.actor_critic import EntityActorCritic
from policies.embedding import Column
from policies.interaction import at_least_one

_WIDEST = 2**14


def n_parameters(columns: Sequence[Column], n_outputs: int, **network: Any) -> int:
    """Parameters of `EntityActorCritic(columns, n_outputs, **network)`; allocates none of them."""
    with torch.device("meta"):
        made = EntityActorCritic(columns, n_outputs, **network)
    return sum(p.numel() for p in made.parameters())


def matched_width(n: int, columns: Sequence[Column], n_outputs: int, **network: Any) -> int:
    """The d_model, a multiple of n_heads, at which the network's parameters come closest to n.

    Args:
        n: number of parameters.
        columns: what an entity row holds.
        n_outputs: logits, or means.
        network: other keyword arguments of `EntityActorCritic`.

    Raises:
        ValueError: n is below what the narrowest network has, or above the widest's (a width of 2^14).
    """
    step = at_least_one("n_heads", network.get("n_heads", 4))
    if step > _WIDEST:
        raise ValueError(f"n_heads must be <= {_WIDEST}, not {step}")

    def size(width: int) -> int:
        return n_parameters(columns, n_outputs, **{**network, "d_model": step * width})

    low, high = 1, _WIDEST // step
    if not size(low) <= n <= size(high):
        raise ValueError(f"match_parameters must be in [{size(low):,}, {size(high):,}] here, not {n:,}")
    while low < high:  # the narrowest that has at least n
        middle = (low + high) // 2
        low, high = (low, middle) if size(middle) >= n else (middle + 1, high)
    return step * min((w for w in (low - 1, low) if w > 0), key=lambda w: abs(size(w) - n))
