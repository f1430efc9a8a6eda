"""What is installed: every package, and the files that it needs."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import interact_env

ROOT = Path(interact_env.__file__).parents[1]
_PAGE = {".css", ".html", ".js"}
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_folder_of_ours_is_installed():
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for name in ("interact_env", "policies", "train")
        for path in (ROOT / name).rglob("*.py")
    }
    assert set(SETTINGS["packages"]) - {"interact_env.assets"} == folders


def test_installed_assets_are_there():
    for name in SETTINGS["package-data"]["interact_env.assets"]:
        assert (ROOT / "assets" / name).is_file(), name


@pytest.mark.slow
def test_a_wheel_holds_font_and_icon_and_no_pictures_of_the_readme(tmp_path):
    source = tmp_path / "source"
    copied = ["pyproject.toml", "README.md", "LICENSE", "assets", "interact_env", "policies", "train"]
    subprocess.run(["mkdir", str(source)], check=True, timeout=10)
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in copied), str(source)], check=True, timeout=60)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "No matching distribution" in done.stderr or "ConnectionError" in done.stderr:
        pytest.skip("setuptools could not be downloaded")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = [name for name in opened.namelist() if "assets" in name]
        pages = {path.name for path in (ROOT / "train/benchmark/report").iterdir() if path.suffix in _PAGE}
        assert {f"train/benchmark/report/{name}" for name in pages} <= set(opened.namelist())
        assert sorted(names) == sorted(
            f"interact_env/assets/{name}" for name in SETTINGS["package-data"]["interact_env.assets"]
        )
        opened.extractall(tmp_path / "installed")
    code = "from interact_env.render.style import asset; print(asset('B612-Regular.otf'))"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); {code}"],
        capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert str(tmp_path / "installed" / "interact_env" / "assets") in found.stdout
