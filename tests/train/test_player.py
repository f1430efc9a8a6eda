"""Episodes that are watched: the same whenever they are, forward and back, and true to the policy."""

import numpy as np
import pytest
import torch
from saved_runs import untrained

import interact_env
from train import checkpoint, evaluate
from train.player import Player
from train.policy import joint_observation


def player(tmp_path, policy="sa", seed=3, env="colliding_agents_v0", **parameters):
    saved = checkpoint.load(untrained(tmp_path / f"{policy}{seed}", env, policy))
    network = saved.policy()
    return Player("p", saved.batch(max_cycles=12, **parameters), evaluate.learned(network), network, seed)


def rows(shown):
    """The entity rows of a whole episode."""
    seen = [shown.batch.rows.copy()]
    while shown.forward():
        seen.append(shown.batch.rows.copy())
    return np.concatenate(seen)


def test_two_players_of_a_policy_and_seed_show_the_same(tmp_path):
    one, other, third = player(tmp_path), player(tmp_path), player(tmp_path, seed=4)
    seen = []
    while one.forward():
        torch.rand(3)  # what else draws numbers does not matter
        seen.append(one.batch.rows.copy())
    episode = rows(other)
    np.testing.assert_array_equal(np.concatenate(seen), episode[1:])
    assert len(episode) == 13
    assert (rows(third) != episode).any()
    one.next_episode()
    assert (rows(one) != episode).any(), "another episode, other places and other draws"


def test_going_back_and_forth_changes_nothing(tmp_path):
    shown = player(tmp_path)
    states, moments = [shown.batch.save()], [shown.now]
    for _ in range(6):
        shown.forward()
        states.append(shown.batch.save())
        moments.append(shown.now)
    for k in reversed(range(6)):
        assert shown.back()
        assert shown.now is moments[k]
        for name, array in shown.batch.save().items():
            np.testing.assert_array_equal(array, states[k][name])
    assert not shown.back(), "this is the start"
    for _ in range(6):
        shown.forward()
    np.testing.assert_array_equal(shown.batch.rows, states[6]["result.rows"])
    assert [shown.forward() for _ in range(7)] == [True] * 6 + [False]
    assert shown.over
    shown.restart()
    assert shown.now is moments[0]
    assert not shown.over
    shown.next_episode()
    assert (shown.now.step, shown.batch.episode[0]) == (0, 1)


@pytest.mark.parametrize("policy", ["sa", "sa_linear", "hfa", "ha", "sa_hfa", "deep_sets"])
@pytest.mark.parametrize("vision", ["auto", None])
def test_what_is_told_of_an_agent_is_what_its_policy_thinks(tmp_path, policy, vision):
    shown = player(tmp_path, policy, n_agents=6, vision_radius=vision)
    shown.forward()
    observation = joint_observation(shown.batch, "cpu")
    network = shown.policy.network
    arguments = observation["entities"], observation["mask"], observation.get("visible")
    with torch.no_grad():
        logits, values = network(*arguments)
        weights = network.weights(*arguments)
    for agent in range(6):
        for layer, head in ((0, 0), (1, -1)):
            insight = shown.inspect(agent, layer, head)
            told = {bar.name: bar for bar in insight.card}
            assert float(told["value"].value) == pytest.approx(float(values[0, agent]), abs=0.006)
            chances = logits[0, agent].softmax(-1).tolist()
            names = ("rest", "right", "up", "left", "down")
            assert [told[name].part for name in names] == pytest.approx(chances, abs=1e-5)
            of_head = weights[layer][0].mean(0) if head < 0 else weights[layer][0, head]
            expected = of_head[agent] / of_head[agent].abs().max().clamp(min=1e-30)
            found = torch.zeros(6)
            for link in insight.links:
                assert link.start == agent
                found[link.end] = link.weight
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        assert insight.attention == (2, weights[0].shape[1])


def test_a_policy_that_weighs_no_pairs_and_one_that_is_scripted_say_so(tmp_path):
    insight = player(tmp_path, "none").inspect(0)
    assert insight.links == ()
    assert insight.card[-1] == ("attention", "none", None)
    scripted = Player("s", interact_env.make_batch("n_body_v0", 1), evaluate.scripted("hold"), None, 0)
    assert [bar.name for bar in scripted.inspect(2).card] == ["agent", "return"]
    assert scripted.inspect(-1) == scripted.inspect(99) == ((), (), (0, 0))


def test_continuous_actions_are_told_with_their_spread(tmp_path):
    card = player(tmp_path, env="n_body_v0").inspect(1).card
    assert [bar.name for bar in card if bar.name.startswith("action")] == ["action 0", "action 1"]
    assert all("\u00b1" in bar.value for bar in card if bar.name.startswith("action"))


def test_a_steered_agent_does_what_a_person_chooses(tmp_path):
    shown = player(tmp_path, n_agents=3)
    shown.steer(1, lambda: 2)
    before = shown.batch.rows[0, 1, :2].copy()
    shown.forward()
    size = shown.batch.state().size[0]
    moved = (shown.batch.rows[0, 1, :2] - before) % size
    assert moved.tolist() == [0, 1]
    assert [bar.name for bar in shown.inspect(1).card] == ["agent", "return"]
