import json

import numpy as np
import pytest
import scipy.stats
import torch

import interact_env
from interact_env.spaces import entity_space
from train import compare, evaluate
from train.evaluate import Result
from train.policy import EntityPolicy

ENV = "colliding_agents_v0"


def play_slowly(name, parameters, seed, k):
    """Episode k, by a batch of one: reward and metrics per agent step, return per agent."""
    batch = interact_env.make_batch(ENV, 1, seed=seed, first_world=k, **parameters)
    batch.reset()
    rewards, metrics, agents, agent_steps = 0.0, 0.0, batch.alive.sum(), 0
    while not batch.over.any():
        agent_steps += batch.alive.sum()
        rewards += batch.step(batch.scripted(name)).reward.sum()
        metrics += batch.metrics[0].sum(axis=0)
    return [rewards / agent_steps, rewards / agents, *(metrics / agent_steps)]


@pytest.mark.parametrize("parameters", [{"n_agents": (2, 6)}, {"n_agents": 9, "remove_on_collision": True}])
def test_episodes_are_counted_once_and_whole(parameters):
    made = {"max_cycles": 12, **parameters}
    found = evaluate.episodes(evaluate.scripted("go_ahead"), ENV, made, 20, seed=4)
    slow = np.array([play_slowly("go_ahead", made, 4, k) for k in range(20)])
    for column, name in enumerate(("reward", "return", "progress", "collisions")):
        np.testing.assert_allclose(found[name], slow[:, column], rtol=1e-6)


def test_chunks_of_worlds_do_not_change_the_result(monkeypatch):
    made = {"n_agents": 5, "max_cycles": 10}
    whole = evaluate.episodes(evaluate.scripted("yield"), ENV, made, 7, seed=0)
    monkeypatch.setattr(evaluate, "_PAIRS", 75)
    parts = evaluate.episodes(evaluate.scripted("yield"), ENV, made, 7, seed=0)
    np.testing.assert_array_equal(whole["reward"], parts["reward"])


def test_endless_episodes_are_refused():
    with pytest.raises(ValueError, match="max_cycles must be a number for an evaluation"):
        evaluate.episodes(evaluate.scripted("random"), ENV, {"max_cycles": None}, 2, seed=0)


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [e.low <= 3 <= e.high for e in (evaluate.estimate(rng.normal(3, 1, 40)) for _ in range(200))]
    assert 0.88 <= np.mean(hits) <= 0.99
    assert evaluate.estimate(np.ones(5)) == (1, 1, 1)


def test_arenas_keep_the_density_or_the_size():
    trained = {"n_agents": 8, "size": 16, "shape": "square"}
    found = evaluate.arenas(ENV, trained)
    assert found["constant density"] == {"n_agents": 8, "size": None, "shape": "square", "density": 8 / 256}
    assert found["constant arena"] == {"n_agents": 8, "size": 16, "shape": "square", "density": None}
    ranged = evaluate.arenas(ENV, {"n_agents": (8, 32)})
    assert ranged["constant arena"]["size"] == 32
    assert ranged["constant density"]["density"] is None, "the world's own"
    assert evaluate.arenas("springs_v0", {"n_agents": 2}) == {"as trained": {"n_agents": 2}}


def test_across_counts_tells_what_does_not_fit():
    actors = {"go_ahead": evaluate.scripted("go_ahead")}
    places, seen = evaluate.arenas(ENV, {"n_agents": 8, "max_cycles": 5}), []
    results = evaluate.across_counts(actors, ENV, places, [2, 32], n_episodes=3, seed=0, report=seen.append)
    assert results == seen
    found = [(r.arena, r.n_agents, r.size, bool(r.estimates)) for r in results]
    assert found == [
        ("constant density", 2, 16, True),
        ("constant density", 32, 32, True),
        ("constant arena", 2, 16, True),
        ("constant arena", 32, 16, False),
    ]
    assert "at most 25" in results[-1].reason


def test_a_learned_policy_acts_for_the_living_at_any_count():
    torch.manual_seed(0)
    small = interact_env.make_batch(ENV, seed=0)
    space = entity_space(small.columns, small.n_slots)
    policy = EntityPolicy(space, small.action_space, lambda _: 0.0, d_model=16)
    act, likeliest = evaluate.learned(policy), evaluate.learned(policy, deterministic=True)
    for n in (1, 3, 40, (2, 50)):
        batch = interact_env.make_batch(ENV, 4, seed=0, n_agents=n)
        batch.reset()
        batch.step(act(batch))
        first, second = likeliest(batch), likeliest(batch)
        np.testing.assert_array_equal(first, second)
        assert first.dtype == np.int64


def test_continuous_actions_are_kept_within_their_bounds():
    batch = interact_env.make_batch("n_body_v0", 8, seed=0)
    batch.reset()
    space = entity_space(batch.columns, batch.n_slots)
    policy = EntityPolicy(space, batch.action_space, lambda _: 0.0, d_model=16)
    with torch.no_grad():
        policy.log_std.fill_(2.0)
    torch.manual_seed(0)
    actions = evaluate.learned(policy)(batch)
    assert actions.min() == -1
    assert actions.max() == 1
    batch.step(actions)


