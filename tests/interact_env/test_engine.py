"""The contract of the engine, over every world that is registered."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from worlds import MAIN, MAIN_IDS

import interact_env
from interact_env.engine.batch import max_threads

each = pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)


def arrays_after(batch, steps):
    """Everything that a run of random actions produced, with worlds restarted as they end."""
    found = []
    batch.reset()
    for _ in range(steps):
        step = batch.step(batch.scripted("random"))
        found.append([batch.rows, batch.alive, batch.metrics, *step])
        found[-1] = [array.copy() for array in found[-1]]
        if batch.over.any():
            batch.reset(batch.over.copy())
        found.append([batch.rows.copy(), batch.n_agents.copy()])
    return found


@each
@pytest.mark.parametrize("n_worlds", [1, 7, 1024])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_a_world_plays_the_same_whatever_the_batch_and_threads(world, parameters, n_worlds, n_threads):
    threads = min(n_threads, max_threads())
    many = interact_env.make_batch(world, n_worlds, seed=3, n_threads=threads, **parameters)
    found = arrays_after(many, 30)
    for b in {0, n_worlds // 2, n_worlds - 1}:
        one = interact_env.make_batch(world, 1, seed=3, n_threads=1, first_world=b, **parameters)
        for of_many, of_one in zip(found, arrays_after(one, 30), strict=True):
            for x, y in zip(of_many, of_one, strict=True):
                np.testing.assert_array_equal(x[b], y[0])


@each
def test_four_threads_are_really_used_and_give_the_same_bits(world, parameters):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "import springs, hashlib, numpy as np, interact_env\n"
        "interact_env.register('springs_v0', springs)\n"
        f"b = interact_env.make_batch({world!r}, 64, seed=1, n_threads=int(sys.argv[1]), **{parameters!r})\n"
        "h = hashlib.sha256(); before = len(os.listdir('/proc/self/task')); b.reset()\n"
        "for _ in range(10):\n"
        "    b.step(b.scripted('random')); h.update(b.rows.tobytes() + b.reward.tobytes()); b.reset(b.over)\n"
        "print(len(os.listdir('/proc/self/task')) - before, h.hexdigest())\n"
    )
    helpers = os.path.dirname(sys.modules["springs"].__file__)
    env = {**os.environ, "NUMBA_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "1"}
    found = [
        subprocess.run(
            [sys.executable, "-c", code, n, helpers],
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout.split()
        for n in ("1", "4")
    ]
    assert found[0][0] == "0", "no new thread"
    assert int(found[1][0]) >= 3, "three workers beside the main one"
    assert found[0][1] == found[1][1]


@each
def test_a_seed_starts_over_and_another_differs(world, parameters):
    batch = interact_env.make_batch(world, 4, seed=5, **parameters)
    batch.reset()
    first = batch.rows.copy()
    batch.reset()
    assert (batch.rows != first).any(), "the second episode differs from the first"
    batch.reset(seed=5)
    np.testing.assert_array_equal(batch.rows, first)
    batch.reset(seed=6)
    assert (batch.rows != first).any()


@each
def test_partial_reset_leaves_the_others_alone(world, parameters):
    batch = interact_env.make_batch(world, 6, seed=0, **parameters)
    batch.reset()
    batch.step(batch.scripted("random"))
    before = batch.save()
    mask = np.array([True, False, True, False, False, False])
    batch.reset(mask)
    for name, after in batch.save().items():
        if name != "seed":
            np.testing.assert_array_equal(after[~mask], before[name][~mask], err_msg=name)
    assert batch.episode.tolist() == [1, 0, 1, 0, 0, 0]
    assert batch.steps.tolist() == [0, 1, 0, 1, 1, 1]


@each
def test_counts_vary_within_a_batch(world, parameters):
    batch = interact_env.make_batch(world, 500, seed=0, **{**parameters, "n_agents": (2, 5)})
    batch.reset()
    np.testing.assert_array_equal(batch.alive.sum(axis=1), batch.n_agents)
    assert np.bincount(batch.n_agents).tolist()[:2] == [0, 0]
    assert (np.bincount(batch.n_agents)[2:] > 90).all(), "each of the four counts is drawn about 125 times"
    assert not batch.rows[~batch.alive].any()


@each
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_a_copy_in_mid_episode_goes_on_the_same(world, parameters, copied):
    batch = interact_env.make_batch(world, 3, seed=9, **parameters)
    batch.reset()
    for _ in range(3):
        batch.step(batch.scripted("random"))
        batch.reset(batch.over.copy())
    twin = copied(batch)
    np.testing.assert_array_equal(twin.rows, batch.rows)
    for _ in range(5):
        actions = batch.scripted("random")
        for one in (batch, twin):
            one.step(actions)
            one.reset(one.over.copy())
    assert all((twin.save()[k] == v).all() for k, v in batch.save().items())
    assert twin.rows is not batch.rows


@each
def test_save_and_restore_go_back_exactly(world, parameters):
    batch = interact_env.make_batch(world, 3, seed=9, **parameters)
    batch.reset()
    batch.step(batch.scripted("random"))
    saved = batch.save()
    once = [batch.step(batch.scripted("random")).reward.copy() for _ in range(4)]
    batch.restore(saved)
    twice = [batch.step(batch.scripted("random")).reward.copy() for _ in range(4)]
    np.testing.assert_array_equal(once, twice)


def test_restore_refuses_another_batch():
    small = interact_env.make_batch("springs_v0", 2, seed=0)
    large = interact_env.make_batch("springs_v0", 3, seed=0)
    before = large.save()
    with pytest.raises(ValueError, match=r"saved\['state.alive'\] must be bool of shape \(3, 4\)"):
        large.restore(small.save())
    assert all((large.save()[k] == v).all() for k, v in before.items())


def test_agents_leave_for_good():
    batch = interact_env.make_batch("springs_v0", 20, seed=0, limit=1.0, n_agents=8, max_cycles=None)
    batch.reset()
    alive = batch.alive.copy()
    left = 0
    while not batch.over.any():
        step = batch.step(np.ones_like(batch.blank_actions()))
        np.testing.assert_array_equal(step.terminated, alive & ~batch.alive)
        assert not step.reward[~alive].any(), "the absent earn nothing"
        assert not batch.rows[~batch.alive].any()
        left += step.terminated.sum()
        alive = batch.alive.copy()
    assert left >= 8


def test_a_phase_reads_the_finished_phase_before_it():
    batch = interact_env.make_batch("springs_v0", 1, seed=0, n_agents=3, limit=100.0)
    batch.reset()
    thrust = np.zeros((1, 3, 2), np.float32)
    for _ in range(3):
        old = batch.state()
        batch.step(thrust)
        new = batch.state()
        position = old.position + np.float32(0.1) * old.velocity
        np.testing.assert_array_equal(new.position, position)
        pull = 0.1 * (position[None] - position[:, None]).sum(axis=1)
        np.testing.assert_allclose(new.velocity, old.velocity + 0.1 * pull, rtol=1e-5, atol=1e-6)


@each
def test_visible_agrees_with_the_views(world, parameters):
    batch = interact_env.make_batch(
        world,
        3,
        seed=2,
        **{**parameters, "n_agents": (3, 7), "vision_radius": 5 if "colliding" in world else 1.5},
    )
    batch.reset()
    visible = batch.visible()
    for b in range(3):
        entities, mask = batch.views(b)
        for i in range(7):
            seen = [i, *(j for j in range(7) if j != i and visible[b, i, j])] if batch.alive[b, i] else []
            assert mask[i].sum() == len(seen)
            np.testing.assert_array_equal(entities[i, : len(seen)], batch.rows[b][seen])
            assert not entities[i, len(seen) :].any()


@each
def test_unlimited_vision_needs_no_mask(world, parameters):
    assert interact_env.make_batch(world, 1, seed=0, vision_radius=None, **parameters).visible() is None


def test_interpreted_rules_give_the_same_episode(tmp_path):
    """Under NUMBA_DISABLE_JIT=1 a world can be stepped in a debugger."""
    code = (
        "import hashlib, interact_env\n"
        "b = interact_env.make_batch('colliding_agents_v0', 2, seed=1, n_agents=(2, 5), n_labels=3)\n"
        "b.reset(); h = hashlib.sha256()\n"
        "for _ in range(10): b.step(b.scripted('yield')); h.update(b.rows.tobytes() + b.reward.tobytes())\n"
        "b.visible(); b.views(); print(h.hexdigest())\n"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_DISABLE_JIT": jit},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout
        for jit in ("0", "1")
    }
    assert len(hashes) == 1


def test_random_actions_fill_the_space():
    batch = interact_env.make_batch("colliding_agents_v0", 100, seed=0)
    batch.reset()
    assert np.bincount(batch.scripted("random").ravel(), minlength=5).min() > 100
    before = batch.scripted("random")
    batch.step(before)
    assert (batch.scripted("random") != before).any(), "drawn anew at every step"
    floats = interact_env.make_batch("springs_v0", 100, seed=0)
    floats.reset()
    actions = floats.scripted("random")
    assert actions.dtype == np.float32
    assert actions.min() < -0.9
    assert actions.max() > 0.9
    assert np.abs(actions).max() <= 1
