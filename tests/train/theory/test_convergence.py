"""T2: the terms of T, and that the verdict can fail."""

import pytest
import torch

from train.theory import convergence
from train.theory.convergence import terms
from train.theory.experiment import Effort
from train.theory.ring import Ring
from train.theory.theorem import Layer


def judged(**instead):
    outcome = convergence.run(Effort(True, 2, 1, instead), lambda *_: None)
    return {finding.quantity: finding.passed for finding in outcome.findings}


def test_terms_are_products_of_score_and_value():
    embedding = Ring(12, 1).embedding("sinusoidal")
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(12, dtype=torch.float64, generator=generator)
    c = torch.randn(12, 12, dtype=torch.float64, generator=generator)
    layer = Layer("sa_linear", embedding, w)
    torch.testing.assert_close(embedding @ layer.read.weight[0], w)
    with torch.no_grad():
        layer.attention.query.weight.copy_(c.T)
    torch.testing.assert_close(terms(layer, embedding), (embedding @ c @ embedding.T) * w)


@pytest.mark.slow
def test_what_is_whole_passes_and_what_is_broken_fails():
    assert all(judged().values())
    for broken in ("none", "sa"):  # no interaction; a mean where a sum belongs
        found = judged(sa_linear=broken)
        assert not any(passed for name, passed in found.items() if name.startswith("squared"))
