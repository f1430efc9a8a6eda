"""T9: that the estimator finds what is there, that slopes are slopes, and that the verdict can fail."""

import numpy as np
import pytest

from train.theory import pairs, rate
from train.theory.experiment import Outcome
from train.theory.pairs import Estimate, estimate, law
from train.theory.rate import Job, errors, slopes

SIZES = (500, 2000, 8000)


def judged(runs):
    outcome = Outcome(list(rate._findings(runs, SIZES, judged=False)), {}, {})
    return [finding.passed for finding in outcome.findings if finding.target]


@pytest.mark.parametrize(("d", "rank"), [(1, 1), (5, 1), (4, 2)])
def test_without_noise_a_and_phi_are_found(d, rank):
    """A smooth phi to what the splines can follow; A but for its sign, which phi may share."""
    random = np.random.default_rng(d)
    truth = law(d, rank, 7, random)
    x, y = truth.draw(800, 4, 0.0, random)
    found = estimate(x, y, rank, 40, 7, random)
    one, other = random.standard_normal((2, 1000, d))
    off = found.interaction(one, other) - truth.interaction(one, other)
    assert np.mean(off**2) < 1e-14
    a, planted = (law.left @ law.right.T for law in (found, truth))
    assert min(np.abs(a - planted).max(), np.abs(a + planted).max()) < 1e-6


def test_waves_are_summed_as_they_are_written():
    truth = law(1, 1, 2, np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((50, 1))
    u = (x * truth.left.T * (x * truth.right.T)).sum(-1)
    k = np.arange(1, len(truth.waves) + 1)
    written = (truth.waves * np.cos(np.pi * k * (np.tanh(u)[:, None] + 1) / 2)).sum(-1)
    np.testing.assert_allclose(truth.interaction(x, x), written, atol=1e-10)


def test_slopes_are_exponents():
    assert slopes(SIZES, [[5.0 * n**-0.8 for n in SIZES]]) == pytest.approx([-0.8])


def test_the_rate_is_that_of_the_smoothness_and_others_fail():
    right = {(b, 1, 2, 1): [[n ** rate._rate(b) for n in SIZES]] for b in rate.SPLINES}
    assert judged(right) == [True, True]
    assert judged({key: [[n**-0.3 for n in SIZES]] for key in right}) == [False, False]


@pytest.mark.slow
def test_the_estimator_passes():
    assert judged({(7, 2, 2, 1): [errors(Job(7, 2, 2, 1, SIZES, seed)) for seed in range(3)]}) == [True]


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["no interaction", "a sum where a mean is"])
def test_what_is_broken_fails(broken, monkeypatch):
    def constant(x, y, rank, n_splines, degree, random):
        knots = pairs._splines(n_splines, degree)
        flat = pairs.BSpline(knots, np.full(n_splines, y.mean()), degree)
        return Estimate(np.zeros((x.shape[2], rank)), np.zeros((x.shape[2], rank)), flat)

    def of_a_sum(x, y, *others):
        return estimate(x, (x.shape[1] - 1) * y, *others)

    monkeypatch.setattr(rate, "estimate", constant if broken == "no interaction" else of_a_sum)
    assert judged({(7, 2, 4, 1): [errors(Job(7, 2, 4, 1, SIZES, 0))]}) == [False]
