"""A small decoder of tokens on any interaction of the registry, and the size at which all have the same."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.attention import HyperFeatureAttention, MixedAttention, SelfAttention
from policies.interaction import Interaction
from policies.registry import Make, find, interaction
from train.theory.learning import n_learned

_WIDER = 4  # the hidden layer of SA's blocks over their width


class Size(NamedTuple):
    """Of a decoder."""

    vocabulary: int
    window: int  # tokens that it sees
    width: int
    layers: int
    heads: int


class Block(nn.Module):
    """x + interaction(norm(x)), then x + mlp(norm(x)); unlike a policy's, of what the others know by then."""

    def __init__(self, module: str, size: Size, hidden: int) -> None:
        """`module` is an interaction of the registry, `hidden` the width within the mlp."""
        super().__init__()
        width = size.width
        self.norm = nn.LayerNorm(width)
        self.interaction = causal(_make(module)(width, size.heads, width // size.heads))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        x = x + self.interaction(self.norm(x))
        return x + self.mlp(x)


class Decoder(nn.Module):
    """Logits of the next token: learned positions, pre-LN blocks, and the embedding once more as the head."""

    def __init__(self, module: str, size: Size, hidden: int) -> None:
        """`module` is an interaction of the registry, `hidden` the width within the blocks' mlp."""
        super().__init__()
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        self.position = nn.Parameter(torch.empty(size.window, size.width))
        self.blocks = nn.Sequential(*(Block(module, size, hidden) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width)
        for weight in (self.embedding.weight, self.position):
            nn.init.normal_(weight, std=size.width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) int, L <= window -> (B, L, vocabulary); those of a place depend on tokens up to it only."""
        x = self.embedding(tokens) + self.position[: tokens.shape[1]]
        x = x * x.shape[-1] ** 0.5  # as large as what the blocks add, while the head's logits start small
        return F.linear(self.norm(self.blocks(x)), self.embedding.weight)


def _mixed(d_model: int, n_heads: int, d_head: int) -> MixedAttention:
    half = n_heads // 2
    return MixedAttention(
        SelfAttention(d_model, half, d_head), HyperFeatureAttention(d_model, n_heads - half, d_head)
    )


# The registry's HFA has ranks as wide as the head, for rotations; there are none here.
_OWN: dict[str, Make] = {"hfa": HyperFeatureAttention, "sa_hfa": _mixed}


def _make(module: str) -> Make:
    return _OWN.get(module) or interaction(find(module))


def causal(module: nn.Module) -> nn.Module:
    """An interaction whose entities see themselves and those before them; in place."""
    for part in module.modules():
        if isinstance(part, Interaction):
            part.causal, part.exclude_self = True, False
    return module


def matched(module: str, size: Size) -> int:
    """The `hidden` at which a decoder learns as many numbers as SA's with four widths; allocates none."""

    def learned(name: str, hidden: int) -> int:
        with torch.device("meta"):
            return n_learned(Decoder(name, size, hidden))

    least = learned(module, 1)
    return 1 + round((learned("sa", _WIDER * size.width) - least) / (learned(module, 2) - least))
