import math

import pytest
import torch

import interact_env
from policies import EntityActorCritic, EntityEmbedding, Rotary, names
from policies.embedding import rotate

each = pytest.mark.parametrize("policy", sorted(names()))


def observed(n_worlds=16, **parameters):
    """Real observations after a few steps: rows, mask, visible, and the batch."""
    batch = interact_env.make_batch("colliding_agents_v0", n_worlds, seed=1, **parameters)
    batch.reset()
    for _ in range(3):
        batch.step(batch.scripted("random"))
    visible = batch.visible()
    found = torch.from_numpy(batch.rows.copy()), torch.from_numpy(batch.alive.copy())
    return *found, None if visible is None else torch.from_numpy(visible), batch


def network(batch, **options):
    torch.manual_seed(0)
    net = EntityActorCritic(batch.columns, 5, **options)
    torch.nn.init.orthogonal_(net.actor.weight)  # large, so that a difference would show
    return net


@each
@pytest.mark.parametrize("positions", ["rotary", "rotary_qk", "fourier", "plain"])
@pytest.mark.parametrize("vision_radius", [5, None])
def test_the_own_view_gives_the_joint_answer(policy, positions, vision_radius):
    rows, mask, visible, batch = observed(n_agents=(2, 20), vision_radius=vision_radius, n_labels=3)
    net = network(batch, policy=policy, positions=positions, n_layers=3)
    with torch.no_grad():
        logits, values = net(rows, mask, visible)
        for b in range(batch.n_worlds):
            entities, present = (torch.from_numpy(a) for a in batch.views(b))
            own_logits, own_values = net(entities, present.bool())
            alive = mask[b]
            assert (own_logits[:, 0] - logits[b])[alive].abs().max() <= 1e-5
            assert (own_values[:, 0] - values[b])[alive].abs().max() <= 1e-5


@each
def test_padding_that_holds_nan_changes_nothing(policy):
    rows, mask, visible, batch = observed(n_agents=(2, 6))
    net = network(batch, policy=policy)
    clean = net(rows, mask, visible)
    spoilt = net(rows.masked_fill(~mask[..., None], math.nan), mask, visible)
    for a, b in zip(clean, spoilt, strict=True):
        assert torch.equal(a[mask], b[mask])
        assert torch.isfinite(a).all()
    spoilt[0][mask].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@each
def test_what_is_out_of_sight_does_not_matter(policy):
    rows, mask, visible, batch = observed(n_agents=8, size=32)
    net = network(batch, policy=policy)
    logits, _ = net(rows, mask, visible)
    hidden = [(b, j) for b in range(16) for j in range(1, 8) if not visible[b, 0, j]]
    assert len(hidden) > 20
    for b, j in hidden:
        rows[b, j, 2] = (rows[b, j, 2] + 1) % 4
    changed, _ = net(rows, mask, visible)
    assert torch.equal(changed[:, 0], logits[:, 0])


@pytest.mark.parametrize("policy", ["sa", "sa_linear", "deep_sets"])
def test_what_is_in_sight_matters(policy):
    rows, mask, visible, batch = observed(n_agents=8)
    net = network(batch, policy=policy)
    logits, _ = net(rows, mask, visible)
    rows[:, 1:, 2] = (rows[:, 1:, 2] + 1) % 4
    changed, _ = net(rows, mask, visible)
    sees_some = visible[:, 0, 1:].any(dim=1)
    assert ((changed - logits)[:, 0].abs().amax(dim=1) > 1e-4)[sees_some].all()
    assert sees_some.any()


def test_rotary_positions_ignore_where_the_world_is_and_fourier_ones_do_not():
    rows, mask, visible, batch = observed(n_agents=8)
    moved = rows.clone()
    moved[..., 0] = (moved[..., 0] + 5) % 16
    same = network(batch, positions="rotary")
    here, there = same(rows, mask, visible)[0], same(moved, mask, visible)[0]
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-4)
    other = network(batch, positions="fourier")
    assert (other(rows, mask, visible)[0] - other(moved, mask, visible)[0]).abs().max() > 1e-2


