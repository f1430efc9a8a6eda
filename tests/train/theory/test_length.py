"""T1: the ring's values, the theorem's layer, and that the verdict can fail."""

import json

import pytest
import torch

from train.cli import main
from train.theory import length
from train.theory.experiment import Effort
from train.theory.ring import EMBEDDINGS, Ring
from train.theory.theorem import Layer

RING = Ring(24, 2)


def run(**instead):
    return length.run(Effort(True, 1, 1, instead), lambda *_: None)


def test_values_count_those_that_are_level():
    places = torch.tensor([[0, 4, 23, 12, 0]])
    assert RING.values(places).tolist() == [[-3, -2, -2, 0, -3]]


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_orthonormal(name):
    e = RING.embedding(name)
    torch.testing.assert_close(e @ e.T, torch.eye(24, dtype=torch.float64))


def test_returns_in_the_world_are_the_values():
    places, returns = RING.measured(6, 8, seed=0)
    assert places.unique().numel() > 6
    assert torch.equal(returns, RING.values(places))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_the_layer_is_the_theorems(name):
    e = RING.embedding(name)
    layer = Layer("sa_linear", e)
    assert (layer(e[None]) == 0).all()
    c = torch.randn(24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.attention.query.weight.copy_(c.T)
    torch.testing.assert_close(layer.c, c)
    x = e[torch.tensor([[3, 7, 7, 20]])]
    scores = x[0] @ c @ x[0].T
    expected = (scores - scores.diag().diag()).sum(1)  # of value 1 each
    torch.testing.assert_close(layer(x)[0], expected)


@pytest.mark.slow
def test_what_is_broken_fails(tmp_path):
    assert (
        main(["theory", "length", "--quick", "--seeds", "1", "--threads", "2", "--out", str(tmp_path)]) == 0
    )
    found = json.loads((tmp_path / "length" / "result.json").read_text())
    assert all(finding["passed"] for finding in found["findings"])
    assert {file.suffix for file in (tmp_path / "length").iterdir()} == {".json", ".md", ".png", ".svg"}
    for broken in ("none", "sa"):  # no interaction; a mean where a sum belongs
        assert not any(finding.passed for finding in run(sa_linear=broken).findings)
