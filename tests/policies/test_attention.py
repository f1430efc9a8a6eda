"""Attention modules against their definitions, and what they are initialised and refuse."""

import itertools
import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import (
    MLP,
    DeepSets,
    HyperAttention,
    HyperFeatureAttention,
    InducedAttention,
    MixedAttention,
    NoInteraction,
    Rotary,
    SelfAttention,
    names,
)
from policies.definition import define
from policies.embedding import rotate
from policies.registry import interaction
from policies.sums import DENSE_MAX, SUM_SCALE, partitions

D_MODEL, HEADS, D_HEAD = 16, 2, 32
LINEAR = sorted(name for name in names() if name.endswith("_linear"))
seeds = st.integers(0, 2**31)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 9))


def a_set(n_sets, n, seed, *, limited=True, crowd=0.7, positions="rotary"):
    """x, mask, visible, rotation and memory at random; visible holds the diagonal, as an engine's does."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mask = torch.rand(n_sets, n, generator=generator) < crowd
    visible = (torch.rand(n_sets, n, n, generator=generator) < 0.6) | torch.eye(n, dtype=torch.bool)
    where = 16 * torch.rand(n_sets, n, 2, generator=generator, dtype=torch.float64)
    rotary = Rotary([16.0, 16.0], values=positions == "rotary").double()
    rotation = None if positions == "none" else rotary(where)
    return randn(n_sets, n, D_MODEL), mask, visible if limited else None, rotation, randn(n_sets, n, D_MODEL)


def close(found, expected, mask, tolerance=1e-12):
    """Equal where an entity is, relative to the largest."""
    if mask.any():
        off = (found - expected)[mask].abs().max()
        assert off <= tolerance * (1 + expected[mask].abs().max()), float(off)


def modules(draw, d_head):
    """One attention module of any kind and options."""
    seed = draw(seeds)
    flags = {"exclude_self": draw(st.booleans()), "causal": draw(st.booleans())}
    kind = draw(st.sampled_from(["softmax", "linear"]))
    torch.manual_seed(seed)
    which = draw(st.sampled_from([SelfAttention, HyperFeatureAttention, HyperAttention]))
    sizes = (D_MODEL, HEADS, d_head)
    if which is SelfAttention:
        if kind == "softmax":
            flags |= {"count": draw(st.booleans()), "sharpen": draw(st.booleans())}
        return SelfAttention(*sizes, kind=kind, **flags).double()
    if which is HyperFeatureAttention:
        kind = draw(st.sampled_from([kind, "softmax_product"]))
        n = draw(st.integers(1, 4))
        slices = [(0, 5), (5, 16), (3, 9), (0, 16)][:n]
        features = draw(st.sampled_from([n, slices]))
        rank = draw(st.sampled_from([d_head] if d_head == D_HEAD else [None, 1, [1, 3, 2, 4][:n]]))
        return HyperFeatureAttention(*sizes, features=features, rank=rank, kind=kind, **flags).double()
    flags |= {"distinct": draw(st.booleans()), "shared_values": draw(st.booleans())}
    if kind == "linear":
        return HyperAttention(*sizes, kind=kind, order=draw(st.integers(3, 5)), **flags).double()
    # Few scores at once: in tiles.
    return HyperAttention(*sizes, max_scores=draw(st.sampled_from([1, 200, 2**22])), **flags).double()


def moved(module):
    """Every parameter off its initial value, the biases too."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@settings(deadline=None, max_examples=300)
