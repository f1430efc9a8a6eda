"""Worlds on numba's simulator of a GPU, compared with the CPU: NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1."""

import itertools
import pickle
import sys

import numpy as np
import pytest
import springs
import torch
from devices import pair, play
from numba.cuda.simulator import kernelapi
from numba.np.numpy_support import as_dtype
from sums import WORLDS, strew
from worlds import MAIN

import interact_env
from interact_env.engine import WorldBatch, cuda

# Its blocks have 8 threads: worlds share blocks, the grid goes round, threads take several agents.
CASES = [
    *[(world, 5, {**parameters, "max_cycles": 2}, 5) for world, parameters in MAIN],
    ("colliding_agents_v0", 37, {"n_agents": (2, 3), "remove_on_collision": True, "max_cycles": 3}, 4),
    (
        "colliding_agents_v0",
        3,
        {"n_agents": 11, "n_labels": 2, "collides": [[0, 1], [1, 1]], "max_cycles": 3},
        4,
    ),
    ("springs_v0", 2, {"n_agents": (9, 12), "vision_radius": 0.5, "max_cycles": 2}, 3),
    # Several tiles, the last one not full.
    ("n_body_v0", 2, {"n_agents": (9, 19), "dims": 3, "interaction": "charge", "max_cycles": 2}, 3),
    # Cells.
    ("colliding_agents_v0", 3, {"n_agents": (10, 35), "remove_on_collision": True, "max_cycles": 3}, 4),
    ("colliding_agents_v0", 2, {"n_agents": 20, "topology": "cylinder", "density": 0.06, "max_cycles": 2}, 3),
]


def shared_array(shared, shape, dtype):
    """As the simulator's own, but two threads that ask at once get the same."""
    caller = sys._getframe(1)
    new = np.empty(shape, as_dtype(dtype))
    return shared._allocations.setdefault((caller.f_code, caller.f_lineno), new)


def equal(case):
    world, n_worlds, parameters, steps = case
    ended, _ = play(world, n_worlds, parameters, steps)
    assert ended, "some world was restarted"


def sums(_):
    """Tiles and cells, in two dimensions and three, of few agents and of many rounds of a block."""
    random = np.random.default_rng(0)
    cases = itertools.product((7, 19), (2, 3), ((0.1, 1.0), (0.3, 1.0), (0.1, 3.0)))
    found = 0
    for n, dims, (reach, widest) in cases:
        options = {"n_worlds": 2, "n_agents": n, "dims": dims, "reach": reach, "walls": widest > 1, "seed": 0}
        cpu = WorldBatch(WORLDS[dims], **options)
        cpu.reset()
        strew(cpu, random, widest)
        before = cpu.save()
        cpu.step(cpu.blank_actions())
        found += cpu.state().near.sum()
        for cells_from in (1, 10**6):
            cuda.Simulator.chip = cuda.Simulator.chip._replace(cells_from=cells_from)
            batch = WorldBatch(WORLDS[dims], device="cuda", **options)
            assert batch._engine._plan.build.cells == (cells_from == 1)
            batch.restore(before)
            batch.step(batch.blank_actions())
            for name, array in cpu.save().items():
                np.testing.assert_array_equal(batch.save()[name], array, err_msg=f"{options} {name}")
    assert found > 100, "some are near each other"


def refusals(_):
    batch, _ = pair("colliding_agents_v0", 2, {"n_agents": 3})
    with pytest.raises(ValueError, match=r"mask must be bool of shape \(2,\) on cpu, not int64 of"):
        batch.reset(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="mask must be a tensor on cpu, not a ndarray"):
        batch.reset(np.ones(2, np.bool_))
    with pytest.raises(ValueError, match=r"actions must be int64 of shape \(2, 3\) on cpu, not float32"):
        batch.step(torch.zeros(2, 3))


