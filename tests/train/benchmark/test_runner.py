"""Benchmarks: what is done of them, what is left; that they come to the same however they were stopped."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from cli import is_one_line
from hypothesis import given
from hypothesis import strategies as st

from policies import LoadError
from train.benchmark import plan, results, runner
from train.benchmark.pool import OnRay
from train.benchmark.results import ORACLE, Evaluated, Trained
from train.cli import main

TINY = """\
title = "Tiny"
policies = ["none"]
train_counts = [2]
test_counts = [2, 3]
oracle = "none"
seeds = [0]
agent_steps = 4_000
rollout_agents = 8
batch_agents = 32
tested_agents = 8

[training]
d_model = 8

[worlds.colliding]
env = "colliding_agents_v0"
parameters = { max_cycles = 8 }
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(TINY)
    return path


def command(grid, out):
    return ["benchmark", str(grid), "--out", str(out), "--workers", "2"]


def numbers(out):
    """All that is found but how long it took, in no order."""
    return sorted(
        (json.dumps(line._replace(seconds=0)) for line in results.read(out / results.FILE)),
    )


def evaluated(**changes):
    about = {"world": "w", "policy": "sa", "train_count": "8", "arena": "constant density", "seed": 0}
    about |= {"test_count": 8, "episodes": 4, "values": {"reward": 0.5}, "seconds": 1.0}
    return Evaluated(**{**about, **changes})


def test_lines_are_read_as_they_were_written_and_torn_ones_left_out(tmp_path):
    path = tmp_path / results.FILE
    assert results.read(path) == []
    trained = Trained("w", 'sa, "quoted"\n<b>', "2-16", "a", 1, 5, 6, 7.0, [[1.0, 2.0]], "")
    results.append(path, trained)
    path.write_bytes(path.read_bytes() + b'{"what": "evalua')  # killed in mid-write
    results.append(path, evaluated())
    assert results.read(path) == [trained, evaluated()]
    path.write_bytes(path.read_bytes() + b'{"what": "evaluated", "world": "w"}\n')
    with pytest.raises(LoadError, match=r"results.jsonl, line 4: is not a line of a benchmark"):
        results.read(path)


def test_what_is_done_is_not_done_again(grid):
    made = runner.grids.read(grid)
    every = plan.tasks(made)
    names = [task.run.name for task in every]
    assert len(set(names)) == len(names)
    # Scripted; trained at 2, which is its own oracle there; and the oracle at 3.
    assert [(task.run.policy, task.run.train_count, len(task.tests)) for task in every] == [
        ("random", "", 2),
        ("none", "2", 3),
        ("none", "3", 1),
    ]
    run = every[1].run
    done = [Trained(*run, 1, 1, 1.0, [], ""), evaluated(**run._asdict(), test_count=2)]
    done.append(done[1]._replace(policy=ORACLE))
    left = plan.tasks(made, done)
    assert [task.trained for task in left] == [True, True, False]
    assert left[1].tests == (plan.Test("none", run.arena, 3),)
    failed = [done[0]._replace(error="boom"), *done[1:]]
    assert not plan.tasks(made, failed)[1].trained


@given(st.sets(st.text(max_size=8), min_size=2))
def test_every_run_has_a_folder_of_its_own(names):
    """In that of all runs, whatever the names."""
    folders = {plan.Run(name, "sa", "8", "a", 0).name for name in names}
    assert len(folders) == len(names)
    for folder in folders:
        assert len(Path(folder).parts) == 5
        assert not {".", ".."} & set(Path(folder).parts)


@pytest.mark.slow
def test_a_benchmark_gives_the_same_numbers_twice_and_is_then_done(grid, tmp_path, capsys):
    for name in ("a", "b"):
        assert main(command(grid, tmp_path / name)) == 0
    assert "2 trainings and 6 tests to do" in capsys.readouterr().out
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")
    lines = results.read(tmp_path / "a" / results.FILE)
    assert len(lines) == 2 + 6
    trained = [line for line in lines if isinstance(line, Trained)]
    assert all(line.parameters and line.curve and line.seconds > 0 and not line.error for line in trained)
    at_2 = {line.policy: line for line in lines if isinstance(line, Evaluated) and line.test_count == 2}
    assert at_2["none"].values == at_2[ORACLE].values, "it is its own oracle there"
    before = (tmp_path / "a" / results.FILE).read_bytes()
    assert main(command(grid, tmp_path / "a")) == 0
    assert (tmp_path / "a" / results.FILE).read_bytes() == before


