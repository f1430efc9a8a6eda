"""Attention modules against their definitions, and the properties that every interaction must have."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import DeepSets, Rotary, SelfAttention, names
from policies.attention import DENSE_MAX, SUM_SCALE
from policies.embedding import rotate
from policies.registry import interaction, register

D_MODEL, HEADS = 16, 2
each = pytest.mark.parametrize("name", sorted(names()))
shapes = st.tuples(st.integers(1, 3), st.integers(1, 9))


def make(name, seed=0, d_head=32):
    torch.manual_seed(seed)
    return interaction(name)(D_MODEL, HEADS, d_head).double()


def a_set(n_sets, n, seed, *, limited=True, crowd=0.7):
    """x, mask, visible, rotation and memory at random; visible holds the diagonal, as an engine's does."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mask = torch.rand(n_sets, n, generator=generator) < crowd
    seen = torch.rand(n_sets, n, n, generator=generator) < 0.6
    visible = (seen | torch.eye(n, dtype=torch.bool)) & mask[:, None] & mask[:, :, None]
    positions = 16 * torch.rand(n_sets, n, 2, generator=generator, dtype=torch.float64)
    rotation = Rotary([16.0, 16.0]).double()(positions)
    x = randn(n_sets, n, D_MODEL).masked_fill(~mask[..., None], 0)
    return x, mask, visible if limited else None, rotation, randn(n_sets, n, D_MODEL)


def turned(vector, rotation):
    """R(x) v for one vector (d,) and its angles, written out as 2 x 2 rotations."""
    result = torch.empty_like(vector)
    for k, angle in enumerate(rotation):
        a, b = vector[2 * k], vector[2 * k + 1]
        result[2 * k] = a * angle.real - b * angle.imag
        result[2 * k + 1] = a * angle.imag + b * angle.real
    return result


def definition(module, x, mask, visible, rotation, memory):
    """The docstring's sums, one entity at a time."""
    n_sets, n, _ = x.shape
    heads, d = module.n_heads, module.d_head
    query = module.query(x).reshape(n_sets, n, heads, d)
    key, value = module.key_value(memory).reshape(n_sets, n, 2, heads, d).unbind(2)
    y = torch.zeros(n_sets, n, heads, d, dtype=x.dtype)
    for b in range(n_sets):
        for i in range(n):
            others = [j for j in range(n) if mask[b, j] and j != i and (visible is None or visible[b, i, j])]
            for h in range(heads):
                if not others:
                    continue
                q = turned(query[b, i, h], rotation[b, i])
                k = torch.stack([turned(key[b, j, h], rotation[b, j]) for j in others])
                v = torch.stack([turned(value[b, j, h], rotation[b, j]) for j in others])
                linear = module.kind == "linear"
                weights = SUM_SCALE * (k @ q) if linear else (k @ q / math.sqrt(d)).softmax(0)
                y[b, i, h] = turned(weights @ v, rotation[b, i].conj())
    return module.out(y.flatten(2))


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["softmax", "linear"]), shapes, st.booleans(), st.integers(0, 2**31))
def test_self_attention_equals_its_definition(kind, shape, limited, seed):
    torch.manual_seed(seed)
    module = SelfAttention(D_MODEL, HEADS, 32, kind=kind).double()
    x, mask, visible, rotation, memory = a_set(*shape, seed, limited=limited)
    expected = definition(module, x, mask, visible, rotation, memory)
    found = module(x, mask, visible, rotation, memory)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("exclude_self", [True, False])