def test_rotations_have_the_length_of_the_wavelength_and_turn_back():
    rotary = Rotary([16.0, 8.0]).double()
    where = torch.rand(2, 3, 2, dtype=torch.float64)
    there = where + torch.tensor([32.0, -8.0], dtype=torch.float64)
    torch.testing.assert_close(rotary.turns(where), rotary.turns(there))
    x = torch.randn(2, 3, 4 * rotary.d_head, dtype=torch.float64)
    turned = rotate(x, rotary.turns(where))
    torch.testing.assert_close(turned.square().sum(-1), x.square().sum(-1))
    torch.testing.assert_close(rotate(turned, rotary.turns(where).conj()), x)


def test_categories_are_one_hot():
    columns = (
        interact_env.Column("kind", "category", 0, 2, "", 3),
        interact_env.Column("mass", "real", 0, 10, "kg"),
    )
    embedding = EntityEmbedding(columns, 4)
    embedding.project = torch.nn.Identity()
    vectors, rotation = embedding(torch.tensor([[[2.0, 1.5], [0.0, 7.0]]]))
    assert vectors.tolist() == [[[0, 0, 1, 1.5], [1, 0, 0, 7]]]
    assert rotation is None


def test_starts_near_the_uniform_policy():
    rows, mask, visible, batch = observed()
    torch.manual_seed(0)
    logits, _ = EntityActorCritic(batch.columns, 5)(rows, mask, visible)
    assert (logits.softmax(-1) - 0.2).abs().max() < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "sb"}, "policy must be one of sa, sa_linear"),
        ({"d_model": 0}, "d_model must be >= 1, not 0"),
        ({"n_layers": 0}, "n_layers must be >= 1, not 0"),
        ({"positions": "gps"}, "positions must be one of rotary, rotary_qk, fourier, plain, not 'gps'"),
    ],
)
def test_bad_options_are_named(options, message):
    columns = interact_env.make_batch("colliding_agents_v0", seed=0).columns
    with pytest.raises(ValueError, match=message):
        EntityActorCritic(columns, 5, **options)


def test_bad_columns_are_named():
    with pytest.raises(ValueError, match="column 'x' has an unknown kind 'angle'"):
        EntityEmbedding([interact_env.Column("x", "angle", 0, 1, "")], 8)
    with pytest.raises(ValueError, match="column 'x' of kind 'position' needs a size >= 1, not 0"):
        EntityEmbedding([interact_env.Column("x", "position", 0, 1, "m")], 8)


@each
def test_mixed_precision_is_close(policy):
    rows, mask, visible, batch = observed(n_agents=8)
    net = network(batch, policy=policy)
    logits, values = net(rows, mask, visible)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(rows, mask, visible)
    for a, b in zip(found, (logits, values), strict=True):
        assert (a.float() - b).abs().max() <= 0.05 * b.abs().max()


def test_weights_are_given_for_every_block_on_request():
    rows, mask, visible, batch = observed(n_agents=8)
    weights = network(batch, policy="hfa", n_layers=3).weights(rows, mask, visible)
    assert [w.shape for w in weights] == [(16, 4, 8, 8)] * 3
    sees = visible & ~torch.eye(8, dtype=torch.bool)
    shares = weights[2].sum(-1)
    some = sees.any(-1)[:, None].expand_as(shares)
    torch.testing.assert_close(shares[some], torch.ones_like(shares[some]))
    assert (weights[2].masked_fill(sees[:, None], 0) == 0).all()
    with pytest.raises(ValueError, match="policy must weigh pairs to have weights; NoInteraction does not"):
        network(batch, policy="none").weights(rows, mask, visible)


def test_an_interactions_own_forward_and_its_hooks_are_called():
    columns = interact_env.make_batch("colliding_agents_v0").columns
    network, calls = EntityActorCritic(columns, 3, d_model=16, n_heads=2), []
    network.blocks[0].interaction.register_forward_hook(lambda *_: calls.append("hook"))

    class Own(type(network.blocks[1].interaction)):
        def forward(self, *arguments):
            calls.append("own")
            return super().forward(*arguments)

    network.blocks[1].interaction.__class__ = Own
    network(torch.zeros(1, 2, len(columns)), torch.ones(1, 2, dtype=torch.bool))
    assert calls == ["hook", "own"]
