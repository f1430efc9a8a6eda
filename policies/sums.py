"""The sums over entities that all attention modules are made of, each in its cheapest exact form.

Tensors are (B, H, L, d): sets, heads, entities, width. Who counts for whom is told by a mask (B, L), perhaps
visible (B, L, L), and the flags `exclude_self` and `causal` (only j <= i counts for i), see `Reach`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import chain, combinations
from operator import mul
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# Divides every sum over entities in place of their number: a division by the number of entities
# would teach the network the count it was trained with.
SUM_SCALE = 1 / 4
# Up to this many entities a plain batched product is faster on a CPU than torch's fused attention
# (forward and backward, 4 threads: 2.7 times at 8 entities, 1.4 at 32, 0.8 at 64).
DENSE_MAX = 32
# Entities that a causal linear sum handles at once: within a chunk pair by pair, across chunks by a state.
CHUNK = 64


class Reach(NamedTuple):
    """Who counts for whom."""

    mask: Tensor  # (B, L) bool, True: the entity is there
    visible: Tensor | None = None  # (B, L, L) bool, True: i sees j
    exclude_self: bool = True
    causal: bool = False

    def pairs(self) -> Tensor:
        """(B, 1, L, L) bool: j counts for i."""
        n = self.mask.shape[1]
        pairs = self.mask[:, None, :].expand(-1, n, -1)
        if self.visible is not None:
            pairs = pairs & self.visible
        if self.exclude_self:
            pairs = pairs & ~torch.eye(n, dtype=torch.bool, device=self.mask.device)
        if self.causal:
            pairs = pairs.tril()
        return pairs[:, None]

    def present(self, x: Tensor) -> Tensor:
        """Tensor x (B, H, L, d), zero where no entity is."""
        return x.masked_fill(~self.mask[:, None, :, None], 0.0)


def softmax_sum(q: Tensor, k: Tensor, v: Tensor, pairs: Tensor, scale: float | None = None) -> Tensor:
    """Softmax attention (B, H, L, d_v); 0 where no pair is allowed.

    Args:
        q: (B, H, L, d) queries.
        k: (B, H, K, d) keys.
        v: (B, H, K, d_v) values.
        pairs: (B, 1, L, K) bool, True: allowed.
        scale: of the scores; None: 1 / sqrt(d).
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if k.shape[-2] <= DENSE_MAX:
        return softmax_weights(products(q, k) * scale, pairs) @ v
    some = pairs.any(dim=-1, keepdim=True)
    # torch's CPU kernel needs one width for q, k and v, and else materialises the scores.
    width, d_v = max(q.shape[-1], v.shape[-1]), v.shape[-1]
    q, k, v = (F.pad(t, (0, width - t.shape[-1])) for t in (q, k, v))
    # A row with no pair would be 0 / 0: let it see all, then drop what it saw.
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=pairs | ~some, scale=scale)[..., :d_v]
    return torch.where(some, y, 0.0)


def products(q: Tensor, k: Tensor) -> Tensor:
    """Of every pair, q_i . k_j, (B, H, L, K)."""
    # Laid out before it is transposed: the product would copy what is neither, and slowly.
    return q @ k.contiguous().transpose(-1, -2)


def softmax_weights(scores: Tensor, pairs: Tensor) -> Tensor:
    """Softmax over the last axis of the pairs that are allowed; 0 where none is."""
    if not 0 < scores.shape[-1] <= DENSE_MAX:
        some = pairs.any(dim=-1, keepdim=True)
        return torch.where(some, scores.masked_fill(~(pairs | ~some), -math.inf).softmax(dim=-1), 0.0)
    # torch's own takes a CPU five times as long over so few numbers.
    scores = scores.masked_fill(~pairs, -math.inf)
    most = scores.detach().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    shares = (scores - most).exp()
    # The sum is 1 or more, the largest share being 1; 0 where no pair is allowed.
    return shares / shares.sum(dim=-1, keepdim=True).clamp(min=1.0)