@given(st.data(), shapes, st.booleans(), st.sampled_from(["none", "rotary", "rotary_qk"]), seeds)
def test_fast_forms_equal_the_definition(data, shape, limited, positions, seed):
    d_head = data.draw(st.sampled_from([1, 4])) if positions == "none" else D_HEAD
    module = moved(modules(data.draw, d_head))
    n_sets, n = shape
    if getattr(module, "order", 3) > 3:
        n = min(n, 5)  # the definition holds all n^order tuples
    given = a_set(n_sets, n, seed, limited=limited, positions=positions)
    close(module(*given), define(module, *given), given[1])


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("n", [DENSE_MAX + 8, 130])
@pytest.mark.parametrize("name", ["sa", "sa_sharp", "sa_linear", "hfa", "hfa_linear", "ha_linear", "ha"])
@pytest.mark.parametrize("d_head", [2, 8])
def test_the_forms_for_large_sets_equal_the_definition(name, n, limited, d_head):
    torch.manual_seed(0)
    module = moved(interaction(name)(D_MODEL, HEADS, d_head).double())
    if isinstance(module, HyperAttention):
        n = 40
    given = a_set(2, n, 0, limited=limited, positions="none")
    close(module(*given), define(module, *given), given[1])


@pytest.mark.parametrize("exclude_self", [True, False])
@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_causal_sums_across_chunks_and_many_rows_equal_the_definition(kind, exclude_self):
    torch.manual_seed(0)
    flags = {"kind": kind, "causal": True, "exclude_self": exclude_self}
    x, mask, *_ = a_set(2, 150, 0)
    for module in (
        SelfAttention(D_MODEL, HEADS, 4, **flags),
        HyperFeatureAttention(D_MODEL, HEADS, 4, **flags),
    ):
        close(moved(module.double())(x, mask), define(module, x, mask), mask)
    x, mask, *_ = a_set(2, 40, 0)
    module = moved(HyperAttention(D_MODEL, HEADS, 4, max_scores=HEADS * 1600 * 17, **flags).double())
    close(module(x, mask), define(module, x, mask), mask)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(names()))
def test_half_precisions_are_turned_too(name, dtype):
    torch.manual_seed(0)
    module = interaction(name)(D_MODEL, HEADS, D_HEAD)
    x, mask, visible, rotation, memory = a_set(4, 6, 0)
    rotation = type(rotation)(*(t.to(torch.complex64) for t in rotation))
    low = module.to(dtype)(x.to(dtype), mask, visible, rotation, memory.to(dtype))
    exact = module.float()(x.to(dtype).float(), mask, visible, rotation, memory.to(dtype).float())
    assert low.dtype == dtype
    assert (low.float() - exact)[mask].abs().max() <= 0.1 * (exact[mask].abs().max() + 1e-30)


