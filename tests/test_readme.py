"""Every command and snippet of the README is run, the long ones on less."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import interact_env
import policies

ROOT = Path(interact_env.__file__).parents[1]
README = (ROOT / "README.md").read_text()
# The commands as they stand, with a little less work appended; seeds above 0 and two of the four policies
# of the study are the same command again.
SHIM = f"""
set -eu
interact-env() {{
    case "$*" in *"--seed "[1-9]*|*-[1-9]|*-[1-9]" "*|*sa_linear*|*deep_sets*) return 0;; esac
    case "$1" in
        train) set -- "$@" --total-steps 256 --n-worlds 8 --n-steps 16 --batch-size 64 --d-model 16;;
        evaluate) set -- "$@" --n-agents 2,8 --episodes 2;;
        speed) set -- "$@" --repeats 1 --threads 1;;
    esac
    "{sys.executable}" -m train.cli "$@"
}}
make() {{ command make --dry-run -C "{ROOT}" "$@"; }}
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("bash"))
def test_commands_run(code, tmp_path):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", SHIM + code],
        capture_output=True, text=True, timeout=900, cwd=tmp_path, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_quick_start_is_short():
    assert len(blocks("python")[0].strip().splitlines()) <= 20


def test_the_tables_name_what_there_is():
    batch = interact_env.make_batch("colliding_agents_v0", seed=0)
    rows = re.findall(r"^\| (\w+) \| .* \| .* \| .* \|$", README, re.MULTILINE)
    assert rows[1:5] == [column.name for column in batch.columns]
    for name in (*policies.names(), *batch.world.METRICS, *batch.world.POLICIES):
        assert f"`{name}`" in README


def test_pictures_are_there():
    found = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert found
    for path in found:
        assert (ROOT / path).stat().st_size > 1000
