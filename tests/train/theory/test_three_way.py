"""T5: that the verdict can fail."""

import pytest

from train.theory import three_way
from train.theory.three_way import Job, learned


def judged(module, steps):
    found = learned(Job("ha_linear", module, 4, steps, 0))
    runs = {(name, k): [found] for name in three_way.MODELS for k in (4, 8)}
    return [f.passed for f in three_way._findings(runs) if f.high < 1]


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["none", "ha", "sa_linear"])
def test_what_is_broken_fails(broken, monkeypatch):
    """No interaction; a mean where a sum belongs; pairs where triples belong."""
    monkeypatch.setattr(three_way, "N_TEST", (200,))  # a softmax over all pairs of 1,000 takes minutes
    assert judged(broken, 100) == [False, False]


@pytest.mark.slow
def test_what_is_whole_passes():
    assert judged("ha_linear", 1000) == [True, True]
