"""T7: that the verdicts can fail, and that a softmax cannot count at any depth."""

import pytest
import torch

from train.theory import softmax
from train.theory.softmax import Blocks, Job, learned

SIZES = ((10, 0), (64, 0), (64, 1))


def judged(linear, other, steps):
    runs = {
        (name, width, depth): [learned(Job(name, module, width, depth, steps, 0))]
        for name, module in (("sa_linear", linear), ("sa", other))
        for width, depth in SIZES
    }
    return [finding.passed for finding in softmax._findings(runs) if finding.target]


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["none", "mean_field"])
def test_what_is_broken_fails(broken):
    """No interaction; a mean where a sum belongs. Neither counts, and no softmax is worse."""
    passed = judged(broken, "sa", 60)
    assert passed == [False, False, False, False, True, False, True]


@pytest.mark.slow
def test_what_can_count_is_no_softmax():
    assert judged("sa_linear", "sa_linear", 500)[:6] == [True, True, True, True, False, False]


@pytest.mark.parametrize("depth", [1, 3])
def test_a_softmax_says_the_same_of_a_set_that_is_repeated(depth):
    """To the part that leaving out the entity itself makes: one in so many."""
    torch.manual_seed(0)
    model = Blocks("sa", 20, 32, depth)
    x = torch.nn.functional.one_hot(torch.randint(20, (4, 400)), 20).float()
    torch.testing.assert_close(model(x.repeat(1, 4, 1))[:, :400], model(x), atol=1e-2, rtol=0)
    linear = Blocks("sa_linear", 20, 32, depth)
    assert (linear(x.repeat(1, 4, 1))[:, :400] - linear(x)).abs().max() > 0.1