def linear_sum(q: Tensor, k: Tensor, v: Tensor, reach: Reach) -> Tensor:
    """Linear attention (B, H, L, d_v), c sum_j (q_i . k_j) v_j, in the cheapest of its exact forms."""
    n, d = k.shape[-2:]
    q = q * SUM_SCALE
    # Pair by pair L^2 (d + d_v); through the state k^T v it is 2 L d d_v.
    dense = n * (d + v.shape[-1]) <= 2 * d * v.shape[-1]
    if reach.visible is not None or dense:
        return products(q, k).masked_fill(~reach.pairs(), 0.0) @ v
    k = reach.present(k)
    if reach.causal:
        return _causal_sum(q, k, v, reach.exclude_self)
    y = q @ (k.transpose(-1, -2) @ v)
    if reach.exclude_self:
        y = y - (q * k).sum(-1, keepdim=True) * v
    return y


def _causal_sum(q: Tensor, k: Tensor, v: Tensor, exclude_self: bool) -> Tensor:
    """sum_{j <= i} (q_i . k_j) v_j in time linear in L: pairs within a chunk, a state for those before."""
    n = q.shape[-2]
    q, k, v = (F.pad(t, (0, 0, 0, -n % CHUNK)).unflatten(-2, (-1, CHUNK)) for t in (q, k, v))
    state = k.transpose(-1, -2) @ v
    before = state.cumsum(dim=2) - state
    within = (q @ k.transpose(-1, -2)).tril(-1 if exclude_self else 0)
    return (q @ before + within @ v).flatten(2, 3)[:, :, :n]


def khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """The row-wise Kronecker product (..., d_1 * ... * d_A) of factors (..., d_a)."""
    return reduce(lambda a, b: (a[..., :, None] * b[..., None, :]).flatten(-2), factors)


def joined_is_cheaper(n: int, ranks: Sequence[int], d_v: int, *, linear: bool) -> bool:
    """Whether one attention on Khatri-Rao features costs less than a product of score matrices."""
    joined = math.prod([rank + 1 for rank in ranks])
    if linear:
        # Products and sums; the features are written and read some five times, the scores once each.
        return joined * (2 * d_v + 5 * _PASS) < n * (sum(ranks) + d_v + _PASS * len(ranks))
    # Both are O(L^2); the score matrices are slow where they no longer fit the cache.
    return n > 8 * joined


# A pass over memory (a product, a softmax, a mask) costs about as much as so many products and sums.
_PASS = 32


def product_sum(
    q: Tensor, ks: Sequence[Tensor], vs: Sequence[Tensor], reach: Reach, *, distinct: bool
) -> Tensor:
    r"""A sum over tuples, \(c^m \sum_{j_1 ... j_m} \sum_r q_{ir} \prod_a k^a_{j_a r} \prod_a v^a_{j_a}\).

    Of complex q and k the score is the real part of \(\sum_r q_r \prod_a \bar{k}^a_r\).

    Args:
        q: (B, H, L, R).
        ks: m tensors like q.
        vs: m tensors (B, H, L, d_v).
        reach: who counts for whom.
        distinct: only tuples of different entities.

    Returns:
        (B, H, L, d_v), complex if vs are.
    """
    if len(ks) == 2 and reach.visible is not None and _dense_pairs_are_cheaper(q, vs[0]):
        return _dense_pair_sum(q, ks, vs, reach, distinct)
    if not q.is_complex():
        q, *ks = (t.to(torch.promote_types(t.dtype, vs[0].dtype)) for t in (q, *ks))
        return _tuple_sum(q, ks, vs, reach, distinct)
    conjugates = [k.conj() for k in ks]
    if not vs[0].is_complex():
        return _tuple_sum(q, conjugates, [v.to(q.dtype) for v in vs], reach, distinct).real
    # The real part of a score is half the sum of it and its conjugate.
    one = _tuple_sum(q, conjugates, vs, reach, distinct)
    return (one + _tuple_sum(q.conj(), ks, vs, reach, distinct)) / 2


def _dense_pairs_are_cheaper(q: Tensor, v: Tensor) -> bool:
    """Whether L^3 (R + d_v) is less than L^2 R d_v for each of two sums; complex products count four."""
    n, width, d_v = q.shape[-2], as_real(q).shape[-1], as_real(v).shape[-1]
    return n * (width + d_v) <= 2 * width * d_v


