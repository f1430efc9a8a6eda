"""T10: that the verdicts can fail, and that noise, compression and depth are what they are called."""

import pytest
import torch

from train.theory import limits
from train.theory.limits import EMBEDDINGS, RING, Embedded, Job, learned

BEST = EMBEDDINGS[0]


def judged(module):
    runs = {
        "noise": {
            (noise, sets): [learned(Job("noise", (noise, sets), module, 150, seed)) for seed in range(3)]
            for noise, sets in ((0.1, 800), (1.0, 800), (1.0, 200))
        },
        "compression": {(5, BEST): [learned(Job("compression", (5, BEST), module, 150, 0))]},
        "depth": {},
    }
    return [finding.passed for finding in limits._findings(runs) if finding.target]


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["none", "mean_field"])
def test_what_is_broken_fails(broken):
    """No interaction, and a mean where a sum belongs: neither data nor the truth bring them nearer."""
    assert not any(judged(broken))


def test_no_layer_of_few_dimensions_is_nearer_than_the_next_singular_value():
    f = RING.interaction()
    waves = torch.linalg.svd(f).U[:, :9]
    model = Embedded("sa_linear", waves)
    with torch.no_grad():
        model.layer.attention.query.weight.copy_((waves.T @ f @ waves).T)
        off = limits.of_two(model, torch.eye(RING.places, dtype=torch.float64)) - f
    nearest = torch.linalg.svdvals(f)[9]
    torch.testing.assert_close(torch.linalg.matrix_norm(off, ord=2), nearest)


@pytest.mark.slow
def test_noise_does_not_move_what_a_layer_learns_without_it():
    found = learned(Job("noise", (0.0, 200), "sa_linear", 300, 0))
    assert found["20"] < 1e-5
    assert found["1000"] < 1e-5
