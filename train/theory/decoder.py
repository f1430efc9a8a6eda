"""Small language models that differ in nothing but their attention."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from policies import Interaction
from policies.actor_critic import Block
from policies.registry import Make, find, interaction


class Shape(NamedTuple):
    """Sizes of a decoder."""

    window: int  # tokens
    d_model: int
    n_heads: int
    n_layers: int


class Decoder(nn.Module):
    """Pre-LN transformer blocks that look back: tokens (B, L) -> logits of the next (B, L, vocabulary).

    The embedding of tokens is their readout too, as in GPT-2.
    """

    def __init__(self, name: str, shape: Shape, vocabulary: int, hidden: int) -> None:
        """Make the model.

        Args:
            name: an interaction of the registry.
            shape: of the model; the window is the most tokens that it takes.
            vocabulary: number of tokens there are.
            hidden: width of the two-layer network of a block.
        """
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, shape.d_model)
        self.places = nn.Embedding(shape.window, shape.d_model)
        for embedding in (self.tokens, self.places):
            nn.init.normal_(embedding.weight, std=0.02)
        make = _looks_back(interaction(find(name)))
        d, heads = shape.d_model, shape.n_heads
        self.blocks = nn.ModuleList(
            Block(make, d, heads, d // heads, hidden=hidden) for _ in range(shape.n_layers)
        )
        self.norm = nn.LayerNorm(d)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits; those at a place depend on the tokens up to it."""
        there = torch.ones_like(tokens, dtype=torch.bool)
        x = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
        for block in cast("Iterable[Block]", self.blocks):
            x = block(x, there, None, None, block.norm(x))
        return self.norm(x) @ self.tokens.weight.T


def _looks_back(make: Make) -> Make:
    """Of entities that are in an order: each sees itself and those before it."""

    def made(d_model: int, n_heads: int, d_head: int) -> nn.Module:
        module = make(d_model, n_heads, d_head)
        for part in module.modules():
            if isinstance(part, Interaction):
                part.causal, part.exclude_self = True, False
        return module

    return made


def n_parameters(name: str, shape: Shape, vocabulary: int, hidden: int) -> int:
    """Of a `Decoder`; allocates none of them."""
    with torch.device("meta"):
        return sum(p.numel() for p in Decoder(name, shape, vocabulary, hidden).parameters())


def equal_hidden(name: str, shape: Shape, vocabulary: int, n: int) -> int:
    """The width of a block's two-layer network at which a decoder has some n parameters.

    Raises:
        ValueError: without that network it already has more.
    """
    least = n_parameters(name, shape, vocabulary, 1)
    each = n_parameters(name, shape, vocabulary, 2) - least
    if n < least:
        raise ValueError(f"{name} has {least:,} parameters at the least, and must have {n:,}")
    return 1 + round((n - least) / each)
