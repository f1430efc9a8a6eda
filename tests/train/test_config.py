import pytest

from train.config import TrainConfig, assignments, count, counts


def test_texts_become_values():
    assert count("8") == 8
    assert count("2-16") == (2, 16)
    assert count("4:1,8:0.5") == [(4, 1.0), (8, 0.5)]
    assert counts("2, 4,128") == [2, 4, 128]
    assert assignments(["shape=square", "radius=2", "size=None", "n_agents=(2, 8)"]) == {
        "shape": "square", "radius": 2, "size": None, "n_agents": (2, 8)
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "x", "2-", "-2", "2-x", "1.5", "4:", "4:1,8", ":1", "4:1:2"])
def test_a_bad_count_is_named(text):
    with pytest.raises(ValueError, match="n_agents must be a number, a range LOW-HIGH or COUNT:WEIGHT"):
        count(text)


@pytest.mark.parametrize("text", ["", "2,,4", "0", "a"])
def test_bad_counts_are_named(text):
    with pytest.raises(ValueError, match="n_agents must be numbers >= 1 with commas between"):
        counts(text)


def test_what_has_its_own_option_is_refused(tmp_path):
    with pytest.raises(ValueError, match="n_agents must name each number once"):
        counts("2,2")
    with pytest.raises(ValueError, match="env_params must not set n_agents"):
        TrainConfig(out=tmp_path, env_params=("n_agents=3",)).env_parameters()


@pytest.mark.parametrize("text", ["square", "=square", "a b=1"])
def test_a_bad_assignment_is_named(text):
    with pytest.raises(ValueError, match="env_params must look like NAME=VALUE"):
        assignments([text])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total_steps": 0}, r"--total-steps must be in \[1, 1,000,000,000,000,000\], not 0"),
        ({"batch_size": 1}, "--batch-size, and --n-worlds times --n-steps, must be >= 2"),
        ({"n_worlds": 1, "n_steps": 1}, "--batch-size, and --n-worlds times --n-steps, must be >= 2"),
        ({"seed": -1}, r"--seed must be in \[0, 2\*\*32\)"),
        ({"threads": -1}, r"--threads must be in \[0, 4096\]"),
        ({"learning_rate": float("nan")}, "--learning-rate must be > 0"),
        ({"gamma": 1.5}, r"--gamma must be in \[0, 1\]"),
        ({"ent_coef": -1.0}, "--ent-coef must be >= 0"),
        ({"restart_below": 1.5}, "--restart-below must be in"),
        ({"device": "tpu"}, "--device must be auto, cpu or cuda"),
        ({"env": "nowhere_v0"}, "no world 'nowhere_v0'"),
        ({"env_params": ("size=20",)}, "size must be a multiple of period=16"),
        ({"policy": "mlp9"}, "policy must be one of sa, sa_linear"),
        ({"d_model": 0}, r"--d-model must be in \[1, 16,384\], not 0"),
        ({"n_worlds": 2**50}, r"--n-worlds must be in \[1, 16,777,216\], not 1125899906842624"),
        ({"learning_rate": 1e38}, "--learning-rate must be > 0 and <= 1000, not 1e"),
        ({"learning_rate": float("inf")}, "--learning-rate must be > 0 and <= 1000, not inf"),
    ],
)
def test_everything_is_checked_before_anything_is_written(tmp_path, change, message):
    from train.training import train

    with pytest.raises(ValueError, match=message):
        train(TrainConfig(**{"out": tmp_path / "run", **change}))
    assert not (tmp_path / "run").exists()
