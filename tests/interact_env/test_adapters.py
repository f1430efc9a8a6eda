"""PettingZoo, Gymnasium and the registry: other people's conformance suites, and what they leave out."""

import copy
import hashlib
import os
import pickle
import subprocess
import sys
import types
import warnings

import gymnasium
import numpy as np
import pettingzoo
import pytest
import springs
from envs import parallel, sample
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, parallel_seed_test, seed_test
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from worlds import CASES, IDS, MAIN, MAIN_IDS

import interact_env
from interact_env import colliding_agents_v0, n_body_v0

# Every case as a Dict of sets, and every third as a flat Box.
GRID = [({"world": world, **parameters}, name) for (world, parameters), name in zip(CASES, IDS, strict=True)]
GRID += [({**parameters, "flat": True}, f"{name} flat") for parameters, name in GRID[::3]]
each = pytest.mark.parametrize("parameters", [p for p, _ in GRID], ids=[name for _, name in GRID])


def aec(parameters):
    return pettingzoo.utils.parallel_to_aec(parallel(parameters))


@each
def test_pettingzoo_parallel_api(parameters):
    parallel_api_test(parallel(parameters), num_cycles=100)


@each
def test_pettingzoo_aec_api(parameters):
    api_test(aec(parameters), num_cycles=60)


@each
def test_pettingzoo_seed(parameters):
    seed_test(lambda: aec(parameters), num_cycles=40)
    parallel_seed_test(lambda: parallel(parameters), num_cycles=40)


@pytest.mark.parametrize("module", [colliding_agents_v0, n_body_v0])
def test_pettingzoo_max_cycles(module):
    max_cycles_test(module)


@pytest.mark.parametrize("module", [colliding_agents_v0, n_body_v0])
def test_pettingzoo_module_and_registry(module):
    assert isinstance(module.parallel_env(), pettingzoo.ParallelEnv)
    assert isinstance(module.env(), pettingzoo.AECEnv)
    assert isinstance(module.raw_env(), pettingzoo.AECEnv)
    name = f"interact_env/{module.__name__.rpartition('.')[2]}"
    made = pettingzoo.make("parallel", name, n_agents=3)
    assert made.possible_agents == ["agent_0", "agent_1", "agent_2"]
    assert isinstance(pettingzoo.make("aec", name), pettingzoo.AECEnv)


@each
def test_whole_episodes_stay_in_their_spaces(parameters):
    env = parallel(parameters, vision_radius=1.0 if "springs" in parameters["world"] else 4)
    for seed in (1, 2, None):
        observations, _ = env.reset(seed=seed)
        while env.agents:
            assert env.state_space.contains(env.state())
            for agent, observation in observations.items():
                assert env.observation_space(agent).contains(observation)
            acted = set(env.agents)
            observations, rewards, terminations, truncations, infos = env.step(sample(env))
            for found in (observations, rewards, terminations, truncations, infos):
                assert set(found) == acted
            assert all(isinstance(r, float) for r in rewards.values())
            assert not any(terminations[a] and truncations[a] for a in acted)
            assert all(tuple(info) == env.batch.world.METRICS for info in infos.values())


def test_a_view_shows_the_own_row_first_then_who_is_in_sight():
    env = parallel({"n_agents": 6}, vision_radius=5)
    observations, _ = env.reset(seed=0)
    visible = env.batch.visible()[0]
    for i, agent in enumerate(env.possible_agents):
        rows, mask = observations[agent]["entities"], observations[agent]["mask"]
        np.testing.assert_array_equal(rows[0], env.batch.rows[0, i])
        assert mask.sum() == visible[i].sum()
        assert (np.diff(mask) <= 0).all(), "present first, padding after"
        assert not rows[mask == 0].any()
    flat, _ = parallel({"n_agents": 6}, vision_radius=5, flat=True).reset(seed=0)
    rows = flat["agent_2"].reshape(6, 5)
    np.testing.assert_array_equal(rows[:, :4], observations["agent_2"]["entities"])
    np.testing.assert_array_equal(rows[:, 4], observations["agent_2"]["mask"])


