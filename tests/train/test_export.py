"""Exported policies answer as the network does, at any number of agents, without this package."""

import json
import re
import subprocess
import sys
import types

import pytest
import torch
from cli import is_one_line
from saved_runs import untrained

import policies
from interact_env import make_batch
from policies import LoadError
from train import checkpoint, export
from train.cli import main

# Sets and entities.
SIZES = ((1, 1), (2, 2), (1, 9), (3, 41), (5, 40), (1, 200), (2, 128))


LONG = ("hfa", "ha", "ha_linear", "sa_hfa", "sa_count", "sa_sharp", "inducing")  # to write as ONNX


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in policies.names()],
)
def exported(request, tmp_path_factory):
    """A run of a policy with weights that matter, and its folder."""
    path = tmp_path_factory.mktemp(request.param)
    env = "n_body_v0" if request.param == "ha" else "colliding_agents_v0"
    saved = checkpoint.load(untrained(path / "run", env, request.param, scale=0.1))
    export.export(saved, export.FORMATS, path / "out", None)
    return saved, path / "out"


def observed(env, sets, entities):
    batch = make_batch(env, sets, seed=1, n_agents=entities)
    batch.reset()
    mask = torch.rand(sets, entities) < 0.8
    mask[:, 0] = True
    return torch.from_numpy(batch.rows).float(), mask


def agrees(saved, answer):
    policy = saved.policy()
    for sets, entities in SIZES:
        rows, mask = observed(saved.env, sets, entities)
        with torch.no_grad():
            outputs, values = policy.network(rows, mask)
        given = answer(rows, mask)
        for got, wanted in zip(given, (outputs[:, 0], values[:, 0]), strict=True):
            assert got.shape == wanted.shape
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
        assert outputs.abs().max() > 0.05, "an answer of zeros would show nothing"


def test_onnx(exported):
    import onnxruntime

    saved, out = exported
    session = onnxruntime.InferenceSession(out / "policy.onnx", providers=["CPUExecutionProvider"])

    def answer(rows, mask):
        given = session.run(None, {"entities": rows.numpy(), "mask": mask.numpy()})
        return [torch.from_numpy(array) for array in given]

    agrees(saved, answer)


def test_torchscript(exported):
    saved, out = exported
    with pytest.warns(DeprecationWarning, match="jit"):
        loaded = torch.jit.load(out / "policy.pt")
    agrees(saved, loaded)


def test_safetensors(exported):
    saved, out = exported
    network = policies.load(out)
    agrees(saved, lambda rows, mask: [part[:, 0] for part in network(rows, mask)])


def test_the_card_tells_what_it_is_and_its_code_runs(exported, tmp_path):
    saved, out = exported
    card = (out / "README.md").read_text()
    front = card.split("---")[1].strip().splitlines()
    values = {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in front}
    assert values["pipeline_tag"] == "reinforcement-learning"
    assert saved.network["policy"] in values["tags"]
    for words in (
        f"# {saved.network['policy']} on {saved.env}",
        "trained with PPO for 1 env steps",
        "| n_agents |",
    ):
        assert words in card
    assert ("whose deviations are 0.3" in card) == (saved.env == "n_body_v0")
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(snippets) == 3
    code = "import warnings\nwarnings.simplefilter('ignore')\n" + "\n".join(snippets) + "\nprint(value.shape)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=out, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_card_has_what_was_evaluated(tmp_path):
    run = untrained(tmp_path / "run")
    assert main(["evaluate", str(run), "--n-agents", "2,3", "--episodes", "2"]) == 0
    assert main(["export", str(run)]) == 0
    card = (run / "export" / "README.md").read_text()
    front = json.loads(re.search(r"^model-index: (.*)$", card, re.MULTILINE)[1])
    metrics = front[0]["results"][0]["metrics"]
    assert [metric["name"] for metric in metrics[:2]] == [f"{n} agents, constant density" for n in (2, 3)]
    assert re.search(r"^\| constant density \| 3 \| -?\d\.\d{3} \[", card, re.MULTILINE)
    saved = checkpoint.load(run)
    other = checkpoint.Snapshot(saved.policy().weights(), {}, {"env_steps": 2})
    checkpoint.save(run, saved.about, other)
    assert main(["export", str(run), "--out", str(tmp_path / "later")]) == 0
    assert "Not evaluated yet" in (tmp_path / "later" / "README.md").read_text(), (
        "that was another checkpoint"
    )


