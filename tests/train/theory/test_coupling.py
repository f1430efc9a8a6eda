"""T4: the product of features, HyperFeatureAttention as the theory has it, and that the verdict can fail."""

import pytest
import torch

from train.theory import coupling
from train.theory.coupling import MODELS, RING, Coupled, Job, interaction, learned, one_hots


def test_the_interaction_is_a_product_of_its_features():
    f, g = interaction(3), RING.interaction()
    assert f.shape == (60, 60)
    by_feature = f.reshape(20, 3, 20, 3)
    level = g.nonzero()
    signs = by_feature[0, :, 0, :]
    assert signs.abs().eq(1).all()
    for p, q in level.tolist():
        assert torch.equal(by_feature[p, :, q, :], signs)
    assert by_feature[0, :, 9, :].eq(0).all()


def test_entities_show_place_and_label():
    assert one_hots(3)[3 * 7 + 2].nonzero().flatten().tolist() == [7, 20 + 2]


def test_hyper_feature_attention_can_be_the_product():
    model = Coupled(20, 3, "linear")
    weights = dict(model.attention.named_parameters())
    with torch.no_grad():
        weights["offset"].zero_()
        weights["values.0.weight"].zero_()
        weights["values.1.weight"].zero_()
        weights["values.0.bias"].fill_(4.0)  # the sum's constant is 1/4
        weights["values.1.bias"].fill_(1.0)
        weights["queries.0.weight"].copy_(RING.interaction().T * 20**0.5)
        signs = interaction(3).reshape(20, 3, 20, 3)[0, :, 0, :] * RING.interaction()[0, 0]
        weights["queries.1.weight"].copy_(signs.T * 3**0.5)
    kinds = torch.tensor([[0, 1, 5, 59, 30]])
    f = interaction(3)[kinds[0][:, None], kinds[0]]
    torch.testing.assert_close(model(one_hots(3)[kinds])[0], (f - f.diag().diag()).sum(1))


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["none", "hfa"])
def test_what_is_broken_fails(broken):
    """No interaction; a mean where a sum belongs."""
    errors = learned(Job(MODELS[0], broken, 4, 200, 0))["errors"]
    runs = {(name, k): [{"errors": errors, "parameters": 1}] for name in MODELS for k in (2, 4, 8)}
    judged = [f.passed for f in coupling._findings(runs) if f.quantity.startswith("error") and f.high < 1]
    assert judged
    assert not any(judged)


@pytest.mark.slow
def test_what_is_whole_passes():
    errors = learned(Job(MODELS[0], "hfa_linear", 2, 1200, 0))["errors"]
    assert max(errors.values()) < 1e-6
