import hashlib
import json
import os
import shutil

import pytest
import safetensors.torch
import torch

from policies import LoadError, files
from train import checkpoint, disk
from train.checkpoint import Snapshot

NETWORK = {"policy": "sa_linear", "d_model": 16, "n_layers": 1, "n_heads": 2, "positions": "rotary"}
PARAMETERS = {"n_agents": (2, 5), "shape": "square"}
STEP = "step_000000000010"


def weights(**network):
    torch.manual_seed(3)
    from interact_env import make_batch
    from interact_env.spaces import entity_space
    from train.policy import EntityPolicy

    batch = make_batch("colliding_agents_v0", seed=0, **PARAMETERS)
    space = entity_space(batch.columns, batch.n_slots)
    return EntityPolicy(space, batch.action_space, lambda _: 1e-3, **{**NETWORK, **network}).weights()


def saved(run, steps=10, *, best=False, **more):
    about = checkpoint.setup("colliding_agents_v0", PARAMETERS, NETWORK)
    snapshot = Snapshot(weights() | more, {"worlds.x": torch.arange(3)}, {"env_steps": steps})
    return checkpoint.save(run, about, snapshot, best=best)


def test_what_is_saved_is_loaded(tmp_path):
    path = saved(tmp_path)
    found = checkpoint.load(tmp_path)
    assert found.path == path == tmp_path / STEP
    assert found.parameters == PARAMETERS
    assert found.network == NETWORK
    assert found.env_steps == 10
    assert all(torch.equal(v, weights()[k]) for k, v in found.policy().weights().items())
    assert found.batch(3, n_agents=7).rows.shape == (3, 7, 4)
    with found.training() as tensors:
        assert tensors.read("worlds.x", torch.arange(3)).tolist() == [0, 1, 2]


def test_the_last_two_and_the_best_are_kept_and_nothing_is_left_behind(tmp_path):
    (tmp_path / ".step_000000000007").mkdir()  # of a process that was killed
    for steps in (10, 20, 30, 40, 40):
        saved(tmp_path, steps, best=steps == 20)
    kept = {"step_000000000020", "step_000000000040", "step_000000000040_1"}
    assert {p.name for p in tmp_path.iterdir()} == {"latest", "best", *kept}
    assert checkpoint.load(tmp_path).path.name == "step_000000000040_1"
    assert checkpoint.load(tmp_path, checkpoint.BEST).env_steps == 20
    saved(tmp_path, 5)
    assert checkpoint.load(tmp_path).env_steps == 5, "what was saved last, whatever its number"


def test_what_is_not_finite_is_not_saved(tmp_path):
    saved(tmp_path)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(FloatingPointError, match=r"out\.bias is not finite: not saved"):
            saved(tmp_path, 20, **{"out.bias": torch.tensor([1, bad])})
    assert checkpoint.load(tmp_path).env_steps == 10


