"""Grids: what they say, and that a bad one is refused before anything runs, by its line."""

import pytest
from cli import is_one_line

from train.benchmark import grid as grids
from train.cli import main

GOOD = """\
title = "Good"
policies = [
  "sa_linear",
  "near",  # an architecture of ours
]
train_counts = [8, "2-16", "4:1,8:3"]
test_counts = [2, 8, 32]
oracle = "sa_linear"
seeds = [0, 1]
agent_steps = 400_000

[arena]
agents = 8
test_counts = [4, 8, 12]

[training]
learning_rate = 1e-3

[worlds.colliding]
env = "colliding_agents_v0"
parameters = { shape = "square" }
scripted = ["yield"]

[worlds.gravity]
env = "n_body_v0"
parameters = { interaction = "gravity" }
test_counts = [2]

[architectures.near]
policy = "sa"
training = { positions = "plain" }
parameters = { vision_radius = 3 }
"""


def read(tmp_path, text=GOOD):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    return grids.read(path)


def test_a_grid_says_where_policies_are_tested_and_how_they_are_trained(tmp_path):
    grid = read(tmp_path)
    assert list(grid.tests("colliding")) == [
        *(("constant density", n) for n in (2, 8, 32)),
        *(("constant arena", n) for n in (4, 8, 12)),
    ]
    assert grid.places("colliding")["constant arena"] == {"shape": "square", "density": None, "size": 16}
    assert grid.episodes(32) == 64
    assert grid.episodes(10**6) == 2
    assert list(grid.tests("gravity")) == [("constant density", 2), *list(grid.tests("colliding"))[3:]]
    config = grid.config("colliding", "near", "2-16", "constant density", 1)
    assert (config.policy, config.positions, config.n_agents, config.seed) == ("sa", "plain", "2-16", 1)
    assert config.env_parameters()["vision_radius"] == 3
    config.validate()


@pytest.mark.parametrize("count", ["1", "8", "2-16", "4:1,8:3", "1024"])
def test_a_training_sees_as_many_agents_whatever_the_count(tmp_path, count):
    grid = read(tmp_path)
    config = grid.config("gravity", "sa_linear", count, "constant density", 0)
    mean = grids.mean_count(count)
    assert config.n_worlds * mean == pytest.approx(grid.rollout_agents, rel=0.01)
    assert config.batch_size * mean == pytest.approx(grid.batch_agents, rel=0.01)
    assert config.total_steps * mean == pytest.approx(grid.agent_steps, rel=0.01)


def test_the_mean_of_counts():
    assert [grids.mean_count(text) for text in ("8", "2-16", "4:1,8:3")] == [8, 9, 7]


@pytest.mark.parametrize(
    ("good", "bad", "line", "words"),
    [
        ('"sa_linear",', '"nonesuch",', 3, "policies: policy must be one of sa, "),
        ('"near",', '"sa_linear",', 2, "policies: names 'sa_linear' twice"),
        ("[2, 8, 32]", "[2, -8, 32]", 7, "test_counts: must be greater than or equal to 1, not -8"),
        ("[2, 8, 32]", "[]", 7, "test_counts: List should have at least 1 item"),
        ("[2, 8, 32]", "[2, 8.5]", 7, "test_counts: must be a valid integer, not 8.5"),
        ("test_counts = [2]", "test_counts = [0]", 27, "worlds.gravity.test_counts: must be greater than or"),
        ("[2, 8, 32]", "[2, 9999999]", 7, "test_counts: must be less than or equal to 1048576"),
        ("[4, 8, 12]", "[\n  4,\n  128,\n]", 16, "arena.test_counts: n_agents=128 do not fit"),
        ('[8, "2-16"', '[8, "16-2"', 6, "train_counts: n_agents must be a (low, high) pair"),
        ("seeds = [0, 1]", "seeds = [0, 0]", 9, "seeds: names 0 twice"),
        ("400_000", '"many"', 10, "agent_steps: must be a valid integer, not 'many'"),
        ("learning_rate = 1e-3", "learning_rate = -1.0", 16, "training: --learning-rate must be > 0"),
        ("learning_rate = 1e-3", "lr = 1.0", 16, "training: no option 'lr'; there are: n_steps, "),
        ("learning_rate = 1e-3", 'n_epochs = "3"', 16, "training: n_epochs must be of type int, not '3'"),
        ("title", "titel", 1, "titel: is no option of a grid"),
        ('title = "Good"', "", 1, "title: is missing"),
        ('oracle = "sa_linear"', 'oracle = "sage"', 8, "oracle: policy must be one of"),
        ("n_body_v0", "n_body_v9", 25, "worlds.gravity.env: no world 'n_body_v9'"),
        ('"gravity" }', '"gravy" }', 26, "worlds.gravity.parameters: interaction must be one of"),
        ('"gravity" }', '"gravity", max_cycles = 0 }', 26, "worlds.gravity.parameters: max_cycles must be"),
        ('"gravity" }', '"gravity", n_agents = 3 }', 26, "worlds.gravity.parameters: must not set n_agents"),
        (
            '["yield"]',
            '["yeeld"]',
            22,
            "worlds.colliding.scripted: no scripted policy 'yeeld'; there are: random",
        ),
        ('policy = "sa"\n', 'policy = "saa"\n', 30, "architectures.near.policy: policy must be one of"),
        (
            "vision_radius = 3",
            "vision_radius = -3",
            32,
            "architectures.near.parameters: vision_radius must be",
        ),
        ("seeds = [0, 1]", "seeds = [0, 1", 10, "Unclosed array"),
    ],
)
def test_a_bad_grid_is_refused_by_its_line(tmp_path, capsys, good, bad, line, words):
    path = tmp_path / "grid.toml"
    assert good in GOOD
    path.write_text(GOOD.replace(good, bad))
    status = main(["benchmark", str(path), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    is_one_line(status, error, words)
    assert f"line {line}" in error
    assert not (tmp_path / "out").exists()


def test_what_is_no_grid_is_refused(tmp_path, capsys):
    for name in (tmp_path, tmp_path / "none.toml", "nonesuch"):
        assert main(["benchmark", str(name), "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert str(name) in error


@pytest.mark.parametrize("name", ["quick", "standard", "full"])
def test_the_grids_that_come_with_us_can_be_run(name):
    from train.commands.benchmark import _path

    assert grids.read(_path(name)).title