def test_n_body_is_evaluated_at_constant_density_and_in_a_constant_arena():
    for dims in (2, 3):
        for given in ({"n_agents": 8}, {"n_agents": (2, 8), "size": 10.0}):
            places = evaluate.arenas("n_body_v0", {**given, "dims": dims})
            params = {
                name: interact_env.world("n_body_v0").params({**there, "n_agents": 64})
                for name, there in places.items()
            }
            side = given.get("size", 2 * 8 ** (1 / dims))
            arena_size = interact_env.world("n_body_v0").arena_size
            assert arena_size(params["constant arena"], 64) == pytest.approx(side, rel=1e-6)
            assert arena_size(params["constant density"], 64) == pytest.approx(
                side * 8 ** (1 / dims), rel=1e-6
            )


def write(run, policy, rewards, **about):
    run.mkdir()
    results = [
        Result(name, "constant density", n, 16.0, {"reward": evaluate.Estimate(value, value, value)})
        for name, values in (((policy, rewards)), ("yield", (0.7, 0.6)))
        for n, value in zip((8, 32), values, strict=True)
    ]
    results.append(Result(policy, "constant arena", 32, 16.0, {}, "do not fit"))
    made = {"policy": policy, "env": ENV, "parameters": {"n_agents": 8}, "episodes": 2, "seed": 0, **about}
    evaluate.save(run / evaluate.FILE, results, **made)


def test_compare_puts_seeds_together(tmp_path):
    values = {"sa": [(0.9, 0.8), (0.8, 0.8), (0.85, 0.8)], "none": [(0.3, 0.1), (0.2, 0.3), (0.4, 0.2)]}
    runs = []
    for policy, rewards in values.items():
        for k, pair in enumerate(rewards):
            runs.append(tmp_path / f"{policy}-{k}")
            write(runs[-1], policy, pair)
    study = compare.read(runs)
    table = compare.markdown(study, "reward")
    at_8 = [pair[0] for pair in values["sa"]]
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(at_8), scipy.stats.sem(at_8))
    assert f"| constant density | 8 | 16 | 0.850 [{low:.3f}, {high:.3f}] | 0.300 [" in table
    assert "| agents | size | sa | none | yield |" in table
    assert "0.700 |\n| constant density | 32 |" in table, "a scripted policy has no interval over runs"
    assert "| constant arena | 32 | 16 | do not fit |" in table
    differences = compare.differences(study)
    assert "| sa | none | 0.550 [" in differences
    assert f"| sa | yield | 0.150 [{low - 0.7:.3f}, {high - 0.7:.3f}] |" in differences


def test_a_single_run_has_no_interval_to_compare_with(tmp_path):
    for k, reward in enumerate((0.8, 0.9)):
        write(tmp_path / f"sa-{k}", "sa", (reward, reward))
    write(tmp_path / "none-0", "none", (0.5, 0.5))
    table = compare.differences(compare.read(sorted(tmp_path.iterdir())))
    assert "| sa | yield |" in table
    assert "| sa | none |" not in table


def test_compare_refuses_what_was_not_made_alike(tmp_path):
    write(tmp_path / "a", "sa", (1.0, 1.0))
    for k, (what, value) in enumerate({"episodes": 3, "deterministic": True, "network": {}}.items()):
        write(tmp_path / f"b{k}", "sa", (1.0, 1.0), **{what: value})
        with pytest.raises(ValueError, match=rf"b{k}.*: .*{what}"):
            compare.read([tmp_path / "a", tmp_path / f"b{k}"])
    write(tmp_path / "d", "sa", (1.0, 1.0))
    fewer = json.loads((tmp_path / "d" / evaluate.FILE).read_text())
    fewer["results"].pop()
    (tmp_path / "d" / evaluate.FILE).write_text(json.dumps(fewer))
    with pytest.raises(ValueError, match="other numbers of agents than in the first run"):
        compare.read([tmp_path / "a", tmp_path / "d"])
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match=r"run `interact-env evaluate .*` first"):
        compare.read([tmp_path / "c"])
    (tmp_path / "c" / evaluate.FILE).write_text(json.dumps([]))
    with pytest.raises(ValueError, match="is not a JSON object"):
        compare.read([tmp_path / "c"])
    with pytest.raises(ValueError, match="give at least one run"):
        compare.read([])


@pytest.mark.parametrize(
    "breaks",
    [
        lambda e: e.clear(),
        lambda e: e.pop("parameters"),
        lambda e: e.update(parameters={}),
        lambda e: e.update(results=[]),
        lambda e: e["results"].append(7),
        lambda e: e["results"][0].update(n_agents="eight"),
        lambda e: e["results"][0].pop("arena"),
        lambda e: e["results"][0].update(estimates={"reward": 1.0}),
        lambda e: e["results"][0].update(estimates={"reward": {"mean": 1.0}}),
        lambda e: e["results"][0].update(estimates={"return": e["results"][1]["estimates"]["reward"]}),
    ],
)
def test_what_is_not_an_evaluation_is_refused_by_name(tmp_path, breaks):
    write(tmp_path / "a", "sa", (1.0, 1.0))
    path = tmp_path / "a" / evaluate.FILE
    evaluation = json.loads(path.read_text())
    breaks(evaluation)
    path.write_text(json.dumps(evaluation))
    with pytest.raises(ValueError, match=r"evaluation\.json: is not an evaluation"):
        compare.read([tmp_path / "a"])