def _dense_pair_sum(
    q: Tensor, ks: Sequence[Tensor], vs: Sequence[Tensor], reach: Reach, distinct: bool
) -> Tensor:
    """`product_sum` of order 3 from all its scores, for small sets."""
    scores = as_real(q) @ as_real(every_pair(*ks)).transpose(-1, -2)
    weights = scores.masked_fill(~both_allowed(reach.pairs(), distinct=distinct), 0.0)
    y = SUM_SCALE**2 * (weights @ as_real(every_pair(*vs)))
    return as_complex(y) if vs[0].is_complex() else y


def _tuple_sum(q: Tensor, ks: Sequence[Tensor], vs: Sequence[Tensor], reach: Reach, distinct: bool) -> Tensor:
    """`product_sum` without conjugates.

    The sum factorises into sums over single entities. With `distinct`, tuples with repeats are taken off by
    inclusion and exclusion over the partitions of the m places, each block of which holds one entity; those
    with i itself by leaving blocks to i. So all is matrix products of L R d_v, but where everybody
    has sums of their own (`visible`, `causal`), which take L^2 R d_v, or a memory of L R d_v.
    """
    m = len(ks)
    blocks = sorted({block for partition in partitions(m) for block in partition}, key=len)
    blocks = [block for block in blocks if distinct or len(block) == 1]
    k = {block: reach.present(reduce(mul, [ks[a] for a in block])) for block in blocks}
    v = {block: reduce(mul, [vs[a] for a in block]) for block in blocks}
    shared = reach.visible is None and not reach.causal
    sums = {block: _outer_sum(k[block], v[block], reach) for block in blocks}
    terms = []
    for partition in partitions(m) if distinct else [tuple((a,) for a in range(m))]:
        sign = math.prod([_sign(len(block)) for block in partition])
        for own in _subsets(partition) if shared and reach.exclude_self else [()]:
            weights = reduce(mul, [k[block] for block in own], q)
            others = [sums[block] for block in partition if block not in own]
            y = weights.sum(-1, keepdim=True) if not others else _row_times(weights, reduce(mul, others))
            terms.append(sign * (-1) ** len(own) * reduce(mul, [v[block] for block in own], y))
    return SUM_SCALE**m * reduce(torch.add, terms)


def _row_times(rows: Tensor, matrices: Tensor) -> Tensor:
    """Rows (B, H, L, R) times one matrix (B, H, R, d) for all entities, or one (B, H, L, R, d) for each."""
    if matrices.ndim == rows.ndim:
        return rows @ matrices
    return (rows[..., None, :] @ matrices).squeeze(-2)


def _outer_sum(k: Tensor, v: Tensor, reach: Reach) -> Tensor:
    """sum_j k_j v_j^T: over all (B, H, R, d_v), or over those that count for i (B, H, L, R, d_v)."""
    if reach.visible is None and not reach.causal:
        return k.transpose(-1, -2) @ v
    outer = k[..., :, None] * v[..., None, :]
    if reach.visible is None:
        total = outer.cumsum(dim=2)
        return total - outer if reach.exclude_self else total
    flat = as_real(outer.flatten(-2))
    total = reach.pairs().to(flat.dtype) @ flat
    return (as_complex(total) if outer.is_complex() else total).unflatten(-1, (k.shape[-1], -1))


def _sign(size: int) -> int:
    """The weight of a block of so many places in an inclusion and exclusion over partitions."""
    return (-1) ** (size - 1) * math.factorial(size - 1)


def _subsets(items: Sequence[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], ...]]:
    return chain.from_iterable(combinations(items, size) for size in range(len(items) + 1))


