"""Files that mean harm: nothing in them runs, and none takes much memory."""

import os
import pickle
import shutil
import sys
import time

import pytest
from killing import child, command, ended, measured, resume, start

from policies import files
from train import checkpoint, directory

sys.path.append(os.path.dirname(__file__))


class Harm:
    """What a pickle can hold: a call of anything."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    run = tmp_path_factory.mktemp("good") / "run"
    stop(child(start, run, {"total_steps": 10**6}), run, 64)
    return run


def stop(process, run, env_steps):
    """Once it has saved so many."""
    end = time.monotonic() + 100
    while not ((run / "latest").exists() and checkpoint.load(run).env_steps >= env_steps):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.terminate()
    assert ended(process) == 143


def test_what_is_not_touched_goes_on(good, tmp_path):
    run = shutil.copytree(good, tmp_path / "run")
    stop(child(resume, run), run, checkpoint.load(run).env_steps + 64)


def everything(run):
    """Every file of a run that is read back."""
    (folder,) = {path for path in run.glob("step_*") if path.name in (run / "latest").read_text()}
    names = (*checkpoint.FILES, checkpoint.MANIFEST)
    return [run / directory.CONFIG, run / "latest", run / "best", *(folder / name for name in names)]


def deep(_):
    return b'{"a":' * 10**5


def huge(_):
    return b'{"config": ' + b"9" * 10**6 + b"}"


def header(_):
    return (10**13).to_bytes(8, "little") + b"{}"


def harm(marker):
    return pickle.dumps(Harm(marker))


COMMANDS = {
    "verify": ["verify", "RUN"],
    "resume": ["train", "--resume", "RUN"],
    "evaluate": ["evaluate", "RUN", "--episodes", "1", "--n-agents", "2"],
    "export": ["export", "RUN"],
}


@pytest.mark.parametrize("what", [deep, huge, header, harm])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_in_the_place_of_another(good, tmp_path, name, what):
    run, marker = tmp_path / "run", tmp_path / "marker"
    shutil.copytree(good, run)
    for path in everything(run):
        if path.parent == run and name not in ("resume",) and path.name == directory.CONFIG:
            continue  # only those who go on read it
        if path.name == "best" and name != "verify":
            continue
        data = path.read_bytes()
        path.write_bytes(what(marker))
        said, errors = tmp_path / "said", tmp_path / "errors"
        arguments = [run if part == "RUN" else part for part in COMMANDS[name]]
        status = ended(child(measured, said, arguments, stderr=errors))
        lines = errors.read_text().splitlines()
        assert status == 1, (path, lines)
        assert len(lines) == 1, lines
        assert path.name in lines[0]
        assert int(said.read_text()) < 500, "megabytes"
        path.write_bytes(data)
    assert not marker.exists()


def test_the_harm_is_real(tmp_path):
    pickle.loads(harm(tmp_path / "marker"))
    assert (tmp_path / "marker").exists()


def test_links_are_not_followed(good, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for k, path in enumerate(everything(good)):
        run = tmp_path / str(k)
        shutil.copytree(good, run)
        inside = run / path.relative_to(good)
        inside.rename(outside / str(k))
        inside.symlink_to(outside / str(k))
        errors = tmp_path / "errors"
        assert ended(child(command, ["verify", run], stderr=errors)) == 1
        assert f"{inside.name}: is a link" in errors.read_text()


def test_a_sparse_file_of_a_terabyte_is_not_read(good, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(good, run)
    folder = checkpoint.load(run).path
    with (folder / files.WEIGHTS).open("r+b") as file:
        file.truncate(10**12)
    said, errors = tmp_path / "said", tmp_path / "errors"
    assert ended(child(measured, said, ["verify", run], stderr=errors)) == 1
    assert "model.safetensors: is larger than" in errors.read_text()
    assert int(said.read_text()) < 500, "megabytes"