@pytest.mark.parametrize(("kind", "n"), list(itertools.product(["softmax", "linear"], [5, 150])))
def test_a_causal_sum_does_not_see_what_comes_later(kind, n):
    torch.manual_seed(0)
    for module in (
        SelfAttention(D_MODEL, HEADS, 2, kind=kind, causal=True, exclude_self=False),
        HyperFeatureAttention(D_MODEL, HEADS, 2, kind=kind, causal=True, exclude_self=False),
        HyperAttention(D_MODEL, HEADS, 2, kind=kind, causal=True, exclude_self=False),
    ):
        if n == 150 and isinstance(module, HyperAttention) and kind == "softmax":
            continue
        x = torch.randn(2, n, D_MODEL, dtype=torch.float64)
        later = x.clone()
        later[:, n // 2 :] += 1
        first = module.double()(x)[:, : n // 2]
        torch.testing.assert_close(module(later)[:, : n // 2], first, rtol=1e-12, atol=1e-12)


def test_softmax_over_pairs_is_the_same_in_tiles_gradients_too():
    torch.manual_seed(0)
    whole = HyperAttention(D_MODEL, HEADS, 4).double()
    given = a_set(3, 9, 0, positions="none")
    expected = whole(*given)
    expected.sum().backward()
    wanted = [p.grad.clone() for p in whole.parameters()]
    for max_scores in (1, 500, 2 * 81 * 8, 2 * 9**3, 2000):
        whole.max_scores = max_scores
        whole.zero_grad()
        found = whole(*given)
        found.sum().backward()
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        for p, grad in zip(whole.parameters(), wanted, strict=True):
            torch.testing.assert_close(p.grad, grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("exclude_self", [True, False])
def test_softmax_attention_equals_torchs(exclude_self):
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(D_MODEL, HEADS, bias=False, batch_first=True).double()
    ours = SelfAttention(D_MODEL, HEADS, exclude_self=exclude_self).double()
    q, k, v = theirs.in_proj_weight.chunk(3)
    ours.query.weight.data[:] = q
    ours.key_value.weight.data[:] = torch.cat([k, v])
    ours.out.weight.data[:] = theirs.out_proj.weight
    ours.out.bias.data.zero_()
    for n in (6, DENSE_MAX + 8):
        x = torch.randn(3, n, D_MODEL, dtype=torch.float64)
        mask = torch.rand(3, n) < 0.7
        mask[:, :3] = True
        hidden = torch.eye(n, dtype=torch.bool) if exclude_self else None
        expected, weights = theirs(
            x, x, x, attn_mask=hidden, key_padding_mask=~mask, average_attn_weights=False
        )
        close(ours(x, mask), expected, mask)
        close(ours.weights(x, mask).transpose(1, 2), weights.transpose(1, 2), mask)


@pytest.mark.parametrize("positions", ["none", "rotary"])
@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize("name", sorted(names()))
def test_gradients_are_those_of_the_function(name, n, positions):
    torch.manual_seed(0)
    module = interaction(name)(D_MODEL, HEADS, D_HEAD if positions == "rotary" else 2).double()
    if not list(module.parameters()):
        pytest.skip("no interaction, no gradient")
    n = min(n, 12) if name == "ha" else n
    x, mask, visible, rotation, memory = a_set(1, n, 0, positions=positions)
    # Along a few random directions: all n * 16 of them would take minutes.
    directions = torch.randn(3, *x.shape, dtype=torch.float64)

    def along(steps):
        moved = (steps[:, None, None, None] * directions).sum(0)
        return module(x + moved, mask, visible, rotation, memory + moved)[mask]

    start = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(along, start)
    if name in LINEAR:
        assert torch.autograd.gradgradcheck(along, start)


# Largest error relative to the largest entry of the answer.
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 0.1}


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("n", [5, 60])
@pytest.mark.parametrize("name", sorted(names()))
def test_lower_precision_is_within_bounds_of_float64(name, n, dtype):
    n = min(n, 24) if name == "ha" else n
    torch.manual_seed(0)
    module = interaction(name)(D_MODEL, HEADS, 8)
    x, mask, *_ = a_set(4, n, 0)
    low = module.to(dtype)(x.to(dtype), mask).double()
    exact = module.double()(x.to(dtype).double(), mask)
    assert (low - exact)[mask].abs().max() <= BOUNDS[dtype] * (exact[mask].abs().max() + 1e-30)


@pytest.mark.parametrize("name", sorted(set(names()) - {"none", "mlp", "inducing", "sa_hfa"}))
def test_weights_are_what_multiplies_the_values(name):
    torch.manual_seed(0)
    module = moved(interaction(name)(D_MODEL, HEADS, D_HEAD).double())
    given = a_set(2, 6, 0)
    weights = module.weights(*given)
    _, mask, visible, rotation, memory = given
    assert weights.shape[0] == 2
    assert weights.shape[2:] == (6, 6)
    assert (weights.masked_fill((visible & mask[:, None])[:, None], 0) == 0).all()
    if name in ("sa", "hfa", "ha"):
        alone = ~(visible & mask[:, None] & ~torch.eye(6, dtype=torch.bool)).any(-1)
        shares = weights.sum(-1).transpose(1, 2)
        torch.testing.assert_close(shares[~alone], torch.ones_like(shares[~alone]))
    if name in ("sa", "sa_linear"):
        v = module.key_value(torch.where(mask[..., None], memory, 0)).chunk(2, dim=-1)[1]
        v = rotate(v, rotation.values).unflatten(-1, (HEADS, D_HEAD))
        y = torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2)
        close(module.out(rotate(y, rotation.values.conj())), module(*given), mask)


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_weights_of_pairs_are_given_as_the_mean_of_their_marginals(kind):
    torch.manual_seed(0)
    module = HyperAttention(D_MODEL, 1, 4, kind=kind, distinct=True).double()
    x = torch.randn(1, 5, D_MODEL, dtype=torch.float64)
    q, (k1, k2) = module.query(x)[0], [key(x)[0] for key in module.keys]
    expected = torch.zeros(5, 5, dtype=torch.float64)
    for i in range(5):
        pairs = [(j, k) for j in range(5) for k in range(5) if len({i, j, k}) == 3]
        scores = torch.stack([(q[i] * k1[j] * k2[k]).sum() for j, k in pairs])
        weights = (scores / 2).softmax(0) if kind == "softmax" else SUM_SCALE**2 * scores
        for (j, k), weight in zip(pairs, weights, strict=True):
            expected[i, j] += weight / 2
            expected[i, k] += weight / 2
    torch.testing.assert_close(module.weights(x)[0, 0], expected)


def test_a_mixture_is_the_sum_of_its_parts_each_with_its_own_flags():
    torch.manual_seed(0)
    sa = SelfAttention(D_MODEL, 1, 8, kind="linear", exclude_self=False)
    hfa = HyperFeatureAttention(D_MODEL, 3, 8, causal=True)
    mixed = MixedAttention(sa, hfa).double()
    x, mask, visible, *_ = a_set(2, 6, 0)
    close(mixed(x, mask, visible), sa(x, mask, visible) + hfa(x, mask, visible), mask)
    assert mixed.weights(x, mask, visible).shape == (2, 4, 6, 6)


def test_deep_sets_is_linear_attention_whose_scores_are_one_and_mean_field_its_mean():
    torch.manual_seed(0)
    module = DeepSets(D_MODEL, HEADS, 32).double()
    x, mask, visible, rotation, memory = a_set(2, 7, 3)
    pairs = (visible & mask[:, None] & ~torch.eye(7, dtype=torch.bool)).double()
    there = rotate(module.value(torch.where(mask[..., None], memory, 0)), rotation.values)
    expected = module.out(rotate(SUM_SCALE * (pairs @ there), rotation.values.conj()))
    close(module(x, mask, visible, rotation, memory), expected, mask)
    module.mean = True
    means = pairs / pairs.sum(-1, keepdim=True).clamp(min=1)
    expected = module.out(rotate(means @ there, rotation.values.conj()))
    close(module(x, mask, visible, rotation, memory), expected, mask)


def test_mlp_sees_the_first_others_in_their_order_and_no_more():
    torch.manual_seed(0)
    module = MLP(D_MODEL, HEADS, 8, n_others=3).double()
    x, *_ = a_set(2, 6, 0, crowd=1.0)
    y = module(x)
    further = x.clone()
    further[:, 4:] += 1
    assert torch.equal(module(further)[:, 0], y[:, 0]), "entities 1, 2, 3 fill the list"
    swapped = x[:, [0, 2, 1, 3, 4, 5]]
    assert not torch.allclose(module(swapped)[:, 0], y[:, 0])
    few = MLP(D_MODEL, HEADS, 8, n_others=9).double()
    few.load_state_dict(module.state_dict() | {"hidden.weight": torch.zeros(D_MODEL, D_MODEL + 9 * 8)})
    few.hidden.weight.data[:, : D_MODEL + 3 * 8] = module.hidden.weight.data
    torch.testing.assert_close(few(x[:, :4])[:, 0], y[:, 0])  # zeros where there are fewer


def test_induced_points_shared_or_not_say_the_same():
    torch.manual_seed(0)
    module = InducedAttention(D_MODEL, HEADS, 8, n_points=3).double()
    x, mask, *_ = a_set(2, 6, 0)
    everybody = torch.ones(2, 6, 6, dtype=torch.bool)
    close(module(x, mask), module(x, mask, everybody), mask)


def test_a_sum_grows_with_the_number_of_entities_and_a_mean_does_not():
    x = torch.ones(1, 1, D_MODEL, dtype=torch.float64)

    def answer(name, n):
        torch.manual_seed(0)
        module = interaction(name)(D_MODEL, HEADS, D_HEAD).double()
        return (module(x.expand(1, n, D_MODEL)) - module.out.bias)[0, 0]

    for name in ("sa_linear", "hfa_linear", "deep_sets"):
        torch.testing.assert_close(answer(name, 9), 8 * answer(name, 2))
    torch.testing.assert_close(answer("ha_linear", 9), 64 * answer("ha_linear", 2))
    for name in ("sa", "hfa", "ha", "mean_field"):
        torch.testing.assert_close(answer(name, 9), answer(name, 2))


@pytest.mark.parametrize("name", sorted(set(names()) - {"none"}))
def test_every_parameter_learns_from_the_first_step(name):
    torch.manual_seed(0)
    module = interaction(name)(D_MODEL, 2, D_HEAD)
    x, mask, visible, rotation, memory = a_set(8, 6, 0, crowd=1.0)
    rotation = type(rotation)(*(t.to(torch.complex64) for t in rotation))
    y = module(x.float(), mask, visible, rotation, memory.float())
    assert 1e-3 < y.std() < 10
    (y * torch.randn_like(y)).sum().backward()
    for key, parameter in module.named_parameters():
        # Of one number a softmax takes away what all scores have in common.
        if key != "offset":
            assert parameter.grad.abs().max() > 1e-4, key


def test_partitions_are_all_ways_to_split():
    assert [len(list(partitions(m))) for m in range(1, 6)] == [1, 2, 5, 15, 52], "Bell's numbers"
    assert set(partitions(2)) == {((0,), (1,)), ((0, 1),)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("name", ["sa", "sa_linear", "hfa", "hfa_linear", "ha", "ha_linear"])
def test_compiled_modules_answer_the_same(name):
    torch.manual_seed(0)
    module = interaction(name)(D_MODEL, HEADS, 8)
    x, mask, *_ = a_set(2, 20, 0)
    found = torch.compile(module, dynamic=False, fullgraph=True)(x.float(), mask)
    torch.testing.assert_close(found[mask], module(x.float(), mask)[mask], rtol=1e-4, atol=1e-4)


def test_empty_sets_are_answered():
    for name in names():
        module = interaction(name)(D_MODEL, HEADS, 8)
        assert module(torch.zeros(2, 0, D_MODEL)).shape == (2, 0, D_MODEL), name
        nobody = module(torch.full((2, 3, D_MODEL), math.nan), torch.zeros(2, 3, dtype=torch.bool))
        assert torch.isfinite(nobody).all(), name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SelfAttention(16, 2, kind="cosine"),
            "kind must be one of 'softmax', 'linear', not 'cosine'",
        ),
        (lambda: SelfAttention(16, 2, kind="linear", count=True), "count and sharpen must be False for kind"),
        (lambda: SelfAttention(16, 0), "n_heads must be a whole number >= 1, not 0"),
        (lambda: SelfAttention(16, 2.0), "n_heads must be a whole number >= 1, not 2.0"),
        (lambda: SelfAttention(16, 3), "d_model must be a multiple of n_heads=3, not 16; or give d_head"),
        (lambda: HyperFeatureAttention(16, 3), "d_model must be a multiple of n_heads=3, not 16"),
        (lambda: HyperFeatureAttention(16, 2, rank=0), "rank must be a whole number >= 1, not 0"),
        (lambda: HyperFeatureAttention(16, 2, rank=[1]), r"rank must be one number or 2, .*not \[1\]"),
        (lambda: HyperFeatureAttention(16, 2, features=0), "features must be a whole number >= 1, not 0"),
        (
            lambda: HyperFeatureAttention(16, 2, features=[(0, 17)]),
            r"features must be \(start, stop\) slices",
        ),
        (
            lambda: HyperFeatureAttention(16, 2, features=[(0, 1, 2)]),
            "features must be .* slices of 0 ... 16",
        ),
        (
            lambda: HyperFeatureAttention(16, 2, features=2.0),
            "features must be .* slices of 0 ... 16, not 2.0",
        ),
        (lambda: HyperFeatureAttention(16, 2, rank=2.0), "rank must be one number or 2, .*, not 2.0"),
        (lambda: Rotary([]), r"wavelengths must be one or more numbers above 0, not \[\]"),
        (lambda: Rotary([4.0, 0.0]), "wavelengths must be one or more numbers above 0"),
        (lambda: MixedAttention(torch.nn.Linear(4, 4)), "parts must be Interactions, not a Linear"),
        (lambda: HyperFeatureAttention(16, 2, features=[]), "features must be .* slices of 0 ... 16, not"),
        (lambda: HyperFeatureAttention(16, 2, features=[(3, 3)]), "features must be .* slices of 0 ... 16"),
        (lambda: HyperAttention(16, 3), "d_model must be a multiple of n_heads=3, not 16"),
        (lambda: HyperAttention(16, 2, rank=0), "rank must be a whole number >= 1, not 0"),
        (lambda: HyperAttention(16, 2, order=2), "order must be 3 for kind='softmax', .*, not 2"),
        (lambda: HyperAttention(16, 2, order=2, kind="linear"), "order must be >= 3, not 2"),
        (lambda: HyperAttention(16, 2, order=4), "order must be 3 for kind='softmax', whose cost"),
        (lambda: HyperAttention(16, 2, max_scores=0), "max_scores must be a whole number >= 1, not 0"),
        (MixedAttention, "parts must be one or more modules of one d_model"),
        (lambda: MixedAttention(NoInteraction(4), NoInteraction(8)), r"of one d_model, not of \[4, 8\]"),
        (lambda: MLP(16, 2, n_others=0), "n_others must be a whole number >= 1, not 0"),
        (lambda: InducedAttention(16, 2, n_points=0), "n_points must be a whole number >= 1, not 0"),
        (lambda: interaction("sa_hfa")(16, 1, 8), "n_heads must be >= 2 for sa_hfa, not 1"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_arguments_are_named():
    there = torch.ones(2, 5, dtype=torch.bool)
    x = torch.zeros(2, 5, 16)
    turned = Rotary([16.0])(torch.zeros(2, 5, 1))
    for made in (SelfAttention, HyperFeatureAttention, HyperAttention, DeepSets):
        module = made(16, 2)
        for bad, message in (
            ((x[0], there), r"x must be \(B, L, 16\), not \(5, 16\)"),
            ((x[..., :3], there), r"x must be \(B, L, 16\), not \(2, 5, 3\)"),
            ((x, there.float()), r"mask must be bool of shape \(2, 5\), not torch.float32 of \(2, 5\)"),
            ((x, there[:, :4]), r"mask must be bool of shape \(2, 5\), not torch.bool of \(2, 4\)"),
            ((x, there, there), r"visible must be bool of shape \(2, 5, 5\), not torch.bool of \(2, 5\)"),
            ((x, there, None, None, x[:1]), r"memory must be of x's shape \(2, 5, 16\), not \(1, 5, 16\)"),
            ((x, there, None, turned.scores), "rotation must be a Rotation, see Rotary, not Tensor"),
            ((x, there, None, Rotary([16.0])(torch.zeros(2, 4, 1))), r"rotation must be complex of shape"),
            (
                (x, there, None, turned),
                r"rotation is of heads \(and ranks\) as wide as 16, or a multiple, not [48]",
            ),
        ):
            with pytest.raises(ValueError, match=message):
                module(*bad)
    with pytest.raises(ValueError, match="weights are those of order 3, not 4"):
        HyperAttention(16, 2, kind="linear", order=4).weights(x)
