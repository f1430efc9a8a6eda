"""What does not fit in memory is refused before it is tried."""

import re

import pytest
from cli import is_one_line

import interact_env
from train import memory
from train.cli import main
from train.ranks import Ranks

NETWORK = {"policy": "sa", "d_model": 16}


def batch(**parameters):
    return interact_env.make_batch("colliding_agents_v0", **{"n_agents": 8, **parameters})


def need(one, **changes):
    sizes = {"n_worlds": 4, "n_steps": 16, "batch_size": 8, "at_once": 32, **changes}
    return memory.need(one, NETWORK, **sizes)


@pytest.mark.parametrize(
    ("options", "lower"),
    [
        (("--n-worlds", "16777216"), "--n-worlds or --n-steps"),
        (("--n-worlds", "16777216", "--n-steps", "1"), "--n-worlds"),
        (("--n-steps", "16777216"), "--n-worlds or --n-steps"),
        (("--d-model", "4096", "--n-layers", "256"), "--d-model or --n-layers"),
    ],
)
def test_a_training_that_would_not_fit_is_refused_in_one_line(tmp_path, capsys, options, lower):
    status = main(["train", "--out", str(tmp_path / "run"), "--device", "cpu", *options])
    error = capsys.readouterr().err
    is_one_line(status, error, "the training would need ")
    total, free = map(int, re.findall(r"need (\d+) bytes.* and (\d+) \(", error)[0])
    assert total > free
    assert f"free on cpu: lower {lower}, or the number of agents" in error
    assert not (tmp_path / "run").exists()


def test_what_is_needed_grows_as_what_is_asked_for():
    one, more = need(batch()), need(batch(), n_worlds=8)
    assert (more["worlds"], more["rollout"]) == (2 * one["worlds"], 2 * one["rollout"])
    assert more["minibatch"] == one["minibatch"]
    assert need(batch(), n_steps=32)["rollout"] == 2 * one["rollout"]
    assert need(batch(), batch_size=16)["minibatch"] == 2 * one["minibatch"]
    assert 2 * need(batch(), at_once=4)["network"] == one["network"]
    assert need(batch(n_agents=16))["rollout"] > 2 * one["rollout"], "who sees whom grows as the square"
    assert need(batch(n_agents=16, vision_radius=None))["rollout"] == pytest.approx(
        2 * need(batch(vision_radius=None))["rollout"]
    )


def test_what_the_network_keeps_is_counted_exactly():
    """Against a pass that really keeps it."""
    import torch

    from policies import EntityActorCritic

    one, kept = batch(n_agents=40), {}
    network = EntityActorCritic(one.columns, 5, **NETWORK)

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    rows, there = torch.zeros(1, 40, 4), torch.ones(1, 40, dtype=torch.bool)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = network(rows, there, there[:, None] & there[..., None])
    assert out[0].requires_grad
    own = sum(p.nbytes for p in network.parameters())
    assert memory.activations(one, NETWORK) == pytest.approx(sum(kept.values()) - own, rel=0.05)


def test_processes_on_one_machine_share_its_memory(monkeypatch):
    sizes = {"n_worlds": 4, "n_steps": 16, "batch_size": 8}
    total = sum(need(batch(), n_worlds=2, batch_size=4, n_processes=2).values())
    monkeypatch.setattr(memory, "available", lambda device: total + 1)
    memory.check(batch(), NETWORK, sizes, Ranks(1, 2), "cpu")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    memory.check(batch(), NETWORK, sizes, Ranks(1, 2), "cuda")
    with pytest.raises(ValueError, match=f"need {2 * total} bytes"):
        memory.check(batch(), NETWORK, sizes, Ranks(1, 2), "cpu")