def test_what_cannot_be_exported_is_one_line(tmp_path, capsys, monkeypatch):
    run = untrained(tmp_path / "run")
    (tmp_path / "there").mkdir()
    (tmp_path / ".proj").mkdir()
    assert main(["export", str(run), "--out", str(tmp_path / "proj")]) == 0
    (tmp_path / ".proj").rmdir()  # it was not ours to remove
    nothing = types.SimpleNamespace(find_spec=lambda name: None)
    for arguments, message in (
        (["export", tmp_path / "nothing"], "holds no checkpoint"),
        (["export", run, "--out", tmp_path / "there"], "is there already: choose another folder"),
        (["export", run, "--checkpoint", "best"], "holds no best checkpoint"),
        (["export", run, "--checkpoint", "nice"], "checkpoint must be latest, best or the name of one"),
        (["export", run, "--to"], "--to must name a format"),
        (["verify", tmp_path / "nothing"], "is not the directory of a run"),
        (["verify", tmp_path / "there"], "holds no checkpoint"),
        (["verify", run, "--policy", "ha"], "--policy ha is not the policy of the run"),
    ):
        is_one_line(main([str(a) for a in arguments]), capsys.readouterr().err, message)
    monkeypatch.setattr(export.importlib, "util", nothing)
    for arguments, message in (
        (["--to", "onnx"], "--to onnx needs the package onnx: pip install"),
        (
            ["--push", "a/b", "--out", tmp_path / "new"],
            "--push needs the package huggingface_hub: pip install 'interact-env[hub]'",
        ),
    ):
        is_one_line(main(["export", str(run), *map(str, arguments)]), capsys.readouterr().err, message)
    assert list((tmp_path / "there").iterdir()) == []
    assert not (run / "export").exists()
    assert not list(tmp_path.glob(".*"))


def test_push_uploads_the_folder_with_a_token_only(tmp_path, capsys, monkeypatch):
    run, calls = untrained(tmp_path / "run"), []

    class Hub:
        def create_repo(self, repository, exist_ok):
            calls.append(("create", repository, exist_ok))
            if repository == "a/refused":
                raise RuntimeError("401")

        def upload_folder(self, folder_path, repo_id):
            calls.append(("upload", sorted(p.name for p in folder_path.iterdir()), repo_id))
            return f"https://hub/{repo_id}"

    hub = types.SimpleNamespace(HfApi=Hub, get_token=lambda: None)
    hub.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)

    def push(repository, out):
        return main(["export", str(run), "--out", str(tmp_path / out), "--push", repository])

    is_one_line(push("a/b", "1"), capsys.readouterr().err, "--push needs a token: set HF_TOKEN")
    assert calls == []
    hub.get_token = lambda: "token"
    assert push("a/b", "2") == 0
    assert calls == [
        ("create", "a/b", True),
        ("upload", ["README.md", "config.json", "model.safetensors"], "a/b"),
    ]
    assert "pushed to https://hub/a/b" in capsys.readouterr().out
    is_one_line(push("a/refused", "3"), capsys.readouterr().err, "--push a/refused: 401")
    assert (tmp_path / "3" / "README.md").exists(), "what was exported stays"


def test_verify_tells_what_there_is(tmp_path, capsys):
    run = untrained(tmp_path / "run")
    assert main(["verify", str(run)]) == 0
    said = capsys.readouterr().out
    for words in ("latest", "step_000000000001", "is whole"):
        assert words in said
    weights = checkpoint.load(run).path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 8
    weights.write_bytes(data)
    is_one_line(main(["verify", str(run)]), capsys.readouterr().err, "model.safetensors: is damaged")
    with pytest.raises(LoadError):
        checkpoint.load(run)
