"""Numbers that are none: in the loss, the gradient, the outputs, and in actions."""

import numpy as np
import pytest
import torch
from envs import sample
from killing import TINY, start
from worlds import MAIN, MAIN_IDS

import interact_env
from policies import EntityActorCritic
from train import checkpoint
from train.buffer import EntityRolloutBuffer
from train.cli import main
from train.ppo import EntityPPO


def poisoned_advantages(monkeypatch):
    real, calls = EntityRolloutBuffer.finish, iter(range(100))

    def finish(self, *arguments):
        if next(calls) == 3:
            self.rewards[0, 0] = torch.nan
        real(self, *arguments)

    monkeypatch.setattr(EntityRolloutBuffer, "finish", finish)


def poisoned_gradient(monkeypatch):
    real, calls = EntityPPO._add_up, iter(range(100))

    def add_up(self, gradients):
        if next(calls) == 30:
            gradients[3].view(-1)[0] = torch.inf
        real(self, gradients)

    monkeypatch.setattr(EntityPPO, "_add_up", add_up)


def poisoned_outputs(monkeypatch):
    real, calls = EntityActorCritic.forward, iter(range(1000))

    def forward(self, *arguments):
        logits, values = real(self, *arguments)
        return logits + (torch.nan if next(calls) == 60 else 0), values

    monkeypatch.setattr(EntityActorCritic, "forward", forward)


@pytest.mark.parametrize(
    ("poison", "message"),
    [
        (poisoned_advantages, "the loss or its gradient is not finite, at env step 256; "),
        (poisoned_gradient, "the loss or its gradient is not finite, at env step "),
        (poisoned_outputs, "what the policy makes of its observations is not finite, at env step "),
    ],
)
def test_training_stops_with_the_step_and_the_last_good_checkpoint(tmp_path, monkeypatch, poison, message):
    run = tmp_path / "run"
    poison(monkeypatch)
    with pytest.raises(FloatingPointError) as error:
        start(run)
    saved = checkpoint.load(run)
    assert message in str(error.value)
    assert str(error.value).endswith(f"; the last checkpoint is {saved.path}")
    assert all(torch.isfinite(weight).all() for weight in saved.policy().weights().values())


def test_on_the_command_line_that_is_one_line(tmp_path, monkeypatch, capsys):
    poisoned_gradient(monkeypatch)
    options = [f"--{k.replace('_', '-')}={v}" for k, v in {**TINY, "save_every": "999min"}.items()]
    assert main(["train", "--out", str(tmp_path / "run"), *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("interact-env: error: the loss or its gradient is not finite, at env step ")
    assert line.endswith("; there is no checkpoint yet")


@pytest.mark.slow
@pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)
def test_a_million_steps_with_bad_actions_in_between(world, parameters):
    """1,000 worlds by 1,000 steps; before each, actions that are none: refused, and nothing has changed."""
    rng = np.random.default_rng(0)
    batch = interact_env.make_batch(world, 1000, seed=0, n_threads=1, **{**parameters, "max_cycles": 50})
    batch.reset()
    for t in range(1000):
        good = batch.scripted("random")
        before = batch.save() if t % 20 == 0 else None
        bad, message = spoiled(good, batch.alive, rng)
        with pytest.raises(ValueError) as error:  # noqa: PT011  # the text is compared below, unescaped
            batch.step(bad)
        assert message in str(error.value)
        if before is not None:
            assert all(np.array_equal(batch.save()[k], v) for k, v in before.items())
        step = batch.step(good)
        assert np.isfinite(batch.rows).all()
        assert np.isfinite(step.reward).all()
        batch.reset(batch.over.copy())


def spoiled(good, alive, rng):
    """Actions of which one is bad, and what is said of it."""
    bad, kind = good.copy(), rng.integers(6)
    if kind == 0:
        return bad[:, :-1], "actions must be "
    if kind == 1:
        return bad.astype(object if rng.random() < 0.5 else str), "actions must be "
    if kind == 2:
        return bad.astype(bool if bad.dtype.kind == "f" else float), "actions must be "
    places = np.argwhere(alive)
    b, i = places[rng.integers(len(places))]
    if bad.dtype.kind == "f":
        bad[b, i, rng.integers(bad.shape[2])] = rng.choice([np.nan, np.inf, -np.inf, 1e30, 1.01])
    else:
        bad[b, i] = rng.choice([-1, 99, 2**62, -(2**63)])
    return bad, f"actions[{b}, {i}] must be "


@pytest.mark.parametrize(("world", "parameters"), MAIN, ids=MAIN_IDS)
def test_an_env_names_the_agent(world, parameters):
    rng = np.random.default_rng(0)
    env = interact_env.make(world, seed=0, **{**parameters, "max_cycles": 50})
    for episode in range(20):
        env.reset(seed=episode)
        while env.agents:
            good = sample(env)
            agent = env.agents[rng.integers(len(env.agents))]
            nothings = [
                np.nan,
                np.inf,
                1e30,
                "up",
                None,
                np.zeros(7),
                [],
                np.array(np.nan),
                2j,
                b"1",
                object(),
            ]
            before = env.batch.save()
            with pytest.raises(ValueError, match=f"action of '{agent}' must be"):
                env.step({**good, agent: nothings[rng.integers(len(nothings))]})
            assert all(np.array_equal(env.batch.save()[k], v) for k, v in before.items())
            env.step(good)
