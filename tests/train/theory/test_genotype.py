"""T6: expression by its definition, edges read off a known model, and that the verdict can fail."""

import pytest
import torch
from torch import nn

from train.theory import genotype
from train.theory.genotype import PAIRS, TRIPLES, Job, agreement, learned, of_three, of_two

A = 5


def planted(task):
    return genotype.PLANTED[task](A, torch.Generator().manual_seed(0))


class Known(nn.Module):
    """A model that is right."""

    def __init__(self, expression):
        super().__init__()
        self.expression = expression

    def forward(self, x):
        return self.expression(x.argmax(-1))


@pytest.mark.parametrize("task", [PAIRS, TRIPLES])
def test_expression_is_the_sum_of_what_the_others_do(task):
    g, expression = planted(task)
    alleles = torch.randint(A, (1, 7), generator=torch.Generator().manual_seed(1))
    a = alleles[0].tolist()
    for i, found in enumerate(expression(alleles)[0].tolist()):
        others = [j for j in range(7) if j != i]
        if task == PAIRS:
            right = sum(float(g[a[i], a[j]]) for j in others)
        else:
            right = sum(float(g[a[i], a[j], a[k]]) for j in others for k in others if j < k)
        assert found == right


def test_edges_are_read_off_a_model_that_is_right():
    for task, recovered in ((PAIRS, of_two), (TRIPLES, of_three)):
        g, expression = planted(task)
        torch.testing.assert_close(recovered(Known(expression), torch.eye(A)), g)


def test_agreement_counts_edges_of_the_right_sign():
    g = torch.tensor([[0.0, 1.0], [-1.0, 1.0]])
    assert agreement(g, g) == (1, 1)
    assert agreement(g, 0.4 * g) == (0, 0)
    assert agreement(g, torch.tensor([[0.6, 0.9], [0.8, 0.0]])) == (1 / 3, 1 / 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "module", "broken"),
    [(PAIRS, "sa_linear", False), (PAIRS, "none", True), (PAIRS, "sa", True), (TRIPLES, "sa_linear", True)],
)
def test_what_is_broken_fails(task, module, broken):
    """No interaction; a mean where a sum belongs; pairs where triples belong."""
    found = list(genotype._findings({task: [learned(Job(task, module, A, 600, 0))]}))
    assert all(f.passed != broken for f in found if f.quantity.startswith("error with 1000"))
    assert all(f.passed for f in found) != broken
