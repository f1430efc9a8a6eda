"""The report's data: what is recorded, packed, embedded and said."""

import base64
import dataclasses
import json
import re
import zlib

import benchmarks
import numpy as np
import pytest
import torch
from saved_runs import untrained

import interact_env
from train import checkpoint, evaluate
from train.benchmark import report, statistics
from train.benchmark.plan import Run
from train.benchmark.report import about, page, recordings, replay, story, theme
from train.benchmark.report.cells import Cell, cells, scores
from train.benchmark.report.content import columns
from train.benchmark.report.packing import pack
from train.benchmark.results import Evaluated, Trained
from train.config import TrainConfig
from train.policy import joint_observation


def unpack(packed):
    """As replay.js does."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed.data)), np.uint8)
    numbers = planes.reshape(packed.bytes, -1).T.copy().view(f"<i{packed.bytes}").ravel().astype(np.int64)
    if not packed.differences:
        return numbers.reshape(packed.shape)
    moved = numbers.reshape(*packed.shape[1:], packed.shape[0])
    return np.moveaxis(moved, -1, 0).cumsum(0)


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("largest", [0, 100, 30_000, 2**30])
def test_what_is_packed_comes_back(differences, largest):
    numbers = np.random.default_rng(0).integers(-largest, largest + 1, (7, 5))
    packed = pack(numbers, differences=differences)
    np.testing.assert_array_equal(unpack(packed), numbers)
    assert packed.bytes == {0: 1, 100: 1 + differences, 30_000: 2 + 2 * differences, 2**30: 4}[largest]


@pytest.fixture
def played(tmp_path):
    run = untrained(tmp_path / "run", policy="sa_linear", scale=0.3, n_agents=8)
    saved = checkpoint.load(run)
    policy = saved.policy()
    batch = saved.batch(n_agents=12)
    return policy, saved, replay.play(batch, evaluate.learned(policy), policy, seed=0, steps=6)


def test_attention_is_torchs_at_every_step(played):
    policy, saved, episode = played
    record = replay.recorded(episode, every=2)
    counts, others = unpack(record.counts), unpack(record.others)
    weights = unpack(record.weights) / replay.WEIGHT
    again, entry = saved.batch(n_agents=12), 0
    player = replay.Player("", again, evaluate.learned(policy), policy, 0)
    for step in range(0, 7, 2):
        observation = joint_observation(again, "cpu")
        layers = policy.network.weights(*(observation[k] for k in ("entities", "mask", "visible")))
        exact = torch.stack(layers)[:, 0].numpy()  # (layers, heads, L, L)
        assert np.abs(exact).max() > 0.1
        for agent in range(12):
            n = counts[step // 2, agent]
            seen = others[entry : entry + n]
            assert seen[0] == agent
            assert set(seen) == set(np.flatnonzero(observation["visible"][0, agent])) | {agent}, "all fit"
            found = np.moveaxis(weights[entry : entry + n], 0, -1)
            np.testing.assert_allclose(found, exact[:, :, agent, seen], rtol=0, atol=1e-5)
            entry += n
        player.forward()
        player.forward()
    assert entry == len(others)


def test_places_and_collisions_are_the_worlds(played):
    policy, saved, episode = played
    batch = saved.batch(n_agents=12)
    player = replay.Player("", batch, evaluate.learned(policy), policy, 0)
    motion, flags = unpack(episode.scenery.motion), unpack(episode.scenery.flags)
    unit = episode.scenery.width / replay.PLACE
    flashes = 0
    for step in range(7):
        circles = batch.scene().circles
        places = motion[step, : 2 * len(circles)].reshape(-1, 2) * unit
        np.testing.assert_allclose(places, [circle[:2] for circle in circles], atol=unit)
        assert flags[step].tolist() == [1 + 2 * circle.flash for circle in circles]
        flashes += sum(circle.flash for circle in circles)
        player.forward()
    assert flashes
    assert len(episode.rewards) == 6
    assert episode.collisions[-1] == pytest.approx(player.now.collisions, abs=1e-3) or player.now.step > 6


def test_what_does_not_fit_is_kept_at_fewer_steps(played):
    *_, episode = played
    (whole,) = replay.fitted([episode], 10**7)
    assert whole.every == 1
    kept = []
    for room in (2.1, 1.6, 1.3, 1.1):
        both = replay.fitted([episode, episode], int(room * replay.size(whole)))
        assert sum(map(replay.size, both)) <= room * replay.size(whole)
        kept.append(both[0].every)
    assert kept[0] == 1
    assert kept[1] > 1
    assert [every or 99 for every in kept] == sorted(every or 99 for every in kept)
    (none,) = replay.fitted([episode], 10)
    assert none.every == 0
    assert none.weights is None
    assert none.layers == 2, "and the page can tell why"


def test_where_scenes_alone_are_too_much_the_largest_go(tmp_path, monkeypatch):
    lines = benchmarks.read(benchmarks.made(tmp_path))
    whole = recordings.recordings(tmp_path, *lines)
    room = sum(replay.size(one.record) for one in whole if one.record and one.n_agents == 8) // 3
    monkeypatch.setattr(recordings, "ROOM", room)
    small = recordings.recordings(tmp_path, *lines)
    assert sum(replay.size(one.record) for one in small if one.record) <= room
    assert {one.n_agents for one in small if one.record} == {8}
    assert {one.reason for one in small if one.n_agents == 16} >= {"16 agents would make the page too large"}


def test_agents_that_leave_are_gone_from_the_record():
    batch = interact_env.make_batch("n_body_v0", 1, n_agents=24, escape_radius=1.0)
    episode = replay.play(batch, evaluate.scripted("random"), None, seed=0)
    flags = unpack(episode.scenery.flags)
    assert flags[0].all()
    assert not flags[-1].all(), "some have left"
    assert episode.attention == []


def test_embedded_json_ends_no_element_and_holds_no_nan():
    text = page.embedded({"name": benchmarks.HARMFUL, "score": [float("nan"), 1.0, float("-inf")]})
    assert not re.search("[<>&]", text)
    assert json.loads(text) == {"name": benchmarks.HARMFUL, "score": [None, 1.0, None]}


def test_columns_number_their_texts():
    table = columns([{"a": "x", "b": 1 / 3}, {"a": "y", "b": 2}, {"a": "x", "b": 3.0}])
    assert table == {"a": {"texts": ["x", "y"], "numbers": [0, 1, 0]}, "b": [0.33333, 2, 3.0]}
    assert columns([]) == {}


def test_strength_in_known_cases():
    runs = [[0.0, 1.0, 2.0, 3.0, 100.0]]
    assert statistics.iqm(runs).mean == 2.0, "a quarter of five is one run on either side"
    assert statistics.iqm([[1.0]]) == (1.0, 1.0, 1.0)
    assert statistics.above([[0.1, 0.5], [0.9, 0.9]], 0.3).mean == 0.75
    assert statistics.improvement([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]).mean == 0.5
    assert statistics.improvement([[2.0, 3.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]).mean == 0.5
    certain = statistics.improvement([[2.0, 3.0]], [[0.0, 1.0]])
    assert certain == (1.0, 1.0, 1.0)
    spread = statistics.iqm([np.random.default_rng(0).normal(size=400)])
    assert spread.low < 0 < spread.high
    # The interquartile mean's standard error for normal runs is about 1.1 / sqrt(n).
    assert spread.high - spread.low == pytest.approx(2 * 1.96 * 1.1 / 20, rel=0.15)


def test_scores_are_0_for_random_and_1_for_the_oracle():
    lines = [
        Evaluated("w", policy, train, "constant density", 0, n, 1, {"return": reward}, 0.0)
        for policy, train, n, reward in (
            ("random", "", 8, -1.0), ("oracle", "8", 8, 1.0), ("sa", "8", 8, 0.5), ("sa", "8", 16, 0.5),
        )
    ]  # fmt: skip
    assert scores(lines)[:3] == [0.0, 1.0, 0.75]
    assert np.isnan(scores(lines)[3]), "there is no oracle"
    table = cells(lines)
    assert {(c.policy, c.test_count) for c in table if c.measure == "score"} == {
        ("random", 8), ("oracle", 8), ("sa", 8),
    }  # fmt: skip


def test_no_two_of_many_policies_look_alike():
    looks = theme.series([f"policy {k}" for k in range(20)], ["random"], ["oracle"])
    assert len({(look.light, str(look.dash), look.shape) for look in looks}) == len(looks)


def cell(policy, measure, mean, test_count=64, train_count="8"):
    return Cell(
        "w", "constant density", policy, train_count, test_count, measure, mean, mean - 0.1, mean + 0.1, 5
    )


def test_the_goal_needs_return_and_few_collisions():
    table = [
        cell("a", "score", 0.97), cell("a", "collisions", 0.2), cell("b", "score", 0.99),
        cell("b", "collisions", 0.1), cell("c", "score", 0.3),
        cell("oracle", "collisions", 0.1, train_count=""),
        cell("b", "score", 1.0, train_count="2-16"), cell("b", "collisions", 0.2, train_count="2-16"),
        cell("b", "score", 1.0, train_count="64"), cell("a", "score", 1.5, test_count=8),
    ]  # fmt: skip
    found = story.reaches(table, ["a", "b", "c"], "constant density")
    assert [(r.policy, r.test_count, r.score, r.collisions, r.met) for r in found] == [
        ("b", 64, 0.99, 1.0, True),
        ("a", 64, 0.97, 2.0, False),
        ("c", 64, 0.3, None, False),
    ]
    ((world, text),) = story.findings(found)
    assert world == "w"
    assert "Among 64 agents b, trained with 8, earns 99% of the oracle's return" in text
    assert "reached by b." in text
    assert "c: 30%" in text


def test_without_an_oracle_the_reward_tells():
    table = [cell("a", "return", 50.0), cell("b", "return", 70.25)]
    assert story.reaches(table, ["a", "b"], "constant density") == []
    ((_, text),) = story.best_by_return(table, ["a", "b"], "constant density")
    assert text.startswith("b, trained with 8, earns most among 64 agents: 70.25")


def test_a_report_needs_results(tmp_path):
    benchmarks.write(tmp_path, [benchmarks.trained("w", "sa", "8", 0)])
    with pytest.raises(ValueError, match=r"results\.jsonl: nothing has been evaluated yet"):
        report.write(tmp_path)


def test_runs_tell_how_they_were_made(tmp_path):
    run = Trained("w", "sa", "2-16", "constant density", 3, 1, 1, 1.0, [], "")
    failed = run._replace(seed=4, error="why")
    folder = tmp_path / "runs" / Run(*run[:5]).name
    folder.mkdir(parents=True)
    given = TrainConfig(out=tmp_path, n_agents="2-16", seed=3, env_params=("shape=square", "radius=1"))
    told = {"config": dataclasses.asdict(given), "versions": {"torch": "2"}, "threads": 1, "revision": None}
    (folder / "config.json").write_text(json.dumps(told, default=str))
    (tmp_path / "grid.toml").write_text("title = 'x'")
    assert about.surroundings(tmp_path, [run, failed, failed], [Run(*failed[:5])]) == {
        "grid": "title = 'x'",
        "commands": [
            f"interact-env benchmark grid.toml --out {tmp_path.name}",
            "interact-env train --env colliding_agents_v0 --policy hfa_linear --n-agents 2-16 "
            "--env-params shape=square radius=1 --seed 3",
        ],
        "facts": [("threads", "1", 1), ("torch", "2", 1)],
        "failed": ["sa in w, trained with 2-16, seed 4: why"],
    }
    assert about.surroundings(tmp_path, [failed, failed._replace(error="")], [])["failed"] == []


def test_runs_that_are_gone_cost_the_replay_alone(tmp_path):
    path = report.write(benchmarks.write(tmp_path, benchmarks.lines(["w"], ["sa", "none"])))
    assert path == tmp_path / "report.html"
    content = json.loads(re.search(r'id="content">(.*?)</script>', path.read_text())[1])
    reasons = {one["policy"]: one["reason"] for one in content["replays"]}
    assert reasons["sa"] == "runs/w/sa/8/constant+density/0 holds no checkpoint"
    assert all(one["record"] is None for one in content["replays"])
    assert content["headline"] == "Trained with 8 agents, tested with 4 to 16"
    figures = {file.name for file in (tmp_path / "figures").iterdir()}
    assert {"transfer-w.svg", "heat-w-sa.png", "learning-w.png"} <= figures
    assert (tmp_path / "figures" / "transfer-w.png").read_bytes().startswith(b"\x89PNG")
    assert "oracle" in (tmp_path / "figures" / "transfer-w.svg").read_text()
