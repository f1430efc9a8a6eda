"""Every command and snippet of the README is run, the long ones on less."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from saved_runs import untrained

import interact_env
import policies
from interact_env import World
from train import checkpoint, export, new_world
from train.benchmark import grid

ROOT = Path(interact_env.__file__).parents[1]
README = (ROOT / "README.md").read_text()
# The commands as they stand, with a little less work appended; seeds above 0 and some of the policies
# of the studies are the same command again.
SHIM = f"""
set -eu
interact-env() {{
    case "$1 $*" in watch*) ;; *"--seed "[1-9]*|*/*-[1-9]|*/*-[1-9]" "*) return 0;; esac
    case "$*" in *sa_linear*|*deep_sets*|*hfa*|*rotary_qk*) return 0;; esac
    case "$1 $*" in
        *--resume*) ;;
        train*) set -- "$@" --total-steps 256 --n-worlds 8 --n-steps 16 --batch-size 64 --d-model 16;;
        micro-tasks*) set -- "$@" --seeds 1 --steps 2 --threads 1 --modules sa deep_sets;;
        evaluate*) set -- "$@" --n-agents 2,8 --episodes 2;;
        speed*) return 0;;  # run on less by tests/train/speed
        *"theory all"*|*"theory softmax"*) return 0;;  # by tests/train/theory
        *--dry-run*) ;;
        benchmark*) return 0;;  # by tests/train/benchmark
    esac
    case "$1 $*" in
        watch*--record*) set -- "$@" --steps 2 --size 64x64;;
        watch*|play*) a_while "$@"; return;;
    esac
    "{sys.executable}" -m train.cli "$@"
}}
a_while() {{  # on a screen that nobody sees, until it is interrupted
    status=0
    export SDL_VIDEODRIVER=dummy
    timeout --preserve-status -s INT 15 "{sys.executable}" -m train.cli "$@" || status=$?
    [ $status = 0 ] || [ $status = 130 ]
}}
python() {{ "{sys.executable}" "$@"; }}
torchrun() {{
    "{sys.executable}" -m torch.distributed.run "$@" \\
        --total-steps 256 --n-worlds 8 --n-steps 16 --batch-size 64 --d-model 16
}}
pytest() {{ "{sys.executable}" -m pytest -q "$@"; }}
make() {{ command make --dry-run -C "{ROOT}" "$@"; }}
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run(code, tmp_path):
    new_world.write("my_world", tmp_path)
    if "exported" in code:
        saved = checkpoint.load(untrained(tmp_path / "x"))
        export.export(saved, ("safetensors",), tmp_path / "exported", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("bash"))
def test_commands_run(code, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    env["OMP_NUM_THREADS"] = "1"
    if "runs/x" in code and "--out runs/x" not in code:  # a block above it has made the run
        untrained(tmp_path / "runs" / "x")
    done = subprocess.run(
        ["bash", "-c", SHIM + code],
        capture_output=True, text=True, timeout=900, cwd=tmp_path, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_grid_can_be_run(tmp_path):
    (text,) = blocks("toml")
    (tmp_path / "mine.toml").write_text(text)
    assert grid.read(tmp_path / "mine.toml").policies == ["sa_linear", "short-sighted"]


def test_the_quick_start_is_short():
    assert len(blocks("python")[0].strip().splitlines()) <= 20


def test_the_tables_name_what_there_is():
    rows = re.findall(r"^\| ([^|]+) \| .* \| .* \| .* \|$", README, re.MULTILINE)
    columns = {name for row in rows for name in re.findall(r"\w+", row)}
    worlds = [
        world for world in interact_env.registered().values() if world.module.startswith("interact_env")
    ]
    for world in worlds:
        assert f"### `{world.name}`" in README
        assert {column.name for column in world.columns(world.params({}))} <= columns | {"to_anchor_y"}
        for name in (*world.METRICS, *world.POLICIES):
            assert f"`{name}`" in README
    for name in policies.names():
        assert f"`{name}`" in README
    for name in World.__dataclass_fields__.keys() - {"name", "module", "summary", "METRICS"}:
        assert re.search(rf"^\| .*`{name}[`(]", README, re.MULTILINE), name


def test_pictures_are_there():
    found = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert found
    for path in found:
        assert 1000 < (ROOT / path).stat().st_size < 2e6, "small enough for a page"
    gallery = (ROOT / "assets" / "gallery.sh").read_text()
    for path in found:
        measured = path.startswith(("assets/standard/", "assets/theory/"))
        assert measured or Path(path).stem in gallery, "made by one command"
