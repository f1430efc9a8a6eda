"""A million steps of each world, worlds of one agent and of thousands."""

import os

import numpy as np
import pytest
from envs import sample
from worlds import MAIN, MAIN_IDS

import interact_env
from interact_env.spaces import EntityBox


def resident():
    """Megabytes of memory that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")


@needs_proc
@pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)
def test_a_million_random_steps(world, parameters):
    """1,000 worlds by 1,000 steps: finite, within the space, nothing that leaks, nobody who returns."""
    n_worlds = 1000
    batch = interact_env.make_batch(world, n_worlds, seed=0, n_threads=1, **{**parameters, "max_cycles": 50})
    box = EntityBox(batch.columns, batch.n_slots, batch.dtype)
    batch.reset()
    before = 0.0
    for t in range(1000):
        there = batch.alive.copy()
        step = batch.step(batch.scripted("random"))
        assert np.isfinite(step.reward).all()
        assert np.isfinite(batch.metrics).all()
        assert ((batch.rows >= box.low) & (batch.rows <= box.high)).all(), "within the space"
        assert not (batch.alive & ~there).any(), "nobody returns"
        np.testing.assert_array_equal(step.terminated, there & ~batch.alive)
        assert not batch.rows[~batch.alive].any()
        assert not step.reward[~there].any()
        check_invariants(world, batch, step)
        batch.reset(batch.over.copy())
        if t == 100:  # everything has been used once
            before = resident()
    assert batch.episode.min() >= 19
    assert resident() - before <= 5


def check_invariants(world, batch, step):
    progress = batch.metrics[..., 0]
    if world == "colliding_agents_v0":
        assert np.isin(progress, (-1, 0, 1)).all()
        np.testing.assert_allclose(step.reward, progress - batch.metrics[..., 1])
    elif world == "n_body_v0":
        distance, fuel = batch.metrics[..., 0], batch.metrics[..., 1]
        assert distance.max() <= batch.params.escape_radius * 1.0001
        assert fuel.max() <= batch.params.dims
        assert step.reward.max() <= 1


@needs_proc
@pytest.mark.parametrize("world", ["colliding_agents_v0", "n_body_v0"])
def test_the_single_env_leaks_nothing(world):
    env = interact_env.make(world, n_agents=(1, 4), max_cycles=20, seed=0)
    before = 0.0
    for episode in range(300):
        env.reset()
        while env.agents:
            env.step(sample(env))
        if episode == 50:
            before = resident()
    assert resident() - before <= 5


@pytest.mark.parametrize(
    ("world", "n", "parameters"),
    [
        ("colliding_agents_v0", 1, {}),
        ("colliding_agents_v0", 4096, {}),
        ("n_body_v0", 1, {}),
        ("n_body_v0", 1, {"interaction": "three_body"}),
        ("n_body_v0", 1, {"start": "ring"}),
        ("n_body_v0", 1024, {}),
        ("n_body_v0", 1024, {"start": "ring", "radius": 0.01}),
        ("n_body_v0", 2048, {"interaction": "charge", "dims": 3}),
        ("n_body_v0", 128, {"interaction": "three_body", "dims": 3}),
    ],
)
def test_one_agent_and_thousands(world, n, parameters):
    batch = interact_env.make_batch(world, 1, seed=0, n_agents=n, **parameters)
    batch.reset()
    assert batch.alive.sum() == n
    assert np.unique(batch.rows[0], axis=0).shape[0] == n
    for _ in range(2):
        batch.step(batch.scripted("random"))
    assert np.isfinite(batch.rows).all()
