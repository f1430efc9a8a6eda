r"""A policy's linear self-attention as the theory writes it, \((X C X^T) X W_V\).

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179, as third-party notes tell of its Theorem 4.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policies import SelfAttention
from policies.registry import find, interaction
from policies.sums import SUM_SCALE
from train.theory.learning import SETS, Draw


class Layer(nn.Module):
    r"""One head of an interaction on bare embeddings, (B, L, d) -> (B, L), and its readout w.

    Self-attention begins as Theorem 4.4 has it: C = 0, and a positive value for every entity. \(C\) is
    learned as the query's weights; keys, values and output stay the identity, but for the sum's constant
    that the keys undo. Others begin as they do.
    """

    def __init__(self, name: str, embedding: Tensor, values: Tensor | None = None) -> None:
        """Make the layer.

        Args:
            name: an interaction of the registry.
            embedding: (S, d), of every entity there is.
            values: (S,) positive, what the readout w makes of each at the start, and then learns; None: 1,
                for good.
        """
        super().__init__()
        d = embedding.shape[1]
        self.attention = interaction(find(name))(d, 1, d)
        self.read = nn.Linear(d, 1, bias=False)
        if isinstance(self.attention, SelfAttention):
            self._begin(self.attention)
        self.to(embedding.dtype)
        if isinstance(self.attention, SelfAttention):
            of_each = torch.ones(len(embedding)).to(embedding) if values is None else values
            self.read.weight.requires_grad_(values is not None)
            self.read.weight.data = (torch.linalg.pinv(embedding) @ of_each)[None]

    @staticmethod
    def _begin(attention: SelfAttention) -> None:
        one = torch.eye(attention.d_model)
        with torch.no_grad():
            attention.query.weight.zero_()
            attention.key_value.weight.copy_(torch.cat([one / SUM_SCALE, one]))
            attention.out.weight.copy_(one)
            attention.out.bias.zero_()
        for parameter in (attention.key_value.weight, *attention.out.parameters()):
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """An answer for each entity."""
        return self.read(self.attention(x)).squeeze(-1)

    @property
    def c(self) -> Tensor | None:
        """C, (d, d); None of an interaction that has none."""
        if not isinstance(self.attention, SelfAttention):
            return None
        key = self.attention.key_value.weight.chunk(2)[0]
        return SUM_SCALE * (self.attention.query.weight.T @ key).detach()


def descend(layer: nn.Module, draw: Draw, steps: int, rate: float) -> list[float]:
    """Plain gradient descent on the mean squared error of new sets at every step; the errors.

    Args:
        layer: what learns.
        draw: sets of the task.
        steps: of descent.
        rate: of the gradient.
    """
    optimizer = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], lr=rate)
    errors = []
    for _ in range(steps):
        x, y = draw(SETS)
        loss = (layer(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(loss.detach()))
    return errors


def largest_rate(n_entities: int, n_kinds: int) -> float:
    r"""A step at which `descend` is stable, for uniform kinds in orthonormal embeddings.

    An entity's error moves a row of C by \(2 r / (B L)\), with r the L - 1 others it has met. In a step a
    row is met by B L / S entities: each adds \(|r|^2 = L - 1\), and what all share, \((L - 1)^2 / S\).
    """
    met = SETS * n_entities / n_kinds
    others = n_entities - 1
    return SETS * n_entities / (2 * (met * others**2 / n_kinds + others))