def partitions(m: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way to split range(m) into blocks."""
    if m == 0:
        yield ()
        return
    last = m - 1
    for smaller in partitions(last):
        yield (*smaller, (last,))
        for b, block in enumerate(smaller):
            yield (*smaller[:b], (*block, last), *smaller[b + 1 :])


def softmax_pair_sum(
    q: Tensor,
    ks: Sequence[Tensor],
    vs: Sequence[Tensor],
    reach: Reach,
    *,
    distinct: bool,
    max_scores: int,
) -> Tensor:
    r"""Softmax attention over pairs of entities, of keys \(k^1_j k^2_k\) and values \(v^1_j v^2_k\).

    Args:
        q: (B, H, L, R), or complex numbers (B, H, L, R / 2).
        ks: two like q.
        vs: two of (B, H, L, d_v), or complex numbers (B, H, L, d_v / 2).
        reach: who counts for whom; both of a pair must.
        distinct: leave pairs of an entity with itself out.
        max_scores: scores handled at once; where there are more, sets and entities are handled in tiles, and
            computed again in the backward pass.

    Returns:
        (B, H, L, d_v), real; 0 where no pair is allowed.
    """
    sets, heads, n, _ = q.shape
    each = heads * n**3
    if sets * each <= max_scores:
        return _pair_tile(q, ks, vs, reach.pairs(), distinct)
    n_sets, rows = max(1, max_scores // each), max(1, min(n, max_scores // (heads * n * n)))
    tile = _pair_tile if rows >= _MANY_ROWS else _row_tile
    # Written in place: small results kept between large scores would fragment the allocator's memory.
    out = torch.empty_like(as_real(vs[0]))
    for b in range(0, sets, n_sets):
        q_s, k1, k2, v1, v2, pairs = (t[b : b + n_sets] for t in (q, *ks, *vs, reach.pairs()))
        for i in range(0, n, rows):
            few = slice(i, i + rows)
            out[b : b + n_sets, :, few] = checkpoint(
                tile, q_s[:, :, few], (k1, k2), (v1, v2), pairs[:, :, few], distinct, use_reentrant=False
            )
    return out


def _pair_tile(
    q: Tensor, ks: Sequence[Tensor], vs: Sequence[Tensor], pairs: Tensor, distinct: bool
) -> Tensor:
    both = both_allowed(pairs, distinct=distinct)
    return softmax_sum(as_real(q), as_real(every_pair(*ks)), as_real(every_pair(*vs)), both)


def _row_tile(q: Tensor, ks: Sequence[Tensor], vs: Sequence[Tensor], pairs: Tensor, distinct: bool) -> Tensor:
    """The same for a few entities: without a key for each pair, but with all scores."""
    n = ks[0].shape[2]
    width = as_real(q).shape[-1]
    first = as_real(q[..., :, None, :] * ks[0].conj()[..., None, :, :])
    scores = first.flatten(2, 3) @ as_real(ks[1]).transpose(-1, -2)
    scores = scores.unflatten(2, (-1, n)).flatten(-2) * width**-0.5
    weights = softmax_weights(scores, both_allowed(pairs, distinct=distinct)).unflatten(-1, (n, n))
    second = weights.flatten(2, 3) @ as_real(vs[1])
    second = as_complex(second) if vs[1].is_complex() else second
    return as_real((second.unflatten(2, (-1, n)) * vs[0][..., None, :, :]).sum(-2))


# From so many entities in a tile on, a key for each pair pays, and torch's fused attention with it.
_MANY_ROWS = 16


def both_allowed(pairs: Tensor, *, distinct: bool) -> Tensor:
    """Which pairs (j, k) of entities count for i, (B, 1, L, L * L), from which entities do."""
    both = pairs[..., :, None] & pairs[..., None, :]
    if distinct:
        both = both & ~torch.eye(both.shape[-1], dtype=torch.bool, device=pairs.device)
    return both.flatten(-2)


def every_pair(x: Tensor, y: Tensor) -> Tensor:
    """Products x_j * y_k of all pairs, (B, H, L * L, d)."""
    return (x[..., :, None, :] * y[..., None, :, :]).flatten(2, 3)


def as_complex(x: Tensor) -> Tensor:
    """Neighbouring numbers (..., d) as complex ones (..., d / 2), of single precision at least."""
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())


def as_real(x: Tensor) -> Tensor:
    """Complex numbers (..., d / 2) as (..., d); real ones as they are."""
    return torch.view_as_real(x.resolve_conj()).flatten(-2) if x.is_complex() else x
