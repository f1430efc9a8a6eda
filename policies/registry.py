"""The interactions that a policy can be built on, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from policies.attention import SelfAttention
from policies.baselines import DeepSets, NoInteraction

Interaction = Callable[[int, int, int], nn.Module]

_registry: dict[str, tuple[Interaction, str]] = {}


def register(name: str, make: Interaction, summary: str) -> None:
    """Make an interaction known by name.

    Args:
        name: as in `interact-env train --policy NAME`.
        make: make(d_model, n_heads, d_head) -> module, called as `SelfAttention.forward` is.
        summary: one line for `interact-env list`.

    Raises:
        ValueError: the name is taken.
    """
    if name in _registry:
        raise ValueError(f"policy name {name!r} is taken; known: {', '.join(_registry)}")
    _registry[name] = (make, summary)


def names() -> dict[str, str]:
    """Every name with its line of summary."""
    return {name: summary for name, (_, summary) in _registry.items()}


def interaction(name: str) -> Interaction:
    """The maker of this name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in _registry:
        raise ValueError(f"policy must be one of {', '.join(_registry)}, not {name!r}")
    return _registry[name][0]


register("sa", partial(SelfAttention, kind="softmax"), "self-attention with softmax")
register("sa_linear", partial(SelfAttention, kind="linear"), "self-attention, a plain sum")
register("deep_sets", DeepSets, "sum over the others, no query")
register("none", NoInteraction, "no interaction: each agent sees itself only")
