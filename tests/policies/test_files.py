"""Networks that are saved as JSON and tensors."""

import json

import pytest
import safetensors.torch
import torch
from saved_runs import untrained

import policies
from interact_env import make_batch
from policies import EntityActorCritic, LoadError, files


@pytest.mark.parametrize("policy", policies.names())
def test_a_network_is_built_again_from_json_and_tensors(tmp_path, policy):
    columns = make_batch("n_body_v0", n_agents=3).columns
    network = {"policy": policy, "d_model": 32, "n_layers": 1, "n_heads": 2}
    made = EntityActorCritic(columns, 2, **network)
    (tmp_path / files.CONFIG).write_text(json.dumps(files.config(columns, 2, network)))
    safetensors.torch.save_file(made.state_dict(), tmp_path / files.WEIGHTS)
    loaded = policies.load(tmp_path)
    rows, mask = torch.randn(2, 7, len(columns)), torch.rand(2, 7) < 0.8
    for one, other in zip(made.eval()(rows, mask), loaded(rows, mask), strict=True):
        assert torch.equal(one, other)
    assert not loaded.training


@pytest.mark.parametrize("env", ["colliding_agents_v0", "n_body_v0"])
def test_a_checkpoint_is_a_network_too(tmp_path, env):
    run = untrained(tmp_path / "run", env)
    (folder,) = run.glob("step_*")
    from train import checkpoint

    policy = checkpoint.load(run).policy()
    loaded = policies.load(str(folder)).state_dict()
    assert all(torch.equal(v, loaded[k]) for k, v in policy.network.state_dict().items())
    with pytest.raises(LoadError, match="is a run; give one of its checkpoints"):
        policies.load(run)


def edited(**changes):
    columns = make_batch("colliding_agents_v0", n_agents=3).columns
    network = {"policy": "sa", "d_model": 16, "n_layers": 1, "n_heads": 2, **changes.pop("network", {})}
    return {**files.config(columns, 5, network), **changes}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (edited(n_outputs=2**40), "n_outputs must be a whole number"),
        (edited(n_outputs=4), "actor.weight is"),
        (edited(n_outputs="5"), "'n_outputs' must be of type int"),
        (edited(network={"d_model": 2**50}), "d_model must be a whole number"),
        (edited(network={"d_model": 2**14}), "and must be"),
        (edited(network={"positions": "here"}), "positions must be one of"),
        (edited(columns=[]), "and must be (16, 1)"),
        (edited(columns=[{"name": "x"}]), "is of no network"),
        (edited(columns=[{**edited()["columns"][2], "size": 2**53}]), "and must be (16, 9007199254740992)"),
        (edited(columns=[{**edited()["columns"][2], "size": "4"}]), "is of no network"),
        (edited(columns=[{**edited()["columns"][2], "kind": "smell"}]), "has an unknown kind 'smell'"),
        ({"columns": [], "n_outputs": 1}, "'network' must be of type dict"),
        ({"columns": 3, "n_outputs": 1, "network": {}}, "'columns' must be of type list"),
        ({"columns": [], "n_outputs": 1, "network": 3}, "'network' must be of type dict"),
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, config, message):
    columns = make_batch("colliding_agents_v0", n_agents=3).columns
    made = EntityActorCritic(columns, 5, policy="sa", d_model=16, n_layers=1, n_heads=2)
    (tmp_path / files.CONFIG).write_text(json.dumps(config))
    safetensors.torch.save_file(made.state_dict(), tmp_path / files.WEIGHTS)
    with pytest.raises(LoadError) as error:
        policies.load(tmp_path)
    assert message in str(error.value)


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(LoadError, match=r"is no folder with config\.json and model\.safetensors"):
        policies.load(tmp_path / "nothing")
    with pytest.raises(LoadError, match=r"config\.json: No such file"):
        policies.load(tmp_path)
