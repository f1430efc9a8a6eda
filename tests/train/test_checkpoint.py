import json

import pytest
import torch

import interact_env
from interact_env.spaces import entity_space
from train import checkpoint
from train.checkpoint import CheckpointError
from train.policy import EntityPolicy

NETWORK = {"policy": "sa_linear", "d_model": 16, "n_layers": 1, "n_heads": 2, "positions": "rotary"}
PARAMETERS = {"n_agents": (2, 5), "shape": "square"}


def a_policy(**network):
    torch.manual_seed(3)
    batch = interact_env.make_batch("colliding_agents_v0", seed=0, **PARAMETERS)
    space = entity_space(batch.columns, batch.n_slots)
    return EntityPolicy(space, batch.action_space, lambda _: 1e-3, **{**NETWORK, **network})


def saved(run, steps=10):
    meta = {"env": "colliding_agents_v0", "parameters": PARAMETERS, "network": NETWORK, "env_steps": steps}
    return checkpoint.save(run, a_policy(), meta)


def test_what_is_saved_is_loaded(tmp_path):
    path = saved(tmp_path)
    found = checkpoint.load(tmp_path)
    assert found.path == path
    assert found.parameters == PARAMETERS
    assert found.env_steps == 10
    policy = found.policy()
    assert all(torch.equal(v, a_policy().state_dict()[k]) for k, v in policy.state_dict().items())
    assert found.batch(3, n_agents=7).rows.shape == (3, 7, 4)


def test_the_last_two_are_kept_and_nothing_is_left_behind(tmp_path):
    for steps in (10, 20, 30, 30):
        saved(tmp_path, steps)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "step_000000000020", "step_000000000030"]
    assert checkpoint.load(tmp_path).env_steps == 30
    saved(tmp_path, 5)
    assert checkpoint.load(tmp_path).env_steps == 5, "what was saved last, whatever its number"


def test_a_failed_save_leaves_the_one_before(tmp_path, monkeypatch):
    saved(tmp_path, 10)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        saved(tmp_path, 20)
    monkeypatch.undo()
    assert checkpoint.load(tmp_path).env_steps == 10
    assert [p.name for p in tmp_path.glob(".*")] == []


def edit(path, change):
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


BROKEN = {
    "no pointer": (lambda run, _: (run / "latest").unlink(), "holds no checkpoint"),
    "pointer out of the run": (
        lambda run, _: (run / "latest").write_text("../../etc"),
        "names no checkpoint",
    ),
    "binary pointer": (lambda run, _: (run / "latest").write_bytes(b"\xff\x00"), "names no checkpoint"),
    "no directory": (lambda run, _: (run / "latest").write_text("step_99"), "No such file"),
    "no weights": (lambda _, at: (at / checkpoint.WEIGHTS).unlink(), "No such file"),
    "cut weights": (
        lambda _, at: (at / checkpoint.WEIGHTS).write_bytes((at / checkpoint.WEIGHTS).read_bytes()[:-9]),
        "is damaged",
    ),
    "flipped byte": (
        lambda _, at: (at / checkpoint.WEIGHTS).write_bytes(
            bytes([*(data := (at / checkpoint.WEIGHTS).read_bytes())[:-1], data[-1] ^ 1])
        ),
        "is damaged",
    ),
    "no JSON": (lambda _, at: (at / checkpoint.META).write_text("{"), "is not JSON"),
    "deep JSON": (lambda _, at: (at / checkpoint.META).write_text("[" * 100_000), "is not JSON"),
    "a list": (lambda _, at: (at / checkpoint.META).write_text("[]"), "is not a checkpoint of format 1"),
    "another format": (
        lambda _, at: edit(at / checkpoint.META, lambda m: m.update(format=9)),
        "is not a checkpoint of format 1",
    ),
    "no policy's name": (
        lambda _, at: edit(at / checkpoint.META, lambda m: m["network"].pop("policy")),
        "lacks parameters.n_agents or network.policy",
    ),
    "a wrong type": (
        lambda _, at: edit(at / checkpoint.META, lambda m: m.update(env=3)),
        "'env' must be of type str",
    ),
    "a module to import": (
        lambda _, at: edit(at / checkpoint.META, lambda m: m.update(env="antigravity:colliding_agents_v0")),
        "names a module to import; a file may not",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_checkpoint_is_refused_by_name(tmp_path, kind):
    path = saved(tmp_path)
    damage, message = BROKEN[kind]
    damage(tmp_path, path)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path)


def test_weights_that_are_no_tensors_are_refused(tmp_path):
    import hashlib

    path = saved(tmp_path)
    junk = b"\x80\x04junk" * 9
    (path / checkpoint.WEIGHTS).write_bytes(junk)
    edit(path / checkpoint.META, lambda m: m.update(sha256=hashlib.sha256(junk).hexdigest()))
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("other", [{"policy": "none"}, {"d_model": 8}, {"n_layers": 2}])
def test_a_checkpoint_of_another_policy_is_refused_and_changes_nothing(tmp_path, other):
    saved(tmp_path)
    found, policy = checkpoint.load(tmp_path), a_policy(**other)
    before = {k: v.clone() for k, v in policy.state_dict().items()}
    with pytest.raises(CheckpointError, match="is of another policy"):
        checkpoint.load_weights(policy, found.weights, found.path)
    assert all(torch.equal(v, before[k]) for k, v in policy.state_dict().items())


def test_settings_that_no_policy_has_are_refused(tmp_path):
    path = saved(tmp_path)
    edit(path / checkpoint.META, lambda m: m["network"].update(n_layers=3))
    with pytest.raises(CheckpointError, match="is of another policy"):
        checkpoint.load(tmp_path).policy()
    edit(path / checkpoint.META, lambda m: m["network"].update(depth=3))
    with pytest.raises(CheckpointError, match="network"):
        checkpoint.load(tmp_path).policy()
