"""Several processes that train together, against one that has all their worlds."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from cli import is_one_line
from killing import TINY, weights_of
from worlds import MAIN, MAIN_IDS

import train.buffer
from policies import files
from train import checkpoint, directory, training
from train.cli import main
from train.config import TrainConfig
from train.ranks import Ranks, together

LOOSE = {"n_worlds": 8, "batch_size": 32, "total_steps": 4 * 128, "save_every": "999min"}


def launch(arguments, size=2, **options):
    """Processes as torchrun starts them."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    shared |= {"LOCAL_WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "train", "train", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, **pipes
        )
        for rank in range(size)
    ]


def finished(processes, seconds=200):
    """Status, output and errors of each."""
    end, found = time.monotonic() + seconds, []
    try:
        for process in processes:
            out, err = process.communicate(timeout=max(1, end - time.monotonic()))
            found.append((process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
    return found


def flags(options):
    pairs = []
    for name, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        pairs += [f"--{name.replace('_', '-')}", *map(str, values)] if values else []
    return pairs


real_order = train.buffer.order


def weights(run):
    return checkpoint.load(run).policy().weights()


# Not charges: they amplify a difference in the last digit of an action until an agent leaves, or does not.
@pytest.mark.parametrize(("env", "parameters"), MAIN[:2], ids=MAIN_IDS[:2])
def test_two_processes_learn_what_one_learns_of_all_worlds(tmp_path, monkeypatch, env, parameters):
    """Weights to 1e-5 after 4 iterations of 8 steps of Adam each, with agents that leave on either side."""
    given = tuple(f"{name}={value}" for name, value in parameters.items() if name != "n_agents")
    options = {**TINY, **LOOSE, "env": env, "env_params": given, "n_agents": "2-5"}
    processes = launch(["--out", tmp_path / "two", *flags(options)])

    def both(n, ranks):
        """The minibatches of two processes side by side: as samples of (step, world) of 8 worlds, not 4."""
        halves = (real_order(n // 2, Ranks(0, 1)) for _ in range(2))
        sides = [(half // 4 * 8 + half % 4 + 4 * rank).split(16) for rank, half in enumerate(halves)]
        return torch.cat([part for pair in zip(*sides, strict=True) for part in pair])

    monkeypatch.setattr(train.buffer, "order", both)
    assert training.train(TrainConfig(out=tmp_path / "one", **options)) == 0
    for status, out, err in finished(processes):
        assert status == 0, err + out
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5)
    ours, theirs = (directory.read_log(tmp_path / name) for name in ("one", "two"))
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        if name not in {"time/fps", "time/time_elapsed"}:
            assert theirs[name] == pytest.approx(values, rel=1e-3, abs=1e-4), name
    saved = [checkpoint.load(tmp_path / name) for name in ("one", "two")]
    with saved[0].training() as one_tensors, saved[1].training() as two_tensors:
        assert one_tensors.names == two_tensors.names
        for name in one_tensors.names:
            a, b = (tensors._file.get_tensor(name) for tensors in (one_tensors, two_tensors))
            assert a.shape == b.shape, name
            if name.startswith(("worlds.clock", "worlds.seed", "random")):
                assert torch.equal(a, b), name


def wait_for_rows(run, n, processes):
    log, end = run / directory.LOG, time.monotonic() + 100
    while not (log.exists() and len(log.read_text().splitlines()) > n):
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def test_a_run_of_two_processes_goes_on_bit_for_bit(tmp_path):
    options = flags({**TINY, **LOOSE, "total_steps": 60 * 128})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = finished(launch(["--out", whole, *options]))
    assert [status for status, _, _ in done] == [0, 0], done
    assert done[0][1].strip().endswith(f"saved in {whole}")
    assert not done[1][1], "only the first process tells"
    processes = launch(["--out", parts, *options])
    wait_for_rows(parts, 3, processes)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert finished(processes)[0][0] == 143
    assert 256 <= checkpoint.load(parts).env_steps < 60 * 128
    done = finished(launch(["--resume", parts]))
    assert [status for status, _, _ in done] == [0, 0], done
    assert weights_of(parts) == weights_of(whole)


def is_told_once(done, message):
    """By the first process alone; all end with status 1."""
    assert [status for status, _, _ in done] == [1, 1], done
    is_one_line(1, done[0][2], message)
    assert not done[1][2], "the others are silent"


def test_what_cannot_be_is_refused_by_one_process(tmp_path):
    run = tmp_path / "run"
    given = {**TINY, **LOOSE}
    for options, message in (
        ({"n_worlds": 7}, "--n-worlds must be a multiple of the 2 processes, not 7"),
        ({"batch_size": 15}, "--batch-size must be a multiple of the 2 processes, not 15"),
        ({"gamma": 2}, "--gamma must be in [0, 1], not 2"),
    ):
        is_told_once(finished(launch(["--out", run, *flags({**given, **options})])), message)
    assert main(["train", "--out", str(run), *flags({**given, "total_steps": 256})]) == 0
    is_told_once(finished(launch(["--out", run, *flags(given)])), "holds a run already")
    weights = checkpoint.load(run).path / files.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    is_told_once(finished(launch(["--resume", run])), files.WEIGHTS)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(1, 2), pytest.param(2, 1, marks=pytest.mark.long)])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, first, then):
    """Not bit for bit: sums are added up in another order."""
    run, options = tmp_path / "run", flags({**TINY, **LOOSE, "total_steps": 40 * 128})
    processes = launch(["--out", run, *options], first)
    wait_for_rows(run, 3, processes)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert finished(processes)[0][0] == 143
    stopped = checkpoint.load(run)
    assert stopped.env_steps < 40 * 128
    done = finished(launch(["--resume", run], then))
    assert [status for status, _, _ in done] == [0] * then, done
    assert checkpoint.load(run).env_steps == 40 * 128
    rows = directory.read_log(run)["time/agent_steps"]
    assert rows == sorted(rows)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 processes, and 1 GPUs: start one for each"), together("auto"):
        pass
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit), together("auto"):
        pass


def test_a_process_that_is_killed_ends_the_others_with_one_line(tmp_path):
    options = flags({**TINY, **LOOSE, "total_steps": 10**7})
    processes = launch(["--out", tmp_path / "run", *options])
    wait_for_rows(tmp_path / "run", 3, processes)
    processes[1].send_signal(signal.SIGKILL)
    (status, _, err), _ = finished(processes, 60)
    assert status == 1
    assert "interact-env: error: another process of this training has ended" in err.strip().splitlines()[-1]
