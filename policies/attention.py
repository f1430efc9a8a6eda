"""Attention over the entities of a set: every entity adds up what the others do to it.

Three modules, called as `Interaction.forward` says; usable alone on any (batch, entities, width) tensor:
`HyperAttention(d_model=64, order=3)(x, mask)`. Their sums stand in `policies.sums`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import mul

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.embedding import Rotation
from policies.interaction import (
    Interaction,
    at_least_one,
    head_width,
    join_heads,
    one_of,
    turn_back,
    turned_heads,
)
from policies.sums import (
    SUM_SCALE,
    Reach,
    as_complex,
    as_real,
    both_allowed,
    every_pair,
    joined_is_cheaper,
    khatri_rao,
    linear_sum,
    product_sum,
    products,
    softmax_pair_sum,
    softmax_sum,
    softmax_weights,
)


class SelfAttention(Interaction):
    r"""Pairwise interactions, \(y_i = \sum_j f(x_i, x_j) w(x_j)\), multi-head.

    softmax: \(y_i = \sum_j \mathrm{softmax}_j(q_i \cdot k_j / \sqrt{d_h}) v_j\); a weighted mean, which
    cannot count. linear: \(y_i = c \sum_j (q_i \cdot k_j) v_j\) with a constant c; a sum.
    With a rotation R, q, k and v are turned to \(R(x) q, R(x) k, R(x) v\) and the result back by
    \(R(-x_i)\): it depends on displacements only.

    Two remedies for a mean that cannot count, with n the number of those that count for i: `count` hands
    log(1 + n) on beside the result; `sharpen` multiplies the scores by s log(1 + n), with s learned for each
    head, so that many others do not blur the few that matter.

    q comes from x; k and v from `memory` (by default x too).

    Cost: softmax, and linear with `visible`, O(L^2); linear without it O(L), where that is cheaper.

    Source: Vaswani et al. 2017 (softmax); Ustaomeroglu and Qu 2025, arXiv 2506.06179 (linear); Su et al.
    2021, arXiv 2104.09864 (rotation of q and k); Nakanishi 2025, arXiv 2501.19399 (`sharpen`); the rotation
    of v and the constant are ours.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int = 4,
        d_head: int | None = None,
        *,
        kind: str = "softmax",
        count: bool = False,
        sharpen: bool = False,
        exclude_self: bool = True,
        causal: bool = False,
    ) -> None:
        """Make the layer.

        Args:
            d_model: width of the input and output.
            n_heads: number of heads.
            d_head: width of q, k and v of a head; None: d_model / n_heads. Even where a rotation is used.
            kind: "softmax" or "linear".
            count: tell how many there are; of a softmax.
            sharpen: let a softmax be the sharper the more there are.
            exclude_self: leave j = i out of the sum.
            causal: leave j > i out of the sum, for sequences.

        Raises:
            ValueError: an unknown kind, or a size that is not allowed.
        """
        super().__init__(d_model, exclude_self=exclude_self, causal=causal)
        self.n_heads, self.d_head = n_heads, head_width(d_model, n_heads, d_head)
        self.kind = one_of("kind", kind, ("softmax", "linear"))
        if kind == "linear" and (count or sharpen):
            raise ValueError("count and sharpen must be False for kind 'linear': a sum counts by itself")
        self.count = nn.Linear(1, d_model, bias=False) if count else None
        # 1 for eight others at the start.
        self.sharpness = nn.Parameter(torch.full((n_heads, 1, 1), 1 / math.log(9))) if sharpen else None
        self.query = nn.Linear(d_model, n_heads * self.d_head, bias=False)
        self.key_value = nn.Linear(d_model, 2 * n_heads * self.d_head, bias=False)
        self.out = nn.Linear(n_heads * self.d_head, d_model)

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """The sum over j."""
        q, k, v = self._project(x, memory, rotation)
        if self.kind == "linear":
            return self._out(linear_sum(q, k, v, reach), rotation)
        pairs = reach.pairs()
        found = self._out(softmax_sum(self._sharpened(q, pairs), k, v, pairs), rotation)
        return found if self.count is None else found + self.count(_log_count(pairs, found)[:, 0])

    def _out(self, y: Tensor, rotation: Rotation) -> Tensor:
        return self.out(turn_back(join_heads(y), rotation.values))

    def _sharpened(self, q: Tensor, pairs: Tensor) -> Tensor:
        return q if self.sharpness is None else q * (self.sharpness * _log_count(pairs, q))

    def pair_weights(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """What multiplies v_j in the sum."""
        q, k, _ = self._project(x, memory, rotation)
        if self.kind == "softmax":
            pairs = reach.pairs()
            return softmax_weights(products(self._sharpened(q, pairs), k) * self.d_head**-0.5, pairs)
        scores = q @ k.transpose(-1, -2)
        return (SUM_SCALE * scores).masked_fill(~reach.pairs(), 0.0)

    def _project(self, x: Tensor, memory: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        # One product each: splitting the result of one would copy it, and its gradient.
        k, v = (F.linear(memory, weight) for weight in self.key_value.weight.chunk(2))
        q = turned_heads(self.query(x), self.n_heads, rotation.scores)
        k = turned_heads(k, self.n_heads, rotation.scores)
        return q, k, turned_heads(v, self.n_heads, rotation.values)


def _log_count(pairs: Tensor, like: Tensor) -> Tensor:
    """Log of 1 + how many count for each, (B, 1, L, 1)."""
    return pairs.sum(-1, keepdim=True).to(like.dtype).log1p()


class HyperFeatureAttention(Interaction):
    r"""Pairwise interactions that are products over features: position x type x policy.

    With the factors \(f^a_{ij} = b_a + q^a_i \cdot k^a_j / \sqrt{r_a}\) (b_a learned, 1 at the start: with
    \(b_a = 0\) and small scores all gradients would vanish) and the values
    \(v_j = \prod_a (W^a_V x_j + u^a)\) (u^a learned, 0 for the first and 1 for the others at the start):

    - linear: \(y_i = c \sum_j (\prod_a f^a_{ij}) v_j\);
    - softmax: \(y_i = \sum_j \mathrm{softmax}_j(\prod_a f^a_{ij}) v_j\);
    - softmax_product: \(y_i = \sum_j (\prod_a \mathrm{softmax}_j f^a_{ij}) v_j\), which only adds logits and
      so couples no features.

    With a rotation each factor's q and k are turned, and the product of the values.

    Cost: a product of score matrices, O(L^2 sum r_a), or one attention on Khatri-Rao features of width
    D = prod (r_a + 1): O(L D d_head) for linear without `visible`, O(L^2 D) for softmax; the cheaper one.

    Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179. That the softmax is of the product by default, the
    offsets and the rotation are ours.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int = 4,
        d_head: int | None = None,
        *,
        features: int | Sequence[tuple[int, int]] = 2,
        rank: int | Sequence[int] | None = None,
        kind: str = "softmax",
        exclude_self: bool = True,
        causal: bool = False,
    ) -> None:
        """Make the layer.

        Args:
            d_model: width of the input and output.
            n_heads: number of heads.
            d_head: width of the values of a head; None: d_model / n_heads.
            features: number of features, each with projections of the whole input; or for each the
                (start, stop) of its own slice of the input.
            rank: width of q and k of a feature, or one for each; None: d_head over the number of features. As
                the rotation's where there is one.
            kind: "softmax", "softmax_product" or "linear".
            exclude_self: leave j = i out of the sum.
            causal: leave j > i out of the sum, for sequences.

        Raises:
            ValueError: an unknown kind, or a size or slice that is not allowed.
        """
        super().__init__(d_model, exclude_self=exclude_self, causal=causal)
        self.n_heads, self.d_head = n_heads, head_width(d_model, n_heads, d_head)
        self.kind = one_of("kind", kind, ("softmax", "softmax_product", "linear"))
        self.slices = _slices(features, d_model)
        self.ranks = _ranks(rank, self.d_head, len(self.slices))
        widths = [stop - start for start, stop in self.slices]
        pairs = list(zip(widths, self.ranks, strict=True))
        self.queries = nn.ModuleList(nn.Linear(w, n_heads * r, bias=False) for w, r in pairs)
        self.keys = nn.ModuleList(nn.Linear(w, n_heads * r, bias=False) for w, r in pairs)
        self.values = nn.ModuleList(nn.Linear(w, n_heads * self.d_head) for w in widths)
        self.offset = nn.Parameter(torch.ones(len(widths), n_heads))
        self.out = nn.Linear(n_heads * self.d_head, d_model)
        _start_at_one(self.values)

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """The sum over j."""
        qs, ks = self._factors(x, memory, rotation)
        parts = [linear(part) for linear, part in zip(self.values, self._features(memory), strict=True)]
        v = turned_heads(reduce(mul, parts), self.n_heads, rotation.values)
        if self._joined_is_cheaper(x.shape[1], reach):
            y = self._joined_sum(qs, ks, v, reach)
        else:
            y = self._product(qs, ks, reach) @ v
        return self.out(turn_back(join_heads(y), rotation.values))

    def pair_weights(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """What multiplies v_j in the sum."""
        return self._product(*self._factors(x, memory, rotation), reach)

    def _features(self, x: Tensor) -> list[Tensor]:
        return [x[..., start:stop] for start, stop in self.slices]

    def _factors(self, x: Tensor, memory: Tensor, rotation: Rotation) -> tuple[list[Tensor], list[Tensor]]:
        """Vectors q and k of every feature, (B, H, L, r_a), q divided by sqrt(r_a)."""

        def parts(linears: nn.ModuleList, given: Tensor) -> list[Tensor]:
            vectors = [linear(part) for linear, part in zip(linears, self._features(given), strict=True)]
            return [turned_heads(vector, self.n_heads, rotation.scores) for vector in vectors]

        qs = [q * r**-0.5 for q, r in zip(parts(self.queries, x), self.ranks, strict=True)]
        return qs, parts(self.keys, memory)

    def _joined_is_cheaper(self, n: int, reach: Reach) -> bool:
        if self.kind == "softmax_product" or (self.kind == "linear" and reach.visible is not None):
            return False
        return joined_is_cheaper(n, self.ranks, self.d_head, linear=self.kind == "linear")

    def _joined_sum(self, qs: list[Tensor], ks: list[Tensor], v: Tensor, reach: Reach) -> Tensor:
        """One attention on Khatri-Rao features, whose plain product is the product of the factors."""
        ones = [torch.ones_like(k[..., :1]) for k in ks]
        offsets = [b[:, None, None] * one for b, one in zip(self.offset, ones, strict=True)]
        q = khatri_rao([torch.cat(pair, dim=-1) for pair in zip(offsets, qs, strict=True)])
        k = khatri_rao([torch.cat(pair, dim=-1) for pair in zip(ones, ks, strict=True)])
        if self.kind == "linear":
            return linear_sum(q, k, v, reach)
        return softmax_sum(q, k, v, reach.pairs(), scale=1.0)

    def _product(self, qs: list[Tensor], ks: list[Tensor], reach: Reach) -> Tensor:
        """The product of the factors' score matrices, (B, H, L, L)."""
        factors = [
            q @ k.transpose(-1, -2) + b[:, None, None] for q, k, b in zip(qs, ks, self.offset, strict=True)
        ]
        if self.kind == "softmax_product":
            return reduce(mul, [softmax_weights(f, reach.pairs()) for f in factors])
        product = reduce(mul, factors)
        if self.kind == "softmax":
            return softmax_weights(product, reach.pairs())
        return (SUM_SCALE * product).masked_fill(~reach.pairs(), 0.0)


class HyperAttention(Interaction):
    r"""Interactions of order n: \(y_i = \sum_{j_1 ... j_m} f(x_i, x_{j_1}, ...) w(x_{j_1}, ...)\), m = n - 1.

    Scores of low rank, \(a = \sum_r q_{ir} \prod_a k^a_{j_a r}\); values \(\prod_a v^a_{j_a}\), elementwise.
    linear: \(y_i = c^m \sum a\, v\); softmax (order 3 only): over all pairs (j, k), of \(a / \sqrt{R}\).

    With a rotation, neighbouring numbers are complex ones: products are complex products, and \(a\) is
    the real part of \(\sum_r q_r \prod_a \bar{k}^a_r\). A translation by t turns every k and v of wavelength
    \(\lambda\) by \(2 \pi t / \lambda\), so q is turned m times as far, and the result m times as far back:
    the phases cancel, and only displacements remain.

    Cost: linear O(L R d_head), with `visible` O(L^2 R d_head); softmax O(L^3), in tiles of at most
    `max_scores` scores, which are computed again in the backward pass.

    Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179; the first k and v as in plain attention and the
    others about a constant at the start: Roy et al. 2025 (2-simplicial attention), arXiv 2507.02754. Rotation
    and distinct entities are ours.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int = 4,
        d_head: int | None = None,
        *,
        order: int = 3,
        rank: int | None = None,
        kind: str = "softmax",
        shared_values: bool = False,
        distinct: bool = False,
        exclude_self: bool = True,
        causal: bool = False,
        max_scores: int = 2**22,
    ) -> None:
        """Make the layer.

        Args:
            d_model: width of the input and output.
            n_heads: number of heads.
            d_head: width of the values of a head; None: d_model / n_heads.
            order: n, the number of entities in an interaction, >= 3.
            rank: R, width of q and k; None: d_head. As the rotation's where there is one.
            kind: "softmax" (order 3 only) or "linear".
            shared_values: one projection of the values for all places, instead of one each.
            distinct: only tuples of different entities.
            exclude_self: leave tuples with i out of the sum.
            causal: leave tuples with an entity behind i out of the sum, for sequences.
            max_scores: scores that a softmax handles at once, for all heads; keys and values of their pairs,
                L^2 (R + d_head) numbers a head, come on top.

        Raises:
            ValueError: an unknown kind, or a size that is not allowed.
        """
        super().__init__(d_model, exclude_self=exclude_self, causal=causal)
        self.n_heads, self.d_head = n_heads, head_width(d_model, n_heads, d_head)
        self.kind = one_of("kind", kind, ("softmax", "linear"))
        self.order = at_least_one("order", order)
        if order < 3 or (kind == "softmax" and order > 3):
            allowed = ">= 3" if kind == "linear" else "3 for kind='softmax', whose cost grows as L^order"
            raise ValueError(f"order must be {allowed}, not {order}")
        self.rank = at_least_one("rank", self.d_head if rank is None else rank)
        self.max_scores = at_least_one("max_scores", max_scores)
        self.distinct, self.shared_values = distinct, shared_values
        n_values = 1 if shared_values else order - 1
        self.query = nn.Linear(d_model, n_heads * self.rank, bias=False)
        self.keys = nn.ModuleList(nn.Linear(d_model, n_heads * self.rank) for _ in range(order - 1))
        self.values = nn.ModuleList(nn.Linear(d_model, n_heads * self.d_head) for _ in range(n_values))
        self.out = nn.Linear(n_heads * self.d_head, d_model)
        _start_at_one(self.keys, 1 / self.rank)
        _start_at_one(self.values)

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """The sum over tuples."""
        q, ks, vs = self._project(x, memory, rotation)
        if self.kind == "softmax":
            y = softmax_pair_sum(q, ks, vs, reach, distinct=self.distinct, max_scores=self.max_scores)
        else:
            y = as_real(product_sum(q, ks, vs, reach, distinct=self.distinct))
        y = turn_back(join_heads(y), self._far(rotation.values))
        return self.out(y.to(x.dtype) if x.dtype != y.dtype and not torch.is_autocast_enabled() else y)

    def pair_weights(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """The mean of the pair weights' two marginals, of one entity after the other: L^2 scores at a time.

        Raises:
            ValueError: the order is not 3.
        """
        if self.order != 3:
            raise ValueError(f"weights are those of order 3, not {self.order}")
        q, ks, _ = self._project(x, memory, rotation)
        both, pairs, n = as_real(every_pair(*ks)).transpose(-1, -2), reach.pairs(), x.shape[1]
        found = x.new_empty(
            x.shape[0], self.n_heads, n, n
        )  # kept apart from the scores, which fragment memory
        for i in range(n):
            scores = as_real(q[:, :, i : i + 1]) @ both
            allowed = both_allowed(pairs[:, :, i : i + 1], distinct=self.distinct)
            if self.kind == "softmax":
                weights = softmax_weights(scores * self.rank**-0.5, allowed)
            else:
                weights = (SUM_SCALE**2 * scores).masked_fill(~allowed, 0.0)
            weights = weights.unflatten(-1, (n, n))
            found[:, :, i] = (weights.sum(-1) + weights.sum(-2)).squeeze(2) / 2
        return found

    def _far(self, angles: Tensor | None) -> Tensor | None:
        """Angles as many times as there are others in a tuple."""
        return None if angles is None else angles ** (self.order - 1)

    def _project(
        self, x: Tensor, memory: Tensor, rotation: Rotation
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Query, keys and values; complex where they are turned."""

        def project(linear: nn.Module, given: Tensor, angles: Tensor | None) -> Tensor:
            part = turned_heads(linear(given), self.n_heads, angles)
            return part if angles is None else as_complex(part)

        keys = [project(linear, memory, rotation.scores) for linear in self.keys]
        values = [project(linear, memory, rotation.values) for linear in self.values]
        query = project(self.query, x, self._far(rotation.scores))
        return query, keys, values * (self.order - 1 if self.shared_values else 1)


class MixedAttention(Interaction):
    """Some heads of one kind, some of another: the sum of several modules of the same width.

    Each module has its own output projection, so the sum is that of one projection of all heads together.

    Source: the best language model of Ustaomeroglu and Qu 2025 mixes self- and hyperfeature attention heads.
    """

    def __init__(self, *parts: Interaction) -> None:
        """Mix the parts.

        Raises:
            ValueError: none, or of different widths, or a part that is no `Interaction`.
        """
        for part in parts:
            if not isinstance(part, Interaction):
                raise ValueError(f"parts must be Interactions, not a {type(part).__name__}")
        widths = {part.d_model for part in parts}
        if len(widths) != 1:
            raise ValueError(f"parts must be one or more modules of one d_model, not of {sorted(widths)}")
        super().__init__(parts[0].d_model)
        self.parts = nn.ModuleList(parts)
        self.ordered = any(getattr(part, "ordered", False) for part in parts)

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """The sum of the parts' answers."""
        return reduce(
            torch.add, [part.answer(x, memory, rotation, own) for part, own in self._reaches(reach)]
        )

    def pair_weights(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """Those of all parts, (B, all their heads, L, L)."""
        found = [part.pair_weights(x, memory, rotation, own) for part, own in self._reaches(reach)]
        return torch.cat(found, dim=1)

    def _reaches(self, reach: Reach) -> list[tuple[Interaction, Reach]]:
        """The parts, each with its own flags."""
        parts = [part for part in self.parts if isinstance(part, Interaction)]
        return [(p, reach._replace(exclude_self=p.exclude_self, causal=p.causal)) for p in parts]


def _start_at_one(linears: nn.ModuleList, value: float = 1.0) -> None:
    """Biases such that a product starts near its first factor: 0 for that, `value` for the others."""
    for k, linear in enumerate(linears):
        assert isinstance(linear, nn.Linear)
        nn.init.constant_(linear.bias, value if k else 0.0)


def _slices(features: int | Sequence[tuple[int, int]], d_model: int) -> list[tuple[int, int]]:
    if isinstance(features, int):
        return [(0, d_model)] * at_least_one("features", features)
    try:
        slices = [(start, stop) for start, stop in features]
        good = bool(slices) and all(0 <= start < stop <= d_model for start, stop in slices)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"features must be (start, stop) slices of 0 ... {d_model}, not {features!r}")
    return slices


def _ranks(rank: int | Sequence[int] | None, d_head: int, n_features: int) -> list[int]:
    if rank is None or isinstance(rank, int):
        own = max(1, d_head // n_features)
        return [at_least_one("rank", own if rank is None else rank)] * n_features
    if not isinstance(rank, Sequence) or len(rank) != n_features:
        raise ValueError(f"rank must be one number or {n_features}, one for each feature, not {rank!r}")
    return [at_least_one("rank", r) for r in rank]
