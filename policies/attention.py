"""Attention over the entities of a set: every entity adds up what the others do to it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.embedding import rotate

# Divides every sum over entities in place of their number: a division by the number of entities
# would teach the network the count it was trained with.
SUM_SCALE = 1 / 4
# Up to this many entities a plain batched product is faster on a CPU than torch's fused attention
# (forward and backward, 4 threads: 2.7 times at 8 entities, 1.4 at 32, 0.8 at 64).
DENSE_MAX = 32


class SelfAttention(nn.Module):
    r"""Pairwise interactions, \(y_i = \sum_j f(x_i, x_j) w(x_j)\), multi-head.

    softmax: \(y_i = \sum_j \mathrm{softmax}_j(q_i \cdot k_j / \sqrt{d_h}) v_j\); a weighted mean, which
    cannot count. linear: \(y_i = c \sum_j (q_i \cdot k_j) v_j\) with a constant c; a sum.
    With a rotation R, q, k and v are turned to \(R(x) q, R(x) k, R(x) v\) and the result back by
    \(R(-x_i)\): it depends on displacements only.

    q comes from x; k and v from `memory` (by default x too).

    Cost: softmax and linear with `visible` O(L^2); linear without, O(L) where that is cheaper.

    Source: Vaswani et al. 2017 (softmax); Ustaomeroglu and Qu 2025, arXiv 2506.06179 (linear); Su et al.
    2021, arXiv 2104.09864 (rotation of q and k); the rotation of v and the constant are ours.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_head: int,
        *,
        kind: str = "softmax",
        exclude_self: bool = True,
    ) -> None:
        """Make the layer.

        Args:
            d_model: width of the input and output.
            n_heads: number of heads.
            d_head: width of q, k and v of a head; even where a rotation is used.
            kind: "softmax" or "linear".
            exclude_self: leave j = i out of the sum.

        Raises:
            ValueError: an unknown kind, or a size below 1.
        """
        super().__init__()
        if kind not in ("softmax", "linear"):
            raise ValueError(f"kind must be 'softmax' or 'linear', not {kind!r}")
        for name, value in (("d_model", d_model), ("n_heads", n_heads), ("d_head", d_head)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, not {value}")
        self.n_heads, self.d_head, self.kind, self.exclude_self = n_heads, d_head, kind, exclude_self
        self.query = nn.Linear(d_model, n_heads * d_head, bias=False)
        self.key_value = nn.Linear(d_model, 2 * n_heads * d_head, bias=False)
        self.out = nn.Linear(n_heads * d_head, d_model)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        visible: Tensor | None = None,
        rotation: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """What the others do to each entity.

        Args:
            x: (B, L, d_model); rows outside the mask must be finite.
            mask: (B, L) bool, True: the entity is there.
            visible: (B, L, L) bool, True: i sees j; None: each sees all.
            rotation: (B, L, d_head / 2) complex, of each entity's position, see `Rotary`.
            memory: (B, L, d_model), what is seen of each entity; None: x.

        Returns:
            (B, L, d_model); the output bias alone for an entity that sees no other.
        """
        query = self.query(x)
        key_value = self.key_value(x if memory is None else memory)
        if rotation is not None:
            query, key_value = rotate(query, rotation), rotate(key_value, rotation)
        (q,) = split_heads(query, 1, self.n_heads)
        k, v = split_heads(key_value, 2, self.n_heads)
        if self.kind == "softmax":
            y = softmax_sum(q, k, v, allowed_pairs(mask, visible, self.exclude_self))
        else:
            y = linear_sum(q, k, v, mask, visible, self.exclude_self)
        y = y.transpose(1, 2).flatten(2)
        if rotation is not None:
            y = rotate(y, rotation.conj())
        return self.out(y)


def split_heads(x: Tensor, parts: int, n_heads: int) -> tuple[Tensor, ...]:
    """(B, L, parts * H * d) as `parts` tensors (B, H, L, d)."""
    return x.unflatten(-1, (parts, n_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def allowed_pairs(mask: Tensor, visible: Tensor | None, exclude_self: bool) -> Tensor:
    """(B, 1, L, L) bool: j counts for i."""
    pairs = mask[:, None, :].expand(-1, mask.shape[1], -1)
    if visible is not None:
        pairs = pairs & visible
    if exclude_self:
        pairs = pairs & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    return pairs[:, None]


def softmax_sum(q: Tensor, k: Tensor, v: Tensor, pairs: Tensor) -> Tensor:
    """Softmax attention, all (B, H, L, d); 0 where no pair is allowed."""
    some = pairs.any(dim=-1, keepdim=True)
    # A row with no pair would be 0 / 0: let it see all, then drop what it saw.
    open_pairs = pairs | ~some
    if q.shape[-2] <= DENSE_MAX:
        scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        y = scores.masked_fill(~open_pairs, -math.inf).softmax(dim=-1) @ v
    else:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=open_pairs)
    return torch.where(some, y, 0.0)


def linear_sum(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, visible: Tensor | None, exclude_self: bool
) -> Tensor:
    """Linear attention, all (B, H, L, d), in the cheaper of its two exact forms."""
    n, d = q.shape[-2:]
    q = q * SUM_SCALE
    if visible is not None or n <= d:
        pairs = allowed_pairs(mask, visible, exclude_self)
        return (q @ k.transpose(-1, -2)).masked_fill(~pairs, 0.0) @ v
    # (q k^T) v = q (k^T v): linear in the number of entities.
    k = k.masked_fill(~mask[:, None, :, None], 0.0)
    y = q @ (k.transpose(-1, -2) @ v)
    if exclude_self:
        y = y - (q * k).sum(-1, keepdim=True) * v
    return y
