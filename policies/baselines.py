"""Interactions without attention, to compare with."""

from __future__ import annotations

from torch import Tensor, nn

from policies.attention import SUM_SCALE, allowed_pairs, split_heads
from policies.embedding import rotate


class DeepSets(nn.Module):
    r"""A sum over the others in which nobody is asked: \(y_i = c \sum_j w(x_j)\).

    With a rotation, \(w(x_j)\) is seen from where i stands. It is linear attention whose every score is 1.

    Source: Zaheer et al. 2017, arXiv 1703.06114 (the sum); the rotation is ours.
    """

    def __init__(self, d_model: int, n_heads: int, d_head: int) -> None:
        """`n_heads` times `d_head` is the width of the summed vectors."""
        super().__init__()
        self.n_heads = n_heads
        self.value = nn.Linear(d_model, n_heads * d_head, bias=False)
        self.out = nn.Linear(n_heads * d_head, d_model)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        visible: Tensor | None = None,
        rotation: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """As `SelfAttention.forward`."""
        value = self.value(x if memory is None else memory)
        if rotation is not None:
            value = rotate(value, rotation)
        (v,) = split_heads(value, 1, self.n_heads)
        y = SUM_SCALE * (allowed_pairs(mask, visible, exclude_self=True).to(v.dtype) @ v)
        y = y.transpose(1, 2).flatten(2)
        if rotation is not None:
            y = rotate(y, rotation.conj())
        return self.out(y)


class NoInteraction(nn.Module):
    """Nothing: every entity acts on its own row alone."""

    def __init__(self, d_model: int, n_heads: int, d_head: int) -> None:
        """Takes the arguments of the others and keeps none."""
        super().__init__()

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        visible: Tensor | None = None,
        rotation: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """Zeros like x."""
        return x.new_zeros(x.shape)