@each
def test_values_are_those_of_the_batch(parameters):
    env = parallel(parameters)
    env.reset(seed=5)
    twin = copy.deepcopy(env.batch)
    while env.agents:
        acted, actions = env.agents, sample(env)
        joint = twin.blank_actions()
        for agent, action in actions.items():
            joint[0, env.possible_agents.index(agent)] = action
        step = twin.step(joint)
        _, rewards, terminations, truncations, infos = env.step(actions)
        for agent in acted:
            i = env.possible_agents.index(agent)
            assert rewards[agent] == step.reward[0, i]
            assert terminations[agent] == step.terminated[0, i]
            assert truncations[agent] == (twin.alive[0, i] and step.truncated[0])
            assert list(infos[agent].values()) == twin.metrics[0, i].tolist()


def test_observations_are_never_reused():
    env = parallel({"n_agents": 3})
    first, _ = env.reset(seed=0)
    kept = copy.deepcopy(first)
    env.step(sample(env))
    for agent, observation in first.items():
        np.testing.assert_array_equal(observation["entities"], kept[agent]["entities"])


PLAY = """
import ast, hashlib, os, sys
import interact_env
sys.path.insert(0, sys.argv[4])
import springs
interact_env.register("springs_v0", springs)
env = interact_env.make(sys.argv[2], **ast.literal_eval(sys.argv[3]))
noise = interact_env.make("colliding_agents_v0", n_agents=3)
noise.reset(seed=int(sys.argv[1]))
digest = hashlib.sha256()
env.reset(seed=11)
for episode in range(3):
    while env.agents:
        for agent in env.agents:
            env.action_space(agent).seed(len(env.agents))
        result = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        for agent in result[0]:
            digest.update(result[0][agent]["entities"].tobytes() + repr(result[1][agent]).encode())
        if not noise.agents:
            noise.reset()
        noise.step({agent: 1 for agent in noise.agents})
    env.reset()
print(digest.hexdigest())
"""


@pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)
def test_episodes_are_the_same_in_other_processes_beside_other_instances(world, parameters):
    helpers = os.path.dirname(springs.__file__)

    def play(hash_seed):
        run = subprocess.run(
            [sys.executable, "-c", PLAY, hash_seed, world, repr(parameters), helpers],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        return run.stdout

    assert len({play("0"), play("1"), play("12345")}) == 1


@each
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_an_env_copied_in_mid_episode_goes_on_the_same(parameters, copied):
    env = parallel(parameters)
    env.reset(seed=3)
    env.step(sample(env))
    twin = copied(env)
    while env.agents:
        actions = sample(env)
        ours, theirs = env.step(actions), twin.step(actions)
        assert ours[1:] == theirs[1:]
        assert env.agents == twin.agents
        np.testing.assert_array_equal(env.state(), twin.state())


@pytest.mark.parametrize(("world", "parameters"), CASES, ids=IDS)
def test_gymnasium_check(world, parameters):
    env = gymnasium.make(f"interact_env/{world[:-3]}-v0", **parameters)
    check_env(env.unwrapped, skip_render_check=True)
    sb3_check_env(env.unwrapped)


def test_gymnasium_reward_is_the_mean_over_those_that_acted():
    env = gymnasium.make("interact_env/colliding_agents-v0", n_agents=(2, 6), max_cycles=5)
    env.reset(seed=1)
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    n = observation["mask"].sum()
    assert reward == pytest.approx(info["agent_reward"].sum() / n)
    for _ in range(4):
        *_, terminated, truncated, info = env.step(env.action_space.sample())
    assert (terminated, truncated) == (False, True)
    with pytest.raises(RuntimeError, match="world 0 is over"):
        env.step(env.action_space.sample())


def test_gymnasium_vector_restarts_in_the_same_step():
    made = {"n_agents": 3, "remove_on_collision": True, "max_cycles": 25, "size": 16, "n_labels": 2}
    envs = gymnasium.make_vec("interact_env/colliding_agents-v0", num_envs=5, **made)
    single = interact_env.make_batch("colliding_agents_v0", 5, seed=8, **made)
    assert envs.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    observation, _ = envs.reset(seed=8)
    single.reset()
    ended = 0
    envs.action_space.seed(0)
    for _ in range(120):
        assert envs.observation_space.contains(observation)
        actions = envs.action_space.sample()
        observation, _, terminated, truncated, infos = envs.step(actions)
        single.step(actions)
        over = single.over.copy()
        np.testing.assert_array_equal(terminated | truncated, over)
        for b in np.flatnonzero(over):
            np.testing.assert_array_equal(infos["final_obs"][b]["entities"], single.rows[b])
            np.testing.assert_array_equal(infos["final_obs"][b]["mask"], single.alive[b])
        if over.any():
            np.testing.assert_array_equal(infos["_final_obs"], over)
            single.reset(over)
        np.testing.assert_array_equal(observation["entities"], single.rows)
        ended += over.sum()
    assert ended >= 20


def test_gymnasium_sync_vector_agrees_with_ours():
    made = {"n_agents": 4, "max_cycles": 100}
    sync = gymnasium.make_vec(
        "interact_env/colliding_agents-v0", num_envs=2, vectorization_mode="sync", **made
    )
    observation, _ = sync.reset(seed=8)
    batch = interact_env.make_batch("colliding_agents_v0", 1, seed=8, **made)
    batch.reset()
    np.testing.assert_array_equal(observation["entities"][0], batch.rows[0])


def test_registering_a_world_of_ones_own():
    module = types.ModuleType("my_springs")
    vars(module).update({k: v for k, v in vars(springs).items() if not k.startswith("__")})
    interact_env.register("my_springs_v3", module)
    env = interact_env.make("my_springs_v3", n_agents=2)
    env.reset(seed=0)
    env.step(sample(env))
    assert gymnasium.make("interact_env/my_springs-v3").unwrapped is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interact_env.register("my_springs_v3", module)  # again, as a notebook cell does


def test_registering_refuses_what_cannot_work():
    with pytest.raises(ValueError, match="name must look like 'my_world_v0', not 'springs'"):
        interact_env.register("springs", springs)
    with pytest.raises(ValueError, match="is taken by springs: raise the version"):
        interact_env.register("springs_v0", types.ModuleType("other"))
    incomplete = types.ModuleType("incomplete")
    incomplete.configure = springs.configure
    with pytest.raises(
        ValueError, match=r"lacks: blank\(params\) -> State.*spawn\(params, key, n, i, state\)"
    ):
        interact_env.register("incomplete_v0", incomplete)
    with pytest.raises(ValueError, match="no world 'nothing_v0'; known: colliding_agents_v0"):
        interact_env.make("nothing_v0")


def test_absent_agents_actions_are_ignored():
    batch = interact_env.make_batch("colliding_agents_v0", 4, seed=0, n_agents=(1, 3))
    batch.reset()
    actions = batch.scripted("random")
    twin = copy.deepcopy(batch)
    twin.step(np.where(twin.alive, actions, 999))
    batch.step(actions)
    np.testing.assert_array_equal(batch.rows, twin.rows)


def test_rendering_changes_nothing():
    """Rendering gives new frames and leaves the episode alone."""
    drawn, plain = parallel({"n_agents": 4}, render_mode="rgb_array"), parallel({"n_agents": 4})
    drawn.reset(seed=0)
    plain.reset(seed=0)
    frames = set()
    for _ in range(5):
        frames.add(hashlib.sha256(drawn.render().tobytes()).hexdigest())
        actions = dict.fromkeys(plain.agents, 1)
        drawn.step(actions)
        plain.step(actions)
    np.testing.assert_array_equal(drawn.state(), plain.state())
    assert len(frames) == 5