def test_the_forms_for_small_and_large_sets_agree(kind, exclude_self):
    """Beyond a size another exact form is chosen: padding moves a set across it."""
    torch.manual_seed(0)
    module = SelfAttention(D_MODEL, HEADS, 32, kind=kind, exclude_self=exclude_self).double()
    x, mask, _, rotation, memory = a_set(2, DENSE_MAX, 0, limited=False)
    small = module(x, mask, None, rotation, memory)

    def padded(t):
        return torch.cat([t, t.new_zeros(2, 20, *t.shape[2:])], dim=1)

    large = module(padded(x), padded(mask), None, padded(rotation), padded(memory))
    torch.testing.assert_close(large[:, :DENSE_MAX], small, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("exclude_self", [True, False])
def test_softmax_attention_equals_torchs(exclude_self):
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(D_MODEL, HEADS, bias=False, batch_first=True).double()
    ours = SelfAttention(D_MODEL, HEADS, D_MODEL // HEADS, exclude_self=exclude_self).double()
    q, k, v = theirs.in_proj_weight.chunk(3)
    ours.query.weight.data[:] = q
    ours.key_value.weight.data[:] = torch.cat([k, v])
    ours.out.weight.data[:] = theirs.out_proj.weight
    ours.out.bias.data.zero_()
    x, mask, *_ = a_set(3, 6, 1, crowd=1.0)
    hidden = torch.eye(6, dtype=torch.bool) if exclude_self else None
    expected, _ = theirs(x, x, x, attn_mask=hidden, need_weights=False)
    torch.testing.assert_close(ours(x, mask), expected, rtol=1e-12, atol=1e-12)


def test_deep_sets_is_linear_attention_whose_scores_are_one():
    torch.manual_seed(0)
    module = DeepSets(D_MODEL, HEADS, 32).double()
    x, mask, visible, rotation, memory = a_set(2, 7, 3)
    pairs = visible & mask[:, None] & ~torch.eye(7, dtype=torch.bool)
    there = rotate(module.value(memory), rotation)
    expected = module.out(rotate(SUM_SCALE * (pairs.double() @ there), rotation.conj()))
    torch.testing.assert_close(module(x, mask, visible, rotation, memory), expected)


@each
@settings(deadline=None, max_examples=15)
@given(shape=shapes, limited=st.booleans(), seed=st.integers(0, 2**31))
def test_permuting_the_set_permutes_the_answer(name, shape, limited, seed):
    module = make(name, seed)
    x, mask, visible, rotation, memory = a_set(*shape, seed, limited=limited)
    order = torch.randperm(shape[1])
    there = visible[:, order][:, :, order] if limited else None
    shuffled = module(x[:, order], mask[:, order], there, rotation[:, order], memory[:, order])
    straight = module(x, mask, visible, rotation, memory)
    torch.testing.assert_close(shuffled, straight[:, order], rtol=1e-12, atol=1e-12)


@each
@settings(deadline=None, max_examples=15)
@given(shape=shapes, extra=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_padding_changes_nothing(name, shape, extra, seed):
    module = make(name, seed)
    x, mask, visible, rotation, memory = a_set(*shape, seed)

    def padded(t):
        return torch.cat([t, t.new_ones(shape[0], extra, *t.shape[2:])], dim=1)

    wider = torch.zeros(shape[0], shape[1] + extra, shape[1] + extra, dtype=torch.bool)
    wider[:, : shape[1], : shape[1]] = visible
    more = torch.cat([mask, mask.new_zeros(shape[0], extra)], dim=1)
    found = module(padded(x), more, wider, padded(rotation), padded(memory))[:, : shape[1]]
    torch.testing.assert_close(found, module(x, mask, visible, rotation, memory), rtol=1e-12, atol=1e-12)


@each
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), shift=st.tuples(*2 * [st.floats(-100, 100)]))
def test_moving_everything_changes_nothing(name, seed, shift):
    module = make(name, seed)
    x, mask, visible, _, memory = a_set(2, 6, seed)
    rotary = Rotary([16.0, 16.0]).double()
    where = 16 * torch.rand(2, 6, 2, dtype=torch.float64)
    here = module(x, mask, visible, rotary(where), memory)
    there = module(x, mask, visible, rotary(where + torch.tensor(shift, dtype=torch.float64)), memory)
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-9)


@each
def test_an_entity_that_sees_no_other_gets_the_bias_alone_with_finite_gradients(name):
    module = make(name)
    x, _, _, rotation, memory = a_set(2, 4, 0)
    x.requires_grad_(True)
    mask = torch.tensor([[True, False, False, False], [False] * 4])
    y = module(x, mask, None, rotation, memory)
    alone = module.out.bias if hasattr(module, "out") else torch.zeros(D_MODEL, dtype=torch.float64)
    torch.testing.assert_close(y[0, 0], alone)
    if y.requires_grad:
        y.square().sum().backward()
        assert torch.isfinite(x.grad if x.grad is not None else torch.zeros(1)).all()
        assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


@each
@pytest.mark.parametrize("n", [3, 40])
def test_gradients_are_those_of_the_function(name, n):
    module = make(name, d_head=2)
    if not list(module.parameters()):
        pytest.skip("no interaction, no gradient")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, n, D_MODEL, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(1, n, generator=generator) < 0.7
    # Along a few random directions: all n * 16 of them would take minutes.
    directions = torch.randn(4, *x.shape, generator=generator, dtype=torch.float64)

    def along(steps):
        return module(x.detach() + (steps[:, None, None, None] * directions).sum(0), mask)

    assert torch.autograd.gradcheck(along, torch.zeros(4, dtype=torch.float64, requires_grad=True))


def test_a_sum_grows_with_the_number_of_entities_and_a_softmax_does_not():
    x = torch.ones(1, 1, D_MODEL, dtype=torch.float64)

    def answer(name, n):
        module = make(name)
        many = x.expand(1, n, D_MODEL)
        return (module(many, torch.ones(1, n, dtype=torch.bool)) - module.out.bias)[0, 0]

    torch.testing.assert_close(answer("sa_linear", 9), 8 * answer("sa_linear", 2))
    torch.testing.assert_close(answer("deep_sets", 9), 8 * answer("deep_sets", 2))
    torch.testing.assert_close(answer("sa", 9), answer("sa", 2))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="kind must be 'softmax' or 'linear', not 'cosine'"):
        SelfAttention(16, 2, 8, kind="cosine")
    with pytest.raises(ValueError, match="n_heads must be >= 1, not 0"):
        SelfAttention(16, 0, 8)
    with pytest.raises(ValueError, match="policy must be one of sa, sa_linear, deep_sets, none, not 'mlp9'"):
        interaction("mlp9")
    with pytest.raises(ValueError, match="policy name 'sa' is taken"):
        register("sa", DeepSets, "")
