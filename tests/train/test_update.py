"""Our update against stable-baselines3's own, and what it does with numbers that are none."""

import copy
import math

import pytest
import stock
import torch
from killing import TINY
from worlds import MAIN, MAIN_IDS

from train import checkpoint, products, training, update
from train.config import TrainConfig
from train.policy import EntityPolicy
from train.ppo import EntityPPO
from train.vec_env import make_sb3_vec_env


def rolled_out(world="colliding_agents_v0", parameters=(), **options):
    """A model with a rollout, in worlds of which some agents are gone, that has been updated once."""
    given = {"n_agents": (2, 5), "max_cycles": 10, **dict(parameters)}
    env = make_sb3_vec_env(world, 6, seed=0, **given)
    options = {"batch_size": 36, "n_epochs": 3, "ent_coef": 0.01, **options}
    network = {"policy": "sa", "d_model": 16}
    model = EntityPPO(EntityPolicy, env, n_steps=16, seed=0, device="cpu", policy_kwargs=network, **options)
    model.learn(1)
    model.collect_rollouts(env, model._init_callback(None), model.rollout_buffer, 16)
    assert not model.rollout_buffer.mask.all()
    return model


def updated(model, train, seed=3):
    stock.seed(seed)
    train(model)
    return {name: v.clone() for name, v in model.policy.state_dict().items()}, stock.logged(model)


# Of our choice here: that a last minibatch is smaller is what is to be tested.
pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")

OPTIONS = (
    {},
    {"clip_range": 0.02, "clip_range_vf": 0.1, "max_grad_norm": 0.05},
    {"normalize_advantage": False},
    {"learning_rate": 0.02, "target_kl": 0.003},
)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
@pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)
def test_an_update_is_that_of_stable_baselines3(world, parameters, options, monkeypatch):
    """To 1e-6 of the weights, over 3 epochs of 3 minibatches in pieces, the last one smaller; and its log."""
    monkeypatch.setattr(update, "_AGENTS", 50)
    model = rolled_out(world, parameters, **options)
    state = copy.deepcopy((model.policy.state_dict(), model.policy.optimizer.state_dict()))
    before = model._n_updates
    found, log = updated(model, EntityPPO.train)
    updates = model._n_updates - before
    model.policy.load_state_dict(state[0])
    model.policy.optimizer.load_state_dict(state[1])
    model.logger.name_to_value.clear()
    model._n_updates = before
    expected, expected_log = updated(model, stock.train)
    assert any((v != state[0][k]).any() for k, v in found.items())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
    assert log.keys() == expected_log.keys()
    for name, number in expected_log.items():
        assert log[name] == pytest.approx(number, rel=1e-3, abs=2e-5), name
    assert updates == model._n_updates - before
    assert (updates < 3) == ("target_kl" in options)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_gradient_that_is_none_never_reaches_the_weights(poison, monkeypatch):
    """Neither where the host looks at once, nor where the device has to skip the step."""
    model = rolled_out()
    model.rollout_buffer.advantages[0, 0, 0] = poison
    before = copy.deepcopy(model.policy.state_dict())
    with pytest.raises(FloatingPointError, match="the loss or its gradient is not finite"):
        model.train()
    after = model.policy.state_dict()
    assert all(torch.isfinite(v).all() for v in after.values())
    # On a device nobody looks: the optimiser skips such steps, and what is left of the update is good.
    model.policy.load_state_dict(before)
    monkeypatch.setattr(EntityPPO, "_looks", False)
    model.train()
    with pytest.raises(FloatingPointError, match="the loss or its gradient is not finite"):
        model.look_at_update()
    assert all(torch.isfinite(v).all() for v in model.policy.state_dict().values())
    assert any((v != before[name]).any() for name, v in model.policy.state_dict().items())


def test_on_a_device_a_bad_update_is_told_before_anything_is_saved(tmp_path, monkeypatch):
    """And at the end of `learn`: the host looks at an update before a checkpoint, or the caller, can."""
    monkeypatch.setattr(EntityPPO, "_looks", False)
    model = rolled_out()
    model.rollout_buffer.advantages[0, 0, 0] = math.nan
    monkeypatch.setattr(model.rollout_buffer, "finish", lambda *_: None)  # keeps it
    with pytest.raises(FloatingPointError, match="the loss or its gradient is not finite"):
        model.learn(1, reset_num_timesteps=False)
    config = TrainConfig(out=tmp_path, **{**TINY, "total_steps": 10**6, "save_every": "1"})
    update, seen = EntityPPO.train, []

    def poisoned(model):
        seen.append(model.num_timesteps)
        if len(seen) == 3:
            model.rollout_buffer.advantages[0, 0, 0] = math.nan
        update(model)

    monkeypatch.setattr(EntityPPO, "train", poisoned)
    with pytest.raises(FloatingPointError, match="not finite"):
        training.train(config)
    assert checkpoint.load(tmp_path).env_steps == seen[1], "the last before it"


def test_no_action_without_probability_is_drawn():
    """Whatever the sum of the others is rounded to."""
    torch.manual_seed(0)
    policy = rolled_out().policy
    outputs = torch.randn(4096, 64, 5)
    outputs[..., -1] = -60.0
    policy._network = lambda obs: (outputs, outputs[..., 0])
    largest = torch.full(outputs.shape[:2], 1 - 2.0**-24)
    assert (policy.act({}, largest)[0] < 4).all()
    assert (policy.act({}, torch.zeros_like(largest))[0] == 0).all()


def test_products_are_as_exact_as_torchs_own():
    torch.manual_seed(0)
    a, b = torch.randn(4096, 64), torch.randn(128, 64)
    exact = a.double() @ b.double().T
    before = torch.backends.mkldnn.matmul.fp32_precision
    with products.fastest():
        off = (a @ b.T - exact).abs().max()
    assert off < 2 * (a @ b.T - exact).abs().max()
    assert torch.backends.mkldnn.matmul.fp32_precision == before


@pytest.mark.parametrize("options", [{"fused": False}, {"foreach": True}])
def test_the_optimiser_can_be_another(options):
    given = {"d_model": 16, "optimizer_kwargs": options}
    model = EntityPPO(
        EntityPolicy,
        make_sb3_vec_env("colliding_agents_v0", 2, seed=0, n_agents=2),
        n_steps=4,
        batch_size=4,
        policy_kwargs=given,
        device="cpu",
    )
    model.learn(8)
    assert given == {"d_model": 16, "optimizer_kwargs": options}, "as it was"