@pytest.mark.parametrize("at", range(8))
def test_a_failed_save_leaves_the_one_before(tmp_path, monkeypatch, at):
    """The disk is full at each of the writes in turn: five files and two pointers."""
    saved(tmp_path, 10)
    real, count = disk.write, iter(range(100))

    def full(path, data):
        if next(count) == at:
            real(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device", str(path))
        real(path, data)

    monkeypatch.setattr(disk, "write", full)
    if at == 7:  # there are no more
        saved(tmp_path, 20, best=True)
        return
    with pytest.raises(OSError, match="No space left on device: "):
        saved(tmp_path, 20, best=True)
    monkeypatch.undo()
    assert checkpoint.load(tmp_path).env_steps == 10
    assert not list(tmp_path.glob(".*"))
    saved(tmp_path, 30)
    assert checkpoint.load(tmp_path).env_steps == 30


def seal(run):
    """Make manifest and pointer fit the files as they are, as somebody who means harm would."""
    path = run / STEP
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    for name in checkpoint.FILES:
        data = (path / name).read_bytes() if (path / name).is_file() else b""
        manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    digest = hashlib.sha256((path / checkpoint.MANIFEST).read_bytes()).hexdigest()
    (run / "latest").write_text(f"{STEP} {digest}\n")


def edit(name, change):
    def edited(run):
        path = run / STEP / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        seal(run)

    return edited


def write(name, data):
    def written(run):
        (run / STEP / name).write_bytes(data)
        seal(run)

    return written


def parameters(**changes):
    return edit(checkpoint.META, lambda m: m["parameters"].update(changes))


def network(**changes):
    return edit(files.CONFIG, lambda m: m["network"].update(changes))


def pointer(data):
    return lambda run: (run / "latest").write_bytes(data)


def link(name):
    def linked(run):
        path = run / STEP / name
        path.rename(run / "elsewhere")
        path.symlink_to(run / "elsewhere")

    return linked


def tensors(change):
    def changed(run):
        given = safetensors.torch.load((run / STEP / files.WEIGHTS).read_bytes())
        change(given)
        write(files.WEIGHTS, safetensors.torch.save(given))(run)

    return changed


def link_all(run):
    (run / STEP).rename(run / "elsewhere")
    (run / STEP).symlink_to(run / "elsewhere")


def pipe(run):
    (run / STEP / checkpoint.META).unlink()
    os.mkfifo(run / STEP / checkpoint.META)


META, CONFIG = checkpoint.META, files.CONFIG
HEADER_10_TB = (10**13).to_bytes(8, "little") + b"{}"
TENSOR_10_TB = json.dumps(
    {"x": {"dtype": "F32", "shape": [10**13 // 4], "data_offsets": [0, 10**13]}}
).encode()
BROKEN = {
    "no pointer": (lambda run: (run / "latest").unlink(), "holds no checkpoint"),
    "pointer out of the run": (pointer(b"../../etc " + b"0" * 64 + b"\n"), "names no checkpoint"),
    "pointer to an absolute path": (
        pointer(b"/etc/step_000000000010 " + b"0" * 64 + b"\n"),
        "names no checkpoint",
    ),
    "binary pointer": (pointer(b"\xff\x00"), "names no checkpoint"),
    "pointer of an older format": (pointer(STEP.encode()), "names no checkpoint"),
    "endless pointer": (pointer(b"a" * 10**6), "names no checkpoint"),
    "no folder": (pointer(b"step_000000000099 " + b"0" * 64 + b"\n"), "manifest.json: No such file"),
    "a link for a folder": (link_all, f"{STEP}: is a link"),
    "a link for a file": (link(files.WEIGHTS), "model.safetensors: is a link"),
    "a pipe for a file": (pipe, "checkpoint.json: is no file"),
    "no weights": (lambda run: (run / STEP / files.WEIGHTS).unlink(), "No such file"),
    "no JSON": (write(META, b"{"), "checkpoint.json: is not JSON"),
    "deep JSON": (write(META, b"[" * 100_000), "checkpoint.json: is not JSON"),
    "huge JSON": (write(META, b" " * 2**21), "checkpoint.json: is larger than"),
    "a list": (write(META, b"[]"), "is not a JSON object"),
    "a pickle": (write(CONFIG, b"\x80\x04K\x01."), "config.json: is not JSON"),
    "a number of many digits": (write(META, b'{"env": ' + b"9" * 4000 + b"}"), "a number of 4000 digits"),
    "a number without end": (write(META, b'{"env": 1e999}'), "not finite"),
    "not a number": (write(META, b'{"env": NaN}'), "NaN"),
    "no policy's name": (edit(CONFIG, lambda m: m["network"].pop("policy")), "'policy' must be of type str"),
    "a wrong type": (edit(META, lambda m: m.update(env=3)), "'env' must be of type str"),
    "no parameters": (edit(META, lambda m: m.update(parameters=[])), "'parameters' must be of type dict"),
    "no agents": (edit(META, lambda m: m["parameters"].pop("n_agents")), "lacks n_agents"),
    "no steps": (edit(META, lambda m: m.update(numbers={})), "'env_steps' must be of type int"),
    "a module to import": (
        edit(META, lambda m: m.update(env="antigravity:colliding_agents_v0")),
        "names a module to import; a file may not",
    ),
    "an unknown world": (edit(META, lambda m: m.update(env="moon_v0")), "is of no world: no world 'moon_v0'"),
    "an unknown parameter": (parameters(moon=1), "has no parameter 'moon'"),
    "too many agents": (parameters(n_agents=2**40), "n_agents must be"),
    "too many agents of a range": (
        edit(META, lambda m: m["parameters"].update(n_agents=[1, 2**40])),
        "n_agents",
    ),
    "agents that are none": (
        edit(META, lambda m: m["parameters"].update(n_agents={"a": 1})),
        "n_agents must be",
    ),
    "a shape that is none": (parameters(shape={"a": 1}), "shape must be"),
    "another world": (edit(META, lambda m: m.update(env="n_body_v0")), "is of no world"),
    "other columns": (edit(CONFIG, lambda m: m["columns"].pop()), "is not of colliding_agents_v0"),
    "another number of outputs": (edit(CONFIG, lambda m: m.update(n_outputs=4)), "is not of colliding"),
    "another policy": (
        edit(CONFIG, lambda m: m["network"].update(policy="none")),
        "has no place in this policy",
    ),
    "an unknown policy": (network(policy="sa9"), "policy must be one of"),
    "another width": (network(d_model=8), "and must be"),
    "another depth": (network(n_layers=3), "has no blocks.1"),
    "a huge width": (network(d_model=2**50), "d_model must be"),
    "a huge depth": (network(n_layers=2**50), "n_layers must be"),
    "a width that is none": (network(d_model="wide"), "d_model must be"),
    "an unknown setting": (network(depth=3), "depth"),
    "weights that are a pickle": (write(files.WEIGHTS, b"\x80\x04junk" * 9), "is not a safetensors file"),
    "a header of 10 TB": (write(files.WEIGHTS, HEADER_10_TB), "is not a safetensors file"),
    "a tensor of 10 TB": (
        write(files.WEIGHTS, len(TENSOR_10_TB).to_bytes(8, "little") + TENSOR_10_TB),
        "is not a safetensors file",
    ),
    "a tensor more": (tensors(lambda t: t.update(more=torch.zeros(1))), "more has no place in this policy"),
    "a tensor less": (tensors(lambda t: t.pop("critic.bias")), "has no critic.bias"),
    "a tensor of another dtype": (
        tensors(lambda t: t.update({"critic.bias": torch.zeros(1, dtype=torch.float64)})),
        "critic.bias is torch.float64, and must be torch.float32",
    ),
    "a tensor of NaN": (tensors(lambda t: t["critic.bias"].fill_(torch.nan)), "critic.bias is not finite"),
}


def a_file_more(run):
    path = run / STEP / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["files"]["../../outside"] = {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    path.write_text(json.dumps(manifest))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (run / "latest").write_text(f"{STEP} {digest}\n")


def other_format(run):
    path = run / STEP / checkpoint.MANIFEST
    path.write_text(path.read_text().replace('"format": 2', '"format": 9'))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (run / "latest").write_text(f"{STEP} {digest}\n")


BROKEN["a file more"] = (a_file_more, "does not list the files of a checkpoint")
BROKEN["another format"] = (other_format, "is not of format 2")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    run = tmp_path_factory.mktemp("good")
    saved(run)
    return run


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_checkpoint_is_refused_by_name(good, tmp_path, kind):
    run = tmp_path / "run"
    shutil.copytree(good, run)
    damage, message = BROKEN[kind]
    damage(run)
    with pytest.raises(LoadError) as error:
        checkpoint.load(run).policy()
    assert message in str(error.value)
    assert str(run) in str(error.value)
    assert "\n" not in str(error.value)


def test_every_byte_counts(good, tmp_path):
    """Each file cut at 20 places and with 20 bytes flipped: refused, by the file's name."""
    run = tmp_path / "run"
    shutil.copytree(good, run)
    paths = [run / "latest", *(run / STEP / name for name in (*checkpoint.FILES, checkpoint.MANIFEST))]
    for path in paths:
        data = path.read_bytes()
        for k in range(20):
            at = k * len(data) // 20
            flipped = bytearray(data)
            flipped[at] ^= 1 << k % 8
            for changed in (data[:at], bytes(flipped)):
                path.write_bytes(changed)
                with pytest.raises(LoadError) as error:
                    checkpoint.load(run)
                # A pointer that is changed may name another checkpoint, which is not there.
                assert path.name in str(error.value) or path.name == "latest"
        path.write_bytes(data)
    checkpoint.load(run)
