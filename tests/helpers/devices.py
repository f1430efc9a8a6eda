"""A batch on a GPU (or its simulator) beside the same one on the CPU."""

import numpy as np
import torch

import interact_env


def pair(world, n_worlds, parameters, device="cuda"):
    """The same worlds on the device and on the CPU, before their first reset."""
    make = interact_env.make_batch
    return make(world, n_worlds, seed=1, device=device, **parameters), make(
        world, n_worlds, seed=1, **parameters
    )


def close(found, expected, bound, what):
    """Equal, or for floats within bound * (1 + |expected|)."""
    found = found.cpu().numpy()
    assert found.dtype == expected.dtype, what
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=what)
    np.testing.assert_allclose(found, expected, rtol=bound, atol=bound, err_msg=what)


def play(world, n_worlds, parameters, steps, bound=0.0):
    """Step both from the same states, with worlds restarted as they end, and compare all that they show."""
    ours, cpu = pair(world, n_worlds, parameters)
    ours.reset()
    cpu.reset()
    ended = left = 0
    for k in range(steps):
        for name, array in cpu.save().items():
            close(torch.from_numpy(ours.save()[name]), array, bound, f"{world} step {k} {name}")
        ours.restore(cpu.save())
        seen = cpu.visible()
        assert (ours.visible() is None) == (seen is None)
        if seen is not None:
            close(ours.visible(), seen, 0, f"{world} step {k} visible")
        for policy in cpu.world.POLICIES:
            close(ours.scripted(policy), cpu.scripted(policy), bound, f"{world} step {k} {policy}")
        actions = cpu.scripted("random")
        close(ours.scripted("random"), actions, bound, f"{world} step {k} random")
        step = cpu.step(actions)
        for name, found, expected in zip(
            step._fields, ours.step(torch.from_numpy(actions).to(ours.rows.device)), step, strict=True
        ):
            close(found, expected, bound, f"{world} step {k} {name}")
        ended += cpu.over.sum()
        left += step.terminated.sum()
        ours.reset(ours.over)
        cpu.reset(cpu.over)
    ours.check()
    return int(ended), int(left)
