"""`interact-env new-world`: what it writes runs at once."""

import os
import subprocess
import sys

import pytest

import interact_env
from train import new_world
from train.cli import main

ROOT = os.path.dirname(os.path.dirname(interact_env.__file__))
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "SDL_VIDEODRIVER": "dummy"}


def run(folder, *command):
    env = {**ENV, "PYTHONPATH": os.pathsep.join([str(folder), ROOT])}
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False, env=env,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pond(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    made = run(folder, "train.cli", "new-world", "pond")
    assert made.returncode == 0, made.stderr
    assert "wrote pond.py and test_pond.py" in made.stdout
    return folder


@pytest.mark.slow
def test_the_written_test_passes(pond):
    done = run(pond, "pytest", "-q", "-W", "error", "test_pond.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


@pytest.mark.slow
def test_it_can_be_trained_and_evaluated_on_the_command_line(pond):
    small = ("--total-steps", 128, "--n-worlds", 8, "--n-steps", 8, "--batch-size", 32, "--d-model", 16)
    trained = run(
        pond, "train.cli", "train", "--env", "pond:pond_v0", "--population", "2:1,4:3", "--out", "run", *small
    )
    assert trained.returncode == 0, trained.stderr
    evaluate = ("train.cli", "evaluate", "run", "--n-agents", "2,8", "--episodes", 2)
    refused = run(pond, *evaluate)
    assert refused.returncode == 1
    assert "no world 'pond_v0'; known: " in refused.stderr
    assert "as in my_module:pond_v0" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    done = run(pond, *evaluate, "--env", "pond:pond_v0")
    assert done.returncode == 0, done.stderr
    assert "drift" in done.stdout
    other = run(pond, *evaluate, "--env", "n_body_v0")
    assert other.stderr.strip() == "interact-env: error: --env n_body_v0 is not the world of the run: pond_v0"


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "test_pond.py").write_text("mine")
    assert main(["new-world", "pond", "--folder", str(tmp_path)]) == 1
    assert "test_pond.py is there already" in capsys.readouterr().err
    assert (tmp_path / "test_pond.py").read_text() == "mine"
    assert not (tmp_path / "pond.py").exists()


@pytest.mark.parametrize("name", ["", "Pond", "2ponds", "my-world", "../pond", "pond_v1", "class", "été"])
def test_bad_names_are_refused(name, tmp_path):
    with pytest.raises(
        ValueError, match="name must be small letters, digits and _, as in 'my_world', without"
    ):
        new_world.write(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["json", "train", "interact_env", "torch"])
def test_names_of_modules_that_are_there_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"name '{name}' is that of a module that is there already"):
        new_world.write(name, tmp_path)


@pytest.mark.parametrize("name", ["conftest", "n_body", "colliding_agents"])
def test_names_that_mean_something_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"name '{name}' has a meaning already"):
        new_world.write(name, tmp_path)


def test_the_hint_leads_to_the_folder(tmp_path, capsys):
    assert main(["new-world", "lake", "--folder", str(tmp_path / "sub")]) == 0
    assert f"cd {tmp_path / 'sub'}" in capsys.readouterr().out


def test_a_module_that_is_not_there_or_does_not_register_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="module 'nowhere' cannot be imported: ModuleNotFoundError"):
        interact_env.make("nowhere:x_v0")
    with pytest.raises(ValueError, match=r"module 'os\.nowhere' cannot be imported: ModuleNotFoundError"):
        interact_env.make("os.nowhere:x_v0")
    with pytest.raises(ValueError, match=r"module '\.x' cannot be imported: TypeError"):
        interact_env.make(".x:x_v0")
    with pytest.raises(ValueError, match="world 'n_body_v0' is not of module 'os' but of 'interact_env"):
        interact_env.make("os:n_body_v0")
    (tmp_path / "silent.py").write_text("")
    (tmp_path / "needy.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="no world 'silent_v0'; known: "):
        interact_env.make("silent:silent_v0")
    with pytest.raises(ValueError, match=r"module 'needy' cannot be imported: .*nothing_of_this_name"):
        interact_env.make("needy:needy_v0")
