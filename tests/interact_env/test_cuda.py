"""Worlds on a GPU: simulated and compiled where there is none, run where there is one."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simulated
import springs
import torch
from devices import close, pair, play
from worlds import MAIN, MAIN_IDS, PARAMETERS

import interact_env

HELPERS = Path(springs.__file__).parent
installed = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"
)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
# What a float may differ by after one step, relative to 1 + |x|: products and sums are rounded at once.
BOUND = {"float32": 1e-4, "float64": 1e-10}


def python(*arguments, **env):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=HELPERS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path]), **env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def simulate(check, case=0):
    python("simulated.py", check, case, NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")


@installed
@pytest.mark.parametrize(
    "case", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, len(simulated.CASES)))]
)
def test_simulated_worlds_are_those_of_the_cpu(case):
    simulate("equal", case)


@installed
@pytest.mark.parametrize("check", ["sums", "refusals", "faults", "moves", "in_place", "training", "waiting"])
def test_simulated(check):
    simulate(check)


@installed
@pytest.mark.slow
@pytest.mark.parametrize("cc", [pytest.param("80", marks=pytest.mark.long), "90"])
def test_kernels_compile_without_a_gpu_and_a_step_of_float32_has_no_float64(cc):
    found = json.loads(python("ptx.py", cc))
    assert {key.split()[0] for key in found} == set(PARAMETERS)
    for key, facts in found.items():
        kernel = key.rpartition(" ")[2]
        assert facts["target"] == f"sm_{cc}"
        if kernel in ("step", "random", "check") and "float64" not in key:
            assert facts["f64"] == [], key
        if kernel == "step":
            assert facts["local"] == [], "all is in registers"
            assert facts["calls"] == 0, "all is inlined"
            assert facts["barriers"] >= 3
            assert facts["div64"] == 0, key
            assert facts["shared"] <= 48 * 1024
            assert (facts["shared loads"] > 0) == ("springs" not in key), "pairs are summed in tiles"


@installed
def test_blocks_are_small_enough_for_the_rows_in_shared_memory():
    from interact_env.engine.cuda_pairs import most_threads

    def rows(n):
        return (("alive", np.dtype(np.bool_), ()), ("at", np.dtype(np.float64), (n,)))

    assert [most_threads(rows(n), 1024) for n in (1, 6, 100, 3000)] == [1024, 480, 30, 1]
    assert most_threads((), 1024) == 1024
    with pytest.raises(ValueError, match=r"a pair reads 24,585 bytes of each agent; on a GPU .* 24,574 "):
        most_threads(rows(3073), 1024)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", None, 0])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match=r"device must be 'cpu', 'cuda' or 'cuda:0', 'cuda:1', \.\.\., not"):
        interact_env.make_batch("springs_v0", device=device)


def test_threads_are_for_the_cpu():
    with pytest.raises(ValueError, match="n_threads=2 is for the CPU, not for device='cuda'"):
        interact_env.make_batch("springs_v0", device="cuda", n_threads=2)


def test_what_is_not_installed_is_named(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "interact_env.engine.batch.find_spec", lambda name: None if name == "numba_cuda" else found(name)
    )
    with pytest.raises(ValueError, match=r"needs numba-cuda: pip install 'interact-env\[cuda\]'"):
        interact_env.make_batch("springs_v0", device="cuda")


@installed
def test_a_part_of_numba_cuda_that_is_missing_is_one_clear_line():
    told = python(
        "-c",
        "import sys; sys.modules['cuda.bindings'] = None; import interact_env\n"
        "try: interact_env.make_batch('n_body_v0', device='cuda')\n"
        "except ValueError as error: print(error)",
    )
    assert re.fullmatch(r"device 'cuda' cannot be used: .*CUDA.* not found\..*\n", told)


@installed
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_one_clear_line():
    with pytest.raises(ValueError, match=r"^device 'cuda' cannot be used: [^\n]+$"):
        interact_env.make_batch("springs_v0", device="cuda")


@installed
def test_an_old_driver_is_one_clear_line(monkeypatch):
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nAnd more.")

    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(ValueError, match=r"^device 'cuda:0' cannot be used: .*too old.*11040\)\.$"):
        interact_env.make_batch("springs_v0", device="cuda:0")


@gpu
@installed
@pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)
@pytest.mark.parametrize("n_worlds", [1, 1000])
def test_worlds_are_those_of_the_cpu(world, parameters, n_worlds):
    whole = world == "colliding_agents_v0"
    bound = 0 if whole else BOUND[parameters.get("dtype", "float32")]
    ended, _ = play(world, n_worlds, {**parameters, "max_cycles": 4}, 10, bound)
    assert ended


@gpu
@installed
@pytest.mark.parametrize(
    ("world", "bound"), [("colliding_agents_v0", 0), ("n_body_v0", BOUND["float32"])], ids=["cells", "tiles"]
)
def test_a_world_larger_than_a_block(world, bound):
    play(world, 3, {"n_agents": (1000, 1500), "max_cycles": 3}, 5, bound)


@gpu
@installed
def test_many_small_worlds_go_round_the_grid():
    ours, cpu = pair("colliding_agents_v0", 200_000, {"n_agents": 3})
    for batch in (ours, cpu):
        batch.reset()
        batch.step(batch.scripted("random"))
    close(ours.rows, cpu.rows, 0, "rows")


def rollout(batch, actions, seen):
    for k in range(len(seen)):
        batch.step(actions)
        seen[k].copy_(batch.rows)
        batch.reset(batch.over)
        actions.copy_(batch.scripted("random"))


@gpu
@installed
@pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)
def test_a_rollout_never_waits_for_the_gpu(world, parameters):
    batch = interact_env.make_batch(world, 64, seed=0, device="cuda", **parameters)
    batch.reset()
    actions, seen = batch.scripted("random"), torch.zeros(3, *batch.rows.shape, device="cuda")
    seen = seen.to(batch.rows.dtype)
    rollout(batch, actions, seen)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        rollout(batch, actions, seen)
        batch.visible()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    batch.check()


@gpu
@installed
@pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)
def test_a_rollout_can_be_captured(world, parameters):
    batch = interact_env.make_batch(world, 64, seed=0, device="cuda", **parameters)
    batch.reset()
    actions, seen = batch.scripted("random"), batch.rows.new_zeros((7, *batch.rows.shape))
    rollout(batch, actions, seen)  # compiles
    start, first = batch.save(), actions.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        rollout(batch, actions, seen)
    rollouts = []
    for run in (graph.replay, lambda: rollout(batch, actions, seen)):
        batch.restore(start)
        actions.copy_(first)
        for _ in range(2):
            run()
            rollouts.append(seen.clone())
    for captured, plain in zip(rollouts[:2], rollouts[2:], strict=True):
        torch.testing.assert_close(captured, plain, rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(rollouts[0], rollouts[1])


@gpu
@installed
def test_kernels_run_on_the_current_stream():
    batch = interact_env.make_batch("colliding_agents_v0", 64, seed=0, device="cuda")
    batch.reset()
    batch.step(batch.scripted("random"))
    steps, stream = batch.steps.clone(), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(1_000_000_000)
        batch.step(batch.blank_actions())
        assert not stream.query(), "the step waits behind the sleep"
    other = torch.cuda.Stream()
    with torch.cuda.stream(other):
        before = batch.steps.clone()
    other.synchronize()
    assert torch.equal(before, steps)
    stream.synchronize()
    assert torch.equal(batch.steps, steps + 1)


@gpu
@installed
def test_tensors_are_the_memory_of_the_kernels():
    batch = interact_env.make_batch("springs_v0", 8, seed=0, device="cuda")
    assert batch.device == "cuda:0"
    own = batch._engine._arrays
    for tensor, shared in (
        (batch.rows, own.out.rows),
        (batch.alive, own.state.alive),
        (batch.over, own.over),
    ):
        assert tensor.is_cuda
        assert tensor.data_ptr() == shared.__cuda_array_interface__["data"][0]
    batch.reset()
    pointers = [batch.rows.data_ptr(), batch.alive.data_ptr()]
    batch.step(batch.scripted("random"))
    assert [batch.rows.data_ptr(), batch.alive.data_ptr()] == pointers
    assert np.isfinite(batch.rows.cpu().numpy()).all()
