"""The attention modules as they are defined: one einsum over all tuples of entities, slow and obvious.

What the fast forms are held against, by the tests and by `interact-env speed --attention`.
"""

from __future__ import annotations

from functools import reduce
from operator import and_, mul

import torch
from torch import Tensor

from policies.attention import HyperAttention, HyperFeatureAttention, SelfAttention
from policies.embedding import Rotation
from policies.interaction import Interaction
from policies.sums import SUM_SCALE, as_complex, as_real


def define(
    module: Interaction,
    x: Tensor,
    mask: Tensor | None = None,
    visible: Tensor | None = None,
    rotation: Rotation | None = None,
    memory: Tensor | None = None,
) -> Tensor:
    """What `module(x, mask, visible, rotation, memory)` must be; memory grows as L^order.

    Raises:
        TypeError: the module has no definition here.
    """
    mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    rotation = Rotation(None, None) if rotation is None else rotation
    memory = x if memory is None else memory
    pairs = mask[:, None, :].expand(-1, x.shape[1], -1)
    pairs = pairs if visible is None else pairs & visible
    apart = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    pairs = pairs & apart if module.exclude_self else pairs
    pairs = pairs.tril() if module.causal else pairs
    if isinstance(module, SelfAttention):
        y = _self_attention(module, x, memory, rotation, pairs)
    elif isinstance(module, HyperFeatureAttention):
        y = _hyper_feature_attention(module, x, memory, rotation, pairs)
    elif isinstance(module, HyperAttention):
        y = _hyper_attention(module, x, memory, rotation, pairs)
    else:
        raise TypeError(f"{type(module).__name__} has no definition here")
    found = module.out(y.flatten(2))
    if isinstance(module, SelfAttention) and module.count is not None:
        found = found + (1 + pairs.sum(-1, keepdim=True)).to(found.dtype).log() @ module.count.weight.T
    return found


def _self_attention(
    module: SelfAttention, x: Tensor, memory: Tensor, rotation: Rotation, pairs: Tensor
) -> Tensor:
    q = _turned(_heads(module.query(x), module), rotation.scores)
    k, v = (_heads(t, module) for t in module.key_value(memory).chunk(2, dim=-1))
    scores = torch.einsum("bihd,bjhd->bhij", q, _turned(k, rotation.scores))
    if module.kind == "linear":
        return _sum_over_pairs(SUM_SCALE * scores * pairs[:, None], v, rotation)
    if module.sharpness is not None:
        scores = scores * module.sharpness * (1 + pairs.sum(-1)).to(scores.dtype).log()[:, None, :, None]
    return _sum_over_pairs(_softmax(scores / module.d_head**0.5, pairs[:, None]), v, rotation)


def _hyper_feature_attention(
    module: HyperFeatureAttention, x: Tensor, memory: Tensor, rotation: Rotation, pairs: Tensor
) -> Tensor:
    factors, values = [], []
    for a, (start, stop) in enumerate(module.slices):
        q = _turned(_heads(module.queries[a](x[..., start:stop]), module), rotation.scores)
        k = _turned(_heads(module.keys[a](memory[..., start:stop]), module), rotation.scores)
        score = torch.einsum("bihd,bjhd->bhij", q, k) / module.ranks[a] ** 0.5
        factors.append(module.offset[a][:, None, None] + score)
        values.append(_heads(module.values[a](memory[..., start:stop]), module))
    if module.kind == "softmax_product":
        weights = reduce(mul, [_softmax(factor, pairs[:, None]) for factor in factors])
    elif module.kind == "softmax":
        weights = _softmax(reduce(mul, factors), pairs[:, None])
    else:
        weights = SUM_SCALE * reduce(mul, factors) * pairs[:, None]
    return _sum_over_pairs(weights, reduce(mul, values), rotation)


def _sum_over_pairs(weights: Tensor, v: Tensor, rotation: Rotation) -> Tensor:
    y = torch.einsum("bhij,bjhd->bihd", weights, _turned(v, rotation.values))
    return _turned(y, None if rotation.values is None else rotation.values.conj())


def _hyper_attention(
    module: HyperAttention, x: Tensor, memory: Tensor, rotation: Rotation, pairs: Tensor
) -> Tensor:
    m = module.order - 1
    others = "jklmn"[:m]
    allowed = reduce(and_, [_along(pairs, a, m) for a in range(m)])
    if module.distinct:
        for a in range(m):
            for b in range(a):
                allowed = allowed & ~_same(pairs, a, b, m)
    keys = [_as_turned(_heads(key(memory), module), rotation.scores) for key in module.keys]
    values = [_as_turned(_heads(value(memory), module), rotation.values) for value in module.values]
    values = values * m if module.shared_values else values
    query = _as_turned(_heads(module.query(x), module), rotation.scores, m)
    places = ",".join(f"b{j}hr" for j in others)
    scores = torch.einsum(f"bihr,{places}->bhi{others}", query, *(k.conj() for k in keys))
    scores = scores.real if scores.is_complex() else scores
    if module.kind == "softmax":
        flat = _softmax((scores / module.rank**0.5).flatten(3), allowed[:, None].flatten(3))
        weights = flat.view(scores.shape)
    else:
        weights = SUM_SCALE**m * scores * allowed[:, None]
    y = torch.einsum(f"bhi{others},{places}->bihr", weights.to(values[0].dtype), *values)
    return y if rotation.values is None else as_real(y * rotation.values[:, :, None].conj() ** m)


def _heads(x: Tensor, module: SelfAttention | HyperFeatureAttention | HyperAttention) -> Tensor:
    """(B, L, H * d) as (B, L, H, d)."""
    return x.unflatten(-1, (module.n_heads, -1))


def _as_turned(x: Tensor, angles: Tensor | None, times: int = 1) -> Tensor:
    """Vectors (B, L, H, d) turned `times` over, as complex numbers (B, L, H, d / 2)."""
    return x if angles is None else as_complex(x) * angles[:, :, None] ** times


def _turned(x: Tensor, angles: Tensor | None) -> Tensor:
    return as_real(_as_turned(x, angles))


def _softmax(scores: Tensor, allowed: Tensor) -> Tensor:
    """Over the last axis; 0 where nothing is allowed."""
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
    return torch.where(allowed.any(dim=-1, keepdim=True), weights, 0.0)


def _along(pairs: Tensor, a: int, m: int) -> Tensor:
    """(B, L, L): who may stand in place a, beside m - 1 other places."""
    shape = [1] * m
    shape[a] = -1
    return pairs.view(*pairs.shape[:2], *shape)


def _same(pairs: Tensor, a: int, b: int, m: int) -> Tensor:
    """Whether places a and b hold one entity, (1, 1, L, ..., L)."""
    n = pairs.shape[-1]
    shape = [1] * (m + 2)
    shape[a + 2] = shape[b + 2] = n
    return torch.eye(n, dtype=torch.bool, device=pairs.device).view(shape)
