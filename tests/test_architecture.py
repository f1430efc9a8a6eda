"""Imports point one way, and cost little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import interact_env
import policies
import train

ROOT = Path(interact_env.__file__).parents[1]
MAY_IMPORT = {
    "interact_env": {"interact_env"},
    "policies": {"policies"},
    "train": {"train", "policies", "interact_env"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        ours = set(imported(path)) & MAY_IMPORT.keys()
        assert ours <= MAY_IMPORT[package], path
        if package != "train":
            assert "stable_baselines3" not in set(imported(path)), path
        if package == "interact_env" and not path.name.startswith("cuda"):
            assert "torch" not in set(imported(path)), path


def test_a_wrong_import_would_be_seen(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("def f():\n    from train.ppo import EntityPPO\n")
    assert "train" in set(imported(path))


def test_importing_the_environments_imports_neither_torch_nor_pygame_nor_cuda():
    heavy = ("torch", "pygame", "matplotlib", "numba.cuda")
    code = f"import interact_env, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout.strip() == "[]"


def test_pygame_is_imported_when_something_is_drawn_and_not_before():
    code = """
import sys, interact_env, train.cli
from interact_env import colliding_agents_v0
env = colliding_agents_v0.parallel_env(n_agents=3, render_mode="rgb_array")
env.reset(seed=0)
env.step(dict.fromkeys(env.agents, 0))
train.cli.main(["list"])
before = "pygame" in sys.modules
env.render()
print(before, "pygame" in sys.modules)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout.splitlines()[-1] == "False True"
    assert "pygame-ce" not in found.stdout, "and does not greet"


@pytest.mark.parametrize("package", [interact_env, policies])
def test_public_names_are_documented(package):
    for name in package.__all__:
        assert (getattr(package, name).__doc__ or "").strip(), name


def test_trains_names_are_all_there():
    assert {getattr(train, name).__name__ for name in train.__all__} == set(train.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        train.nothing  # noqa: B018
