"""EntityPPO and its rollouts: what is learned from, what is not, and that it learns."""

import copy
import math

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

import interact_env
from train import training
from train.buffer import EntityRolloutBuffer
from train.config import TrainConfig
from train.gae import advantages
from train.policy import EntityPolicy, joint_observation
from train.ppo import EntityPPO
from train.vec_env import make_sb3_vec_env

WORLDS = ("colliding_agents_v0", "n_body_v0", "springs_v0")


def make(world="colliding_agents_v0", *, n_worlds=6, policy="sa", n_steps=16, seed=0, **parameters):
    env = make_sb3_vec_env(world, n_worlds, seed=seed, **{"n_agents": (2, 5), "max_cycles": 10, **parameters})
    options = {"n_steps": n_steps, "batch_size": n_worlds * n_steps // 2, "n_epochs": 2, "device": "cpu"}
    return EntityPPO(EntityPolicy, env, seed=seed, policy_kwargs={"policy": policy, "d_model": 16}, **options)


def weights(model):
    return {k: v.clone() for k, v in model.policy.state_dict().items()}


def follow(model):
    """A batch at the point where the model's first rollout began: worlds start at staggered steps."""
    batch = model.batch
    twin = interact_env.make_batch(batch.world.name, batch.n_worlds, seed=0, **batch.parameters)
    twin.reset()
    twin.steps[:] = np.arange(batch.n_worlds) * batch.params.max_cycles // batch.n_worlds
    return twin


def test_a_world_in_float64_with_weighted_counts_is_learned_from():
    given = {"dtype": "float64", "n_agents": [(2, 1), (5, 3)], "interaction": "charge"}
    model = make("n_body_v0", n_steps=8, **given)
    before = weights(model)
    model.learn(96)
    assert {int(n) for n in model.batch.n_agents} <= {2, 5}
    assert model.rollout_buffer.entities.dtype == torch.float32
    assert any((v != before[k]).any() for k, v in weights(model).items())
    stock = PPO(EntityPolicy, make_sb3_vec_env("n_body_v0", 2, seed=0, **given), n_steps=8, batch_size=16)
    stock.learn(80)
    assert stock.num_timesteps == 80


def test_gae_against_a_hand_calculation():
    """Two agents over four steps: one terminates at step 1, the other is cut at step 2."""
    gamma, lam = 0.5, 0.5
    rewards = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    values = torch.tensor([[2.0, 4.0], [1.0, 2.0], [8.0, 0.0], [2.0, 2.0]])
    next_values = torch.tensor([[1.0, 2.0], [8.0, 0.0], [2.0, 6.0], [4.0, 2.0]])
    terminated = torch.tensor([[False, False], [True, False], [False, False], [False, False]])
    truncated = torch.tensor([[False, False], [False, False], [False, True], [False, False]])
    # delta, first agent: 1 + .5 * 1 - 2 = -.5; 2 + 0 - 1 = 1; 0 + .5 * 2 - 8 = -7; 1 + .5 * 4 - 2 = 1
    # delta, second: 1 + .5 * 2 - 4 = -2; 0 + 0 - 2 = -2; 4 + .5 * 6 - 0 = 7; 1 + .5 * 2 - 2 = 0
    expected = torch.tensor(
        [
            [-0.5 + 0.25 * 1, -2 + 0.25 * (-2 + 0.25 * 7)],
            [1.0, -2 + 0.25 * 7],
            [-7 + 0.25 * 1, 7.0],
            [1.0, 0.0],
        ]
    )
    found = advantages(rewards, values, next_values, terminated, truncated, gamma, lam)
    torch.testing.assert_close(found, expected)


def test_a_rollout_is_finished_with_the_values_that_follow():
    """One agent in two worlds over three steps: world 0 ends at step 0, world 1 is cut at step 1."""
    batch = interact_env.make_batch("colliding_agents_v0", 2, seed=0, n_agents=1)
    buffer = EntityRolloutBuffer(3, batch, torch.device("cpu"))
    buffer.mask[:] = True
    buffer.rewards[:] = 1.0
    buffer.state_values[:] = torch.tensor([[[2.0], [4.0]], [[6.0], [8.0]], [[10.0], [12.0]]])
    buffer.terminated[0, 0] = True
    buffer.truncated[1, 1] = True
    buffer.next_values[1, 1] = 20.0
    buffer.next_values[0, 0] = math.nan
    buffer.finish(torch.tensor([[14.0], [16.0]]), gamma=0.5, gae_lambda=1.0)
    # world 0: 1 - 2; 1 + 5 - 6 + .5 * (1 + 7 - 10); 1 + 7 - 10
    # world 1: 1 + 4 - 4 + .5 * (1 + 10 - 8); 1 + 10 - 8; 1 + 8 - 12
    expected = torch.tensor([[-1.0, 2.5], [-1.0, 3.0], [-2.0, -3.0]])
    torch.testing.assert_close(buffer.advantages[..., 0], expected)
    torch.testing.assert_close(buffer.state_returns, buffer.advantages + buffer.state_values)


@pytest.mark.parametrize("world", WORLDS)
def test_a_rollout_holds_what_happened(world):
    """Against a second batch that is stepped with the stored actions."""
    leaving = {
        "colliding_agents_v0": {"remove_on_collision": True, "size": 16, "n_agents": (8, 20)},
        "n_body_v0": {"escape_radius": 0.7},
        "springs_v0": {"limit": 0.8},
    }
    model = make(world, **leaving[world])
    model.learn(1)
    buffer = model.rollout_buffer
    twin = follow(model)
    cuts = terminations = 0
    for t in range(16):
        alive = twin.alive.copy()
        np.testing.assert_array_equal(buffer.mask[t], alive)
        np.testing.assert_array_equal(buffer.entities[t], twin.rows)
        if buffer.visible is not None:
            np.testing.assert_array_equal(buffer.visible[t], twin.visible())
        step = twin.step(model.policy.bounded(buffer.actions[t]).numpy())
        np.testing.assert_array_equal(buffer.rewards[t], step.reward)
        np.testing.assert_array_equal(buffer.terminated[t], step.terminated)
        np.testing.assert_array_equal(buffer.truncated[t], twin.alive & step.truncated[:, None])
        cuts, terminations = cuts + int(buffer.truncated[t].sum()), terminations + int(step.terminated.sum())
        if twin.over.any():
            twin.reset(twin.over.copy())
    assert cuts > 0
    assert terminations > 0


def test_a_cut_bootstraps_from_the_true_last_observation():
    model = make(n_agents=3, max_cycles=5)
    untrained = copy.deepcopy(model.policy)
    model.learn(1)
    twin, cuts = follow(model), 0
    for t in range(16):
        step = twin.step(model.rollout_buffer.actions[t].numpy())
        cut = step.truncated.copy()
        with torch.no_grad():
            last = untrained.predict_values(joint_observation(twin, "cpu")).reshape(6, 3)
        torch.testing.assert_close(model.rollout_buffer.next_values[t][cut], last[cut])
        assert model.rollout_buffer.truncated[t].all(dim=1).tolist() == cut.tolist()
        cuts += cut.sum()
        if cut.any():
            twin.reset(cut)
    assert cuts > 15


def rolled_out(restart_below):
    model = make("n_body_v0", escape_radius=0.7)
    model.restart_below = restart_below
    model.learn(1)
    return model


def test_worlds_that_most_agents_have_left_start_anew_after_a_rollout():
    """What the rollout holds is the same, what their agents will earn included."""
    patient, eager = rolled_out(restart_below=0.0), rolled_out(restart_below=0.75)
    for name in ("mask", "rewards", "terminated", "truncated", "advantages", "state_returns"):
        assert torch.equal(getattr(patient.rollout_buffer, name), getattr(eager.rollout_buffer, name)), name
    left = patient.batch.alive.sum(axis=1) < 0.75 * patient.batch.n_agents
    assert 0 < left.sum() < len(left)
    assert (eager.batch.steps[left] == 0).all()
    assert (eager.batch.alive.sum(axis=1) == eager.batch.n_agents)[left].all()
    assert not eager.totals.joined[left].any()
    np.testing.assert_array_equal(eager.batch.rows[~left], patient.batch.rows[~left])
    ended = list(eager.ep_info_buffer)
    assert len(ended) == len(patient.ep_info_buffer) + left.sum()
    running = (patient.totals.episode_return.sum(dim=1) / patient.totals.joined.sum(dim=1)).numpy()[left]
    assert set(np.round(running, 6)) <= {round(episode["r"], 6) for episode in ended}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("policy", ["sa", "sa_linear", "deep_sets"])
def test_garbage_in_dead_rows_changes_the_weights_by_exactly_nothing(world, policy):
    def trained(spoil):
        model = make(world, policy=policy)
        finish = model.rollout_buffer.finish

        def spoilt(*arguments):
            finish(*arguments)
            buffer = model.rollout_buffer
            dead = ~buffer.mask
            assert dead.any()
            for values in (buffer.state_values, buffer.log_probs, buffer.advantages, buffer.state_returns):
                values[dead] = math.nan
            noise = 100 * torch.randn(buffer.entities.shape, generator=torch.Generator().manual_seed(1))
            buffer.entities[dead] = noise[dead]
            buffer.actions[dead] = 77

        if spoil:
            model.rollout_buffer.finish = spoilt
        model.learn(300)
        return weights(model)

    clean, dirty = trained(False), trained(True)
    assert clean.keys() == dirty.keys()
    assert all(torch.equal(clean[k], dirty[k]) for k in clean)


@pytest.mark.parametrize("world", WORLDS)
def test_training_is_repeatable_and_moves_the_weights(world):
    def trained(seed, steps=200):
        model = make(world, seed=seed)  # seeds the generators that stable-baselines3 draws from
        if steps:
            model.learn(steps)
        return weights(model)

    first, again, other, start = trained(0), trained(0), trained(1), trained(0, steps=0)
    assert all(torch.equal(v, again[k]) for k, v in first.items())
    assert any(not torch.equal(v, other[k]) for k, v in first.items())
    assert any(not torch.equal(v, start[k]) for k, v in first.items())


def test_every_living_agent_is_sampled_once_an_epoch():
    model = make()
    model.learn(1)
    buffer = model.rollout_buffer
    parts = list(buffer.minibatches(40))
    assert [len(p.actions) for p in parts] == [40, 40, 16]
    own = [p.observation["own"] for p in parts]
    assert sum(int(there.sum()) for there in own) == int(buffer.mask.sum())
    found = torch.cat([p.returns[there] for p, there in zip(parts, own, strict=True)]).sort().values
    torch.testing.assert_close(found, buffer.state_returns[buffer.mask].sort().values)
    assert all((p.returns[~there] == 0).all() for p, there in zip(parts, own, strict=True))


def test_counts_agent_steps_and_episode_returns():
    model = make(n_agents=3, n_worlds=5, n_steps=20)
    model.learn(1)
    assert model.num_timesteps == 100
    assert model.agent_steps == 300
    n, reward, metrics = model.totals.rates()
    assert n == 300
    assert reward == pytest.approx(float(model.rollout_buffer.rewards.mean()), abs=1e-6)
    assert metrics.shape == (2,)
    # Worlds start at steps 0, 2, 4, 6, 8 of episodes of 10: three of them end in mid-episode.
    assert sorted(e["l"] for e in model.ep_info_buffer) == [2, 4, 6, 8, *[10] * 6]
    ended = [10 - k + 10 * ((20 - 10 + k) // 10) for k in (0, 2, 4, 6, 8)]
    total = sum(float(model.rollout_buffer.rewards[:n, b].sum()) for b, n in enumerate(ended))
    assert sum(e["r"] for e in model.ep_info_buffer) * 3 == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("world", WORLDS)
def test_stock_ppo_trains_on_the_flattened_agents(world):
    env = make_sb3_vec_env(world, 3, seed=0, n_agents=(1, 4), max_cycles=7)
    model = PPO(EntityPolicy, VecMonitor(env), n_steps=32, batch_size=64, n_epochs=2, seed=0)
    start = weights(model)
    model.learn(500)
    assert any(not torch.equal(v, start[k]) for k, v in weights(model).items())
    actions, _ = model.predict(env.reset())
    assert actions.shape[0] == 12


def test_time_limits_are_told_from_ends():
    env = make_sb3_vec_env(
        "colliding_agents_v0", 30, seed=0, n_agents=(2, 4), max_cycles=6, remove_on_collision=True
    )
    twin = interact_env.make_batch(
        "colliding_agents_v0", 30, seed=0, n_agents=(2, 4), max_cycles=6, remove_on_collision=True
    )
    env.reset()
    twin.reset()
    kinds = set()
    for _ in range(20):
        alive, actions = twin.alive.copy(), twin.scripted("random")
        step = twin.step(actions)
        observations, rewards, dones, infos = env.step(actions.ravel())
        np.testing.assert_array_equal(rewards.reshape(30, 4), step.reward)
        for b in range(30):
            last, _ = twin.views(b)
            for i in range(4):
                done, info = dones[4 * b + i], infos[4 * b + i]
                assert done == (twin.over[b] or (alive[b, i] and step.terminated[b, i]))
                if done:
                    assert info["TimeLimit.truncated"] == (twin.alive[b, i] and step.truncated[b])
                    np.testing.assert_array_equal(info["terminal_observation"]["entities"], last[i])
                    kinds.add((info["TimeLimit.truncated"], bool(alive[b, i])))
        if twin.over.any():
            twin.reset(twin.over.copy())
        for b in range(30):
            np.testing.assert_array_equal(observations["entities"][4 * b : 4 * b + 4], twin.views(b)[0])
    assert kinds == {(True, True), (False, True), (False, False)}


def test_what_cannot_work_is_refused():
    env = make_sb3_vec_env("colliding_agents_v0", 2, seed=0)
    with pytest.raises(ValueError, match="use_sde must be False"):
        EntityPolicy(env.observation_space, env.action_space, lambda _: 0.0, use_sde=True)
    with pytest.raises(ValueError, match="env must be an AgentVecEnv"):
        EntityPPO(EntityPolicy, VecMonitor(env))
    import gymnasium

    plain = gymnasium.spaces.Dict(entities=gymnasium.spaces.Box(0, 1, (3, 4)))
    with pytest.raises(ValueError, match="must be an interact_env"):
        EntityPolicy(plain, env.action_space, lambda _: 0.0)


@pytest.mark.parametrize("world", WORLDS)
def test_predict_takes_any_number_of_agents(world):
    policy = make(world, n_agents=3).policy
    views, _ = interact_env.make(world, n_agents=16).reset(seed=0)
    one, _ = policy.predict(views["agent_3"], deterministic=True)
    stacked = {k: np.stack([view[k] for view in views.values()]) for k in ("entities", "mask")}
    many, _ = policy.predict(stacked, deterministic=True)
    np.testing.assert_allclose(many[3], one, rtol=1e-5)
    assert len(many) == 16
    with pytest.raises(ValueError, match=r"observation\['entities'\] must be \(..., n, [48]\)"):
        policy.predict({"entities": np.zeros((3, 9), np.float32), "mask": np.ones(3)})


def test_a_policy_can_be_saved_the_stable_baselines3_way(tmp_path):
    model = make()
    model.policy.save(tmp_path / "policy")
    again = EntityPolicy.load(tmp_path / "policy")
    assert all(torch.equal(v, weights(model)[k]) for k, v in again.state_dict().items())
    model.learn(100)
    model.save(tmp_path / "model")
    env = make_sb3_vec_env("colliding_agents_v0", 6, seed=0, n_agents=(2, 5), max_cycles=10)
    loaded = EntityPPO.load(tmp_path / "model", env=env)
    assert loaded.batch is env.batch
    assert all(torch.equal(v, weights(model)[k]) for k, v in weights(loaded).items())
    loaded.learn(100)
    with pytest.raises(NotImplementedError, match="make a new EntityPPO"):
        loaded.set_env(env)


def test_the_learning_rate_never_falls_below_zero(tmp_path):
    seen = []

    class Spy(EntityPPO):
        def train(self):
            super().train()
            seen.append(self.policy.optimizer.param_groups[0]["lr"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "EntityPPO", Spy)
        small = {"n_worlds": 8, "n_steps": 4, "batch_size": 16, "d_model": 8}
        assert training.train(TrainConfig(out=tmp_path / "run", total_steps=40, **small)) == 0
    assert len(seen) == 2
    assert seen[-1] == 0
    assert seen[0] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_trains_on_a_gpu():
    env = make_sb3_vec_env("colliding_agents_v0", 6, seed=0, n_agents=(2, 5), max_cycles=10)
    model = EntityPPO(EntityPolicy, env, n_steps=16, batch_size=48, device="cuda")
    start = weights(model)
    model.learn(200)
    assert any(not torch.equal(v, start[k]) for k, v in weights(model).items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "bar"), [("sa", 0.75), ("none", None), pytest.param("sa_linear", 0.75, marks=pytest.mark.long)]
)
def test_attention_learns_to_avoid_and_no_interaction_cannot(policy, bar):
    torch.set_num_threads(2)
    env = make_sb3_vec_env("colliding_agents_v0", 256, seed=0, n_agents=8, size=16, shape="square")
    model = EntityPPO(
        EntityPolicy, env, learning_rate=lambda remaining: 3e-3 * remaining, n_steps=8, batch_size=256,
        n_epochs=3, gamma=0.9, ent_coef=0.003, seed=0, device="cpu", policy_kwargs={"policy": policy},
    )  # fmt: skip
    model.learn(256 * 8 * 20)
    reward = model.totals.rates()[1]
    if bar is None:
        assert 0.4 < reward < 0.65, "goes ahead and collides"
    else:
        assert reward > bar
