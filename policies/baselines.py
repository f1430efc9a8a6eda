"""Interactions to compare attention with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policies.embedding import Rotation, rotate
from policies.interaction import (
    Interaction,
    at_least_one,
    head_width,
    join_heads,
    split_heads,
    turn_back,
    turned_heads,
)
from policies.sums import SUM_SCALE, Reach, softmax_sum


class DeepSets(Interaction):
    r"""A sum over the others in which nobody is asked: \(y_i = c \sum_j w(x_j)\).

    With a rotation, \(w(x_j)\) is seen from where i stands. It is linear attention whose every score is 1.
    With `mean`, the mean over the others instead: a mean field.

    Source: Zaheer et al. 2017, arXiv 1703.06114 (the sum); Yang et al. 2018, arXiv 1802.05438 (the mean over
    neighbours; of what is seen of them here, where theirs is of actions); the rotation is ours.
    """

    def __init__(
        self, d_model: int, n_heads: int = 4, d_head: int | None = None, *, mean: bool = False
    ) -> None:
        """`n_heads` times `d_head` is the width of the summed vectors, by default d_model."""
        super().__init__(d_model)
        self.n_heads, self.mean = n_heads, mean
        width = n_heads * head_width(d_model, n_heads, d_head)
        self.value = nn.Linear(d_model, width, bias=False)
        self.out = nn.Linear(width, d_model)

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """The sum, or mean, over j."""
        v = turned_heads(self.value(memory), self.n_heads, rotation.values)
        y = join_heads(self._shares(reach, v.dtype) @ v)
        return self.out(turn_back(y, rotation.values))

    def pair_weights(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """The same for all, (B, 1, L, L)."""
        return self._shares(reach, x.dtype)

    def _shares(self, reach: Reach, dtype: torch.dtype) -> Tensor:
        pairs = reach.pairs().to(dtype)
        return pairs / pairs.sum(-1, keepdim=True).clamp(min=1) if self.mean else SUM_SCALE * pairs


class MLP(Interaction):
    """A plain network on a list: what is seen of the first others side by side, then zeros.

    It can tell any function of up to `n_others` others, and learns it for each place in the list anew;
    those further down it does not see. The others are listed in the order of their rows, each seen from
    where i stands.
    """

    ordered = True  # unlike a set's

    def __init__(
        self, d_model: int, n_heads: int = 4, d_head: int | None = None, *, n_others: int = 15
    ) -> None:
        """`d_head` is the width in which each other is listed, by default d_model / n_heads."""
        super().__init__(d_model)
        width = head_width(d_model, n_heads, d_head)
        self.n_others = at_least_one("n_others", n_others)
        self.value = nn.Linear(d_model, width)
        self.hidden = nn.Linear(d_model + n_others * width, d_model)
        self.out = nn.Linear(d_model, d_model)

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """The network's answer to the list."""
        # With as many absent ones behind, so that the list is full.
        pairs = nn.functional.pad(reach.pairs()[:, 0], (0, self.n_others))
        # Those that count first, in their order.
        turn = torch.arange(2 * pairs.shape[-1], device=x.device).unflatten(0, (2, -1))
        first = torch.where(pairs, turn[0], turn[1]).topk(self.n_others, largest=False).indices
        there = pairs.gather(-1, first)
        v = join_heads(turned_heads(self.value(memory), 1, rotation.values))
        v = nn.functional.pad(v, (0, 0, 0, self.n_others))
        at = torch.arange(x.shape[0], device=x.device)[:, None, None]
        seen = torch.where(there[..., None], v[at, first], 0.0).flatten(2)  # (B, L, n_others * width)
        seen = turn_back(seen, rotation.values)
        return self.out(nn.functional.gelu(self.hidden(torch.cat([x, seen], dim=-1))))


class InducedAttention(Interaction):
    """Softmax attention through a few learned points, which ask the set and are asked in its place.

    The points of an entity ask what it sees, itself included, from where it stands: O(m L^2) for m points.
    Where all see all and have no positions, the points are the same for all: O(m L).

    Source: Lee et al. 2019, arXiv 1810.00825 (the induced set attention block); own points for each entity,
    for limited sight and positions, are ours.
    """

    def __init__(
        self, d_model: int, n_heads: int = 4, d_head: int | None = None, *, n_points: int = 8
    ) -> None:
        """`n_points` is m; `d_head` the width of a head, by default d_model / n_heads."""
        super().__init__(d_model, exclude_self=False)
        self.n_heads, self.d_head = n_heads, head_width(d_model, n_heads, d_head)
        self.n_points = at_least_one("n_points", n_points)
        width = n_heads * self.d_head
        self.points = nn.Parameter(torch.randn(n_points, width))
        self.key_value = nn.Linear(d_model, 2 * width, bias=False)
        self.query = nn.Linear(d_model, width, bias=False)
        self.point_key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, d_model)

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """What the points have to say."""
        found = self._ask(memory, rotation, reach)  # (B, L or 1, m, H * d)
        q = self.query(x).unflatten(-1, (self.n_heads, -1))[..., None, :]
        k, v = (
            t.unflatten(-1, (self.n_heads, -1)).transpose(2, 3)
            for t in self.point_key_value(found).chunk(2, dim=-1)
        )
        weights = ((q @ k.transpose(-1, -2)) * self.d_head**-0.5).softmax(dim=-1)  # (B, L, H, 1, m)
        y = (weights @ v).squeeze(-2).flatten(-2)
        return self.out(torch.where(reach.mask[..., None], y, 0.0))

    def _ask(self, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        k, v = self.key_value(memory).chunk(2, dim=-1)
        sets, n, width = k.shape
        shared = reach.visible is None and rotation == (None, None)
        points = self.points.expand(sets, 1 if shared else n, self.n_points, width)
        points = _turn_each(points, rotation.scores)
        pairs = reach.mask[:, None, None] if shared else reach.pairs()
        pairs = pairs.repeat_interleave(self.n_points, dim=2)
        q = split_heads(points.flatten(1, 2), self.n_heads)
        k = turned_heads(k, self.n_heads, rotation.scores)
        v = turned_heads(v, self.n_heads, rotation.values)
        found = join_heads(softmax_sum(q, k, v, pairs)).unflatten(1, (-1, self.n_points))
        return _turn_each(found, None if rotation.values is None else rotation.values.conj())


def _turn_each(x: Tensor, angles: Tensor | None) -> Tensor:
    """Vectors (B, L, m, n * d) turned by the angles of their entity."""
    if angles is None:
        return x
    return rotate(x.flatten(2), angles).view(x.shape)


class NoInteraction(Interaction):
    """Nothing: every entity acts on its own row alone."""

    def __init__(self, d_model: int, n_heads: int = 4, d_head: int | None = None) -> None:
        """Takes the arguments of the others and keeps none."""
        super().__init__(d_model)

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """Zeros like x."""
        return x.new_zeros(x.shape)
