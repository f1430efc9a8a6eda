"""Every policy still learns: better than random after a short training, whatever the seed."""

import numpy as np
import pytest
import scipy.stats
from killing import start

import policies
from train import checkpoint, evaluate

SHORT = {
    "env_params": ("shape=square",), "n_worlds": 32, "n_steps": 16, "batch_size": 64, "n_epochs": 4,
    "learning_rate": 3e-3, "d_model": 32, "n_heads": 2, "total_steps": 12 * 512, "save_every": "999min",
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("policy", policies.names())
def test_every_policy_beats_random(tmp_path, policy):
    better = []
    for seed in range(5):
        run = tmp_path / str(seed)
        assert start(run, {**SHORT, "policy": policy, "seed": seed}) == 0
        saved = checkpoint.load(run)
        rewards = {
            name: evaluate.episodes(act, saved.env, saved.parameters, 16, 1000)["reward"].mean()
            for name, act in (
                ("learned", evaluate.learned(saved.policy())),
                ("random", evaluate.scripted("random")),
            )
        }
        better.append(rewards["learned"] - rewards["random"])
    low, _ = scipy.stats.t.interval(0.95, 4, np.mean(better), scipy.stats.sem(better))
    assert low > 0, better