def faults(_):
    batch, cpu = pair("colliding_agents_v0", 2, {"n_agents": 3})
    batch.step(batch.blank_actions())
    with pytest.raises(RuntimeError, match="world 0 has not been reset"):
        batch.check()
    batch.reset()
    cpu.reset()
    actions = batch.blank_actions()
    actions[1, 2], actions[1, 0] = 5, 4
    batch.step(actions)
    with pytest.raises(ValueError, match=r"actions\[1, 2\] must be in \[0, 5\)"):
        batch.check()
    batch.check()  # told once
    actions[1, 2] = 0  # what it took instead
    cpu.step(actions.numpy())
    np.testing.assert_array_equal(batch.rows.numpy(), cpu.rows)
    batch.over[1] = True
    batch.step(actions)
    with pytest.raises(RuntimeError, match="world 1 is over: call reset"):
        batch.check()
    floats, _ = pair("springs_v0", 1, {"n_agents": 2})
    floats.reset()
    actions = floats.blank_actions()
    actions[0, 1, 0] = torch.nan
    floats.step(actions)
    with pytest.raises(ValueError, match=r"actions\[0, 1\] must be within \[-1, 1\]"):
        floats.check()
    assert floats.rows.isfinite().all()


def moves(_):
    """A batch saved on one device goes on on the other."""
    batch, cpu = pair("springs_v0", 2, {"n_agents": (2, 4)})
    batch.reset()
    batch.step(batch.scripted("random"))
    cpu.restore(batch.save())
    again = pickle.loads(pickle.dumps(batch))
    assert again.device == batch.device == "cuda"
    for one in (batch, again):
        one.step(one.scripted("random"))
    cpu.step(cpu.scripted("random"))
    np.testing.assert_array_equal(batch.rows.numpy(), cpu.rows)
    np.testing.assert_array_equal(again.rows.numpy(), cpu.rows)
    for x, y in zip((*batch.views(1), *batch.state(1)), (*cpu.views(1), *cpu.state(1)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert batch.scene(1) == cpu.scene(1)


def in_place(_):
    """Tensors are the kernels' own memory, the same at every step."""
    batch, _ = pair("springs_v0", 2, {"n_agents": 3})
    names = ("rows", "alive", "reward", "metrics", "over", "steps")
    before = {name: getattr(batch, name).data_ptr() for name in names}
    batch.reset()
    step = batch.step(batch.scripted("random"))
    assert before == {name: getattr(batch, name).data_ptr() for name in names}
    assert step.reward.data_ptr() == batch.reward.data_ptr()
    assert batch.rows.any()


def model_in(env, device, **options):
    from train.policy import EntityPolicy
    from train.ppo import EntityPPO
    from train.vec_env import make_sb3_vec_env

    worlds = make_sb3_vec_env(env, 2, seed=0, device=device, n_agents=(2, 3), max_cycles=3)
    given = {"n_steps": 4, "batch_size": 4, "n_epochs": 1, "seed": 0, "device": "cpu", **options}
    return EntityPPO(EntityPolicy, worlds, policy_kwargs={"d_model": 8, "n_heads": 2}, **given)


def training(_):
    """A policy learns the same from worlds that are tensors."""
    for env in ("colliding_agents_v0", "springs_v0"):
        weights = []
        for device in ("cpu", "cuda"):
            model = model_in(env, device)
            model.learn(16)
            weights.append(torch.cat([w.flatten() for w in model.policy.state_dict().values()]))
        assert torch.equal(*weights)


def waiting(_):
    """The host waits once in an iteration of training, the copies for a checkpoint included."""
    from stable_baselines3.common.callbacks import BaseCallback
    from waiting import Waits

    from train import snapshot
    from train.ppo import EntityPPO

    class Keeps(BaseCallback):
        def _on_rollout_start(self):
            snapshot.take(self.model)

        def _on_step(self):
            return True

    EntityPPO._looks = False  # as on a GPU
    for env, options in (("colliding_agents_v0", {"n_epochs": 2}), ("n_body_v0", {}), ("springs_v0", {})):
        model = model_in(env, "cuda", **options)
        model.learn(8)  # one iteration, to warm up
        with Waits() as waits:
            model.learn(24, callback=Keeps(), reset_num_timesteps=False, log_interval=None)
        assert waits.found == ["cpu"] * (3 + 1), (env, waits.found, "three iterations, and the end")
        with Waits() as waits:
            float(model.totals.length.sum())
            model.totals.length[model.totals.length > 0]
        assert waits.found == ["_local_scalar_dense", "index"], "or nothing would be found"


if __name__ == "__main__":
    kernelapi.FakeCUDAShared.array = shared_array
    interact_env.register("springs_v0", springs)
    check, case = sys.argv[1], int(sys.argv[2])
    globals()[check](CASES[case])
