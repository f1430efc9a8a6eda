"""Run with pytest: the contract, the world's own arithmetic, and everything that comes for free."""

import my_world  # noqa: F401  # registers it
import numpy as np
import pytest

import interact_env


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_keeps_the_contract(dtype):
    interact_env.validate("my_world_v0", n_agents=(1, 5), dtype=dtype)


def test_company_pays_and_a_crowd_costs():
    """Put the agents where the answer is known, by hand."""
    batch = interact_env.make_batch("my_world_v0", seed=0, n_agents=3, dtype="float64")
    batch.reset()
    saved = batch.save()
    saved["state.x"][0] = [0.5, 1.0, 15.5]  # the third is 1 m away, across the edge
    saved["state.y"][0] = 3
    saved["state.shyness"][0] = [0.5, 0, 0]
    batch.restore(saved)
    step = batch.step(np.zeros((1, 3, 2), np.float32))
    np.testing.assert_array_equal(batch.metrics[0], [[2, 2], [2, 1], [2, 1]])
    np.testing.assert_allclose(step.reward[0], [2 - 2 * 0.5 * 2, 2, 2])


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match="reach must be"):
        interact_env.make("my_world_v0", reach=-1)


def test_it_runs_in_the_single_env_and_draws():
    env = interact_env.make("my_world_v0", n_agents=4, render_mode="rgb_array")
    env.reset(seed=0)
    while env.agents:
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    assert env.render().shape == (600, 600, 3)


def test_it_runs_in_a_batch():
    batch = interact_env.make_batch("my_world_v0", 64, seed=0, n_agents=(2, 8))
    batch.reset()
    step = batch.step(batch.scripted("drift"))
    assert step.reward.shape == (64, 8)


def test_it_can_be_trained_in():
    from train import EntityPolicy, EntityPPO, make_sb3_vec_env

    worlds = make_sb3_vec_env("my_world_v0", n_worlds=8, n_agents=(2, 6), seed=0)
    model = EntityPPO(EntityPolicy, worlds, n_steps=8, batch_size=32, n_epochs=1, device="cpu")
    model.learn(total_timesteps=64)
    assert model.num_timesteps == 64