@pytest.mark.slow
def test_another_grid_or_a_second_process_is_refused(grid, tmp_path, capsys):
    out = tmp_path / "out"
    runner.prepare(grid, out)
    with runner.locked(out):
        is_one_line(main(command(grid, out)), capsys.readouterr().err, "a benchmark is running in")
    grid.write_text("# the same in other words\n" + TINY)
    assert runner.prepare(grid, out)
    grid.write_text(TINY.replace("4_000", "5_000"))
    is_one_line(main(command(grid, out)), capsys.readouterr().err, "holds the results of another grid")


@pytest.mark.slow
def test_a_run_that_fails_is_told_of_and_the_others_go_on(grid, tmp_path, capsys, monkeypatch):
    """A module of one's own that breaks at three agents."""
    (tmp_path / "my_policies.py").write_text(
        "import policies\n"
        "from policies.baselines import NoInteraction\n\n\n"
        "class Fragile(NoInteraction):\n"
        "    def answer(self, x, *rest):\n"
        "        if x.shape[1] == 3 and x.isfinite().all():\n"
        "            raise ValueError('three is a crowd')\n"
        "        return super().answer(x, *rest)\n\n\n"
        "policies.register('fragile', Fragile)\n"
    )
    monkeypatch.chdir(tmp_path)
    grid.write_text(TINY.replace('"none"', '"my_policies:fragile"'))
    assert main(command(grid, tmp_path / "out")) == 1
    said = capsys.readouterr().out
    assert "three is a crowd" in said
    assert "2 runs are not done: start again to go on" in said
    lines = results.read(tmp_path / "out" / results.FILE)
    assert sum(isinstance(line, Evaluated) for line in lines) == 4


def killed_and_gone_on_with(grid, out, seconds):
    """Kill a benchmark after each of `seconds`, start it again, and let the last one end."""
    line = [sys.executable, "-m", "train", *command(grid, out)]
    for wait in seconds:
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_a_benchmark_that_was_killed_three_times_comes_to_the_same(grid, tmp_path):
    grid.write_text(TINY.replace("4_000", "40_000").replace("[2, 3]", "[2, 3, 4]"))
    killed_and_gone_on_with(grid, tmp_path / "whole", ())
    killed_and_gone_on_with(grid, tmp_path / "killed", (9.0, 14.0, 19.0))
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


@pytest.mark.slow
def test_ctrl_c_stops_all_and_the_next_start_goes_on(grid, tmp_path):
    grid.write_text(TINY.replace("4_000", "4_000_000"))
    line = [sys.executable, "-m", "train", *command(grid, tmp_path / "out")]
    process = subprocess.Popen(
        line, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    run = tmp_path / "out" / "runs" / plan.tasks(runner.grids.read(grid))[1].run.name
    wait_until(lambda: logged(run) > 2, 120)  # it is made before a signal would be heard
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=90)
    assert process.returncode == 130
    assert error.decode() == "interact-env: interrupted\n"
    assert (run / "latest").exists(), "every run has saved"
    assert not any(isinstance(line, Trained) for line in results.read(tmp_path / "out" / results.FILE))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://[::1]:1", "nonsense"])
def test_a_cluster_that_is_not_there_is_missed_at_once(address):
    with pytest.raises(ConnectionError, match="^--ray " + re.escape(address)):
        OnRay(address, 1)


@pytest.mark.long
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_a_benchmark_on_ray_comes_to_the_same_when_a_worker_is_lost(grid, tmp_path):
    """A cluster of two workers, of which one is killed in mid-run."""
    grid.write_text(TINY.replace("4_000", "400_000"))
    killed_and_gone_on_with(grid, tmp_path / "here", ())
    line = [sys.executable, "-m", "train", *command(grid, tmp_path / "ray"), "--ray", "local"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        run = tmp_path / "ray" / "runs" / plan.tasks(runner.grids.read(grid))[1].run.name
        wait_until((run / "progress.csv").exists, 200)
        os.kill(
            parent_of(str(tmp_path / "ray"), str(run.relative_to(tmp_path / "ray" / "runs"))), signal.SIGKILL
        )
        said, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert numbers(tmp_path / "ray") == numbers(tmp_path / "here")


def logged(run):
    """Lines of a run's log."""
    log = run / "progress.csv"
    return len(log.read_text().splitlines()) if log.exists() else 0


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def parent_of(*arguments):
    """The process that has started a task."""
    command_line = " ".join(("-m train.benchmark.work", *arguments))
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            words = status.with_name("cmdline").read_text().replace("\0", " ")
            if command_line in words:
                facts = dict(line.split(":", 1) for line in status.read_text().splitlines())
                return int(facts["PPid"])
    raise AssertionError(f"nobody runs {command_line}")
