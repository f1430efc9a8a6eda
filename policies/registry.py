"""The interactions that a policy can be built on, by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from policies.attention import HyperAttention, HyperFeatureAttention, MixedAttention, SelfAttention
from policies.baselines import MLP, DeepSets, InducedAttention, NoInteraction

Make = Callable[[int, int, int], nn.Module]

_registry: dict[str, tuple[Make, str]] = {}


def register(name: str, make: Make, summary: str | None = None) -> None:
    """Make an interaction known by name.

    Args:
        name: as in `interact-env train --policy NAME`.
        make: a class, or any make(d_model, n_heads, d_head) -> module, called as `Interaction.forward` is.
        summary: one line for `interact-env list`; None: the first of `make`'s docstring.

    Raises:
        ValueError: the name is taken by another module, or no name.
    """
    if not callable(make) or isinstance(make, nn.Module):
        raise ValueError(f"make of {name!r} must be a class or function, not {make!r}")
    if not name.isidentifier():
        raise ValueError(f"policy name must be a word of letters, digits and _, not {name!r}")
    # A module that is loaded again, or a notebook's cell that is run again, may register again.
    taken = _home(_registry[name][0]) if name in _registry else ""
    if taken and (taken.startswith("policies.") or taken != _home(make)):
        raise ValueError(f"policy name {name!r} is taken; known: {', '.join(_registry)}")
    if summary is None:
        summary = (inspect.getdoc(make) or "").partition("\n")[0]
    _registry[name] = (make, summary)


def _home(make: Make) -> str:
    """The module that a class or function stands in."""
    return _home(make.func) if isinstance(make, partial) else make.__module__


def names() -> dict[str, str]:
    """Every name with its line of summary."""
    return {name: summary for name, (_, summary) in _registry.items()}


def find(given: str) -> str:
    """The name in "name", or in "my_module:name" after importing my_module, which registers it.

    Raises:
        ValueError: the module cannot be imported, or there is no such name; the message lists those known.
    """
    module, colon, name = given.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise ValueError(f"policy {given!r}: cannot import {module!r}: {error}") from error
    interaction(name)
    return name


def interaction(name: str) -> Make:
    """The maker of this name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in _registry:
        raise ValueError(
            f"policy must be one of {', '.join(_registry)}, not {name!r}; one of your own: my_module:{name}"
        )
    return _registry[name][0]


def _by_features(d_model: int, n_heads: int, d_head: int, kind: str = "softmax") -> HyperFeatureAttention:
    """Every feature as wide as the head, so that a rotation turns it."""
    return HyperFeatureAttention(d_model, n_heads, d_head, rank=d_head, kind=kind)


def _mixed(d_model: int, n_heads: int, d_head: int) -> MixedAttention:
    """Half of the heads are SA's, the others HFA's."""
    if n_heads < 2:
        raise ValueError(f"n_heads must be >= 2 for sa_hfa, not {n_heads}")
    return MixedAttention(
        SelfAttention(d_model, n_heads // 2, d_head),
        _by_features(d_model, n_heads - n_heads // 2, d_head),
    )


register("sa", partial(SelfAttention, kind="softmax"), "self-attention: a softmax mean over the others")
register("sa_linear", partial(SelfAttention, kind="linear"), "self-attention, a plain sum")
register("sa_count", partial(SelfAttention, count=True), "self-attention that is told how many there are")
register("sa_sharp", partial(SelfAttention, sharpen=True), "self-attention, the sharper the more there are")
register("hfa", _by_features, "attention by a product over features")
register("hfa_linear", partial(_by_features, kind="linear"), "the same, a plain sum")
register("ha", partial(HyperAttention, kind="softmax"), "attention over pairs of others; cost L^3")
register("ha_linear", partial(HyperAttention, kind="linear"), "the same, a plain sum")
register("sa_hfa", _mixed, "half of the heads self-attention, half by features")
register("inducing", InducedAttention, "attention through a few learned points")
register("deep_sets", DeepSets, "sum over the others, no query")
register("mean_field", partial(DeepSets, mean=True), "mean over the others, no query")
register("mlp", MLP, "plain network on a list of up to 15 others")
register("none", NoInteraction, "no interaction: each agent sees itself only")
