"""The command line as a user meets it: in a process of its own."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from cli import ENV, SMALL, interact, is_one_line

from train.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "x"
    done = interact(
        "train", "--out", out, *SMALL, "--save-every", "128", "--env-params", "shape=square", "max_cycles=20"
    )
    assert done.returncode == 0, done.stderr
    return out


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_train_leaves_everything_behind(run):
    names = {p.name for p in run.iterdir()}
    assert {"config.json", "progress.csv", "latest", "learning_curve.png"} <= names
    best = (run / "best").read_text().split()[0]
    assert {n for n in names if n.startswith("step_")} == {"step_000000000384", "step_000000000512", best}
    assert any(name.startswith("events.out.tfevents") for name in names)
    config = json.loads((run / "config.json").read_text())
    assert config["config"]["env_params"] == ["shape=square", "max_cycles=20"]
    assert "torch" in config["versions"]
    rows = list(csv.DictReader((run / "progress.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert float(rows[-1]["time/agent_steps"]) == 4096
    assert -3 < float(rows[-1]["rollout/reward_per_agent_step"]) < 1


def test_evaluate_prints_and_saves(run):
    done = interact("evaluate", run, "--n-agents", "2,32", "--episodes", "3", "--baselines", "yield")
    assert done.returncode == 0, done.stderr
    for word in ("constant density", "constant arena", "does not fit", "yield", "collisions", "return"):
        assert word in done.stdout
    saved = json.loads((run / "evaluation.json").read_text())
    assert saved["policy"] == "hfa_linear"
    assert len(saved["results"]) == 8
    estimate = saved["results"][0]["estimates"]["reward"]
    assert estimate["low"] <= estimate["mean"] <= estimate["high"]
    assert (run / "count_transfer.png").stat().st_size > 10_000
    compared = interact("compare", run)
    assert compared.returncode == 0
    assert "| constant density | 2 | 16 |" in compared.stdout


def test_list_names_worlds_and_policies():
    done = interact("list")
    for word in ("colliding_agents_v0", "sa_linear", "deep_sets", "none", "yield"):
        assert word in done.stdout
    assert re.search(r"sa_linear .* 100,358 ", done.stdout), "parameters"


def test_bad_input_is_one_line(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    file, new = tmp_path / "file", tmp_path / "new"
    file.write_text("")
    before = contents(run)
    for arguments, message in (
        (["train", "--out", run, *SMALL], "holds a run already"),
        (["train", "--out", new, "--env", "moon_v0"], "no world 'moon_v0'; known:"),
        (["train", "--out", new, "--policy", "mlp9"], "policy must be one of sa"),
        (["train", "--out", new, "--n-agents", "0"], "n_agents must be a whole number in [1,"),
        (["train", "--out", new, "--env-params", "radius=-1"], "radius must be"),
        (["train", "--out", new, "--device", "cuda"], "torch sees no CUDA device"),
        (["train", "--out", file / "x", *SMALL], "Not a directory"),
        (["evaluate", tmp_path / "nothing"], "holds no checkpoint"),
        (["evaluate", run, "--n-agents", "2,x"], "n_agents must be numbers"),
        (["evaluate", run, "--episodes", "0"], "--episodes must be >= 1"),
        (["evaluate", run, "--baselines", "clever"], "--baselines must be among random, yield"),
        (["evaluate", run, "--env-params", "speed=3"], "has no parameter 'speed'"),
        (["evaluate", run, "--env-params", "n_labels=3"], "--env-params changes the entity row"),
        (["evaluate", run, "--env-params", "size=32"], "env_params must not set size"),
        (["evaluate", run, "--threads", "-3"], "--threads must be >= 0"),
        (["speed", "--threads", "-3"], "--threads must be >= 0"),
        (["compare", tmp_path], "has no evaluation.json"),
        (["compare"], "give at least one run"),
        (["speed", "--repeats", "0"], "--repeats must be >= 1"),
        (["speed", "--attention", "--entities", "8,x"], "--entities must be numbers >= 1"),
        (["train", "--out", new, "--policy", "nowhere:mine"], "cannot import 'nowhere'"),
        (["train", "--out", new, "--match-parameters", "-1"], "--match-parameters must be >= 0"),
        (["train", "--out", new, "--match-parameters", "99"], "match_parameters must be in ["),
        (["train", "--out", new, "--policy", "sa_hfa", "--n-heads", "1"], "n_heads must be >= 2 for sa_hfa"),
        (["train", "--out", new, "--positions", "plain", "--d-model", "30"], "d_model must be a multiple of"),
        (["evaluate", run, "--policy", "hfa"], "--policy hfa is not the policy of the run: hfa_linear"),
        (["micro-tasks", "--seeds", "0"], "--seeds must be >= 1"),
        (["micro-tasks", "--threads", "-1"], "--threads must be >= 0"),
        (["micro-tasks", "--modules", "mlp9"], "policy must be one of"),
    ):
        status = main([str(a) for a in arguments])
        is_one_line(status, capsys.readouterr().err, message)
    assert not new.exists()
    assert contents(run) == before, "nothing was overwritten"


def test_a_corrupt_checkpoint_is_one_line(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / (copy / "latest").read_text().split()[0] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    done = interact("evaluate", copy)
    is_one_line(done.returncode, done.stderr, "is damaged")


def test_an_unknown_option_is_refused():
    done = interact("train", "--out", "x", "--speed", "3")
    assert done.returncode == 2
    assert "--speed" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_stops_with_a_checkpoint(tmp_path):
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "train.cli",
        "train",
        "--out",
        str(out),
        *SMALL,
        "--total-steps",
        "1000000",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    try:
        deadline = time.monotonic() + 120
        log = out / "progress.csv"
        while not (log.exists() and len(log.read_text().splitlines()) > 2):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "stopped; saved" in stdout
    assert "Traceback" not in stderr
    assert interact("evaluate", out, "--n-agents", "2", "--episodes", "2").returncode == 0


@pytest.mark.slow
def test_demo_makes_every_file(tmp_path):
    out = tmp_path / "demo"
    done = interact("demo", "--out", out, "--total-steps", "8192", "--episodes", "2", timeout=500)
    assert done.returncode == 0, done.stderr
    for name in ("latest", "learning_curve.png", "count_transfer.png", "evaluation.json", "episode.gif"):
        assert (out / name).stat().st_size > 0


def test_threads_hold_for_torch_and_batches_alike():
    code = """
import torch, interact_env
from train import training
training.threads(1)
batch = interact_env.make_batch("colliding_agents_v0", 64, seed=0, n_agents=32)
assert batch._engine._threads == 1, batch._engine._threads
parallel = interact_env.make_batch("colliding_agents_v0", 2, seed=0, n_threads=2)
parallel.reset()
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""
    env = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=120)
