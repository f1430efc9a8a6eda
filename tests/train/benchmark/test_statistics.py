"""Statistics against exact distributions, and against the formulas that rliable publishes."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from train.benchmark import statistics
from train.benchmark.report.cells import gaps, scores
from train.benchmark.results import ORACLE, Evaluated

numbers = st.floats(-10, 10, width=32)
runs = hnp.arrays(float, st.integers(2, 8), elements=numbers)


def test_the_interquartile_mean_of_known_distributions():
    """Of k = 0 .. 4n - 1, that of the middle half; of an exponential, by its quantile function."""
    for n in (1, 3, 10):
        values = np.random.default_rng(n).permutation(4 * n).astype(float)
        assert statistics.iqm([values]).mean == np.arange(n, 3 * n).mean()
    n = 4_000
    at = (np.arange(n) + 0.5) / n
    exact = 2 * scipy.integrate.quad(lambda u: -np.log1p(-u), 0.25, 0.75)[0]
    assert statistics.iqm([scipy.stats.expon.ppf(at)]).mean == pytest.approx(exact, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.lists(runs, min_size=1, max_size=3))
def test_rliables_formulas(strata):
    """Agarwal et al. 2021: the trimmed mean of all runs, and the share of runs above a score."""
    flat = np.sort(np.concatenate(strata))
    cut = int(len(flat) * 0.25)
    found = statistics.iqm(strata)
    assert found.mean == pytest.approx(flat[cut : len(flat) - cut].mean(), abs=1e-9)
    assert found.low - 1e-9 <= found.high
    share = np.mean([np.mean(runs > 0.5) for runs in strata])
    assert statistics.above(strata, 0.5).mean == pytest.approx(share)


@settings(max_examples=25, deadline=None)
@given(runs, runs, st.floats(0.5, 2), st.floats(-5, 5))
def test_no_order_and_no_scale_matters(one, other, scale, shift):
    found = np.array(statistics.iqm([one, other]))
    turned = np.array(statistics.iqm([scale * one + shift, scale * other + shift]))
    np.testing.assert_allclose(turned, scale * found + shift, atol=1e-8)
    assert statistics.iqm([one[::-1], other]).mean == pytest.approx(found[0], abs=1e-9)


def test_a_single_run_is_what_it_is():
    """By hand: of the worlds {0} and {1, 2} half of the runs are above 1/2 whatever is drawn."""
    assert statistics.above([[0], [1, 2]], 0.5) == (0.5, 0.5, 0.5)
    found = statistics.iqm([[0], [1, 2]])
    assert found == (1.0, pytest.approx(2 / 3), pytest.approx(4 / 3))


@pytest.mark.slow
def test_how_often_an_interval_of_five_runs_holds_the_truth():
    """As the docstring says: less often than 95% in one world, nearly so in eight together."""
    random, held = np.random.default_rng(0), []
    for worlds in (1, 8):
        intervals = [statistics.iqm(random.normal(size=(worlds, 5))) for _ in range(150)]
        held.append(np.mean([i.low < 0 < i.high for i in intervals]))
    deviation = np.sqrt(0.9 * 0.1 / 150)
    assert 0.85 - 4 * deviation < held[0] < 0.95
    assert 0.93 - 4 * deviation < held[1]


@settings(max_examples=25, deadline=None)
@given(runs, runs)
def test_the_probability_of_improvement_is_that_of_all_pairs(ours, theirs):
    """Mann and Whitney's, as rliable: ties count a half."""
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(ours, theirs)]
    assert statistics.improvement([ours], [theirs]).mean == pytest.approx(np.mean(pairs))
    back = statistics.improvement([theirs], [ours])
    assert back.mean == pytest.approx(1 - np.mean(pairs))


def test_the_probability_of_improvement_of_normal_runs():
    """P(X > Y) = Phi(d / sqrt 2) for unit variances d apart."""
    random = np.random.default_rng(0)
    found = statistics.improvement([random.normal(1, 1, 400)], [random.normal(0, 1, 400)])
    exact = scipy.stats.norm.cdf(1 / np.sqrt(2))
    assert found.low < exact < found.high
    assert found.high - found.low < 0.1


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    """Of 200 samples of 30 normal runs, the interval of the interquartile mean holds 0."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        found = statistics.iqm([random.normal(size=15), random.normal(size=15)])
        held += found.low < 0 < found.high
    # A percentile interval of 30 is a little narrow; 4 deviations of a binomial below .93.
    assert held / 200 > 0.93 - 4 * np.sqrt(0.93 * 0.07 / 200)


def test_the_bootstrap_is_stratified():
    """Runs are drawn anew within a world: worlds that differ do not widen the interval."""
    apart = statistics.iqm([np.full(10, 0.0), np.full(10, 1.0)])
    assert (apart.low, apart.mean, apart.high) == (0.5, 0.5, 0.5)


def test_scores_and_gaps_by_hand():
    def line(policy, train, n, reward, arena="constant density", seed=0):
        return Evaluated("w", policy, train, arena, seed, n, 4, {"return": reward}, 1.0)

    lines = [
        line("random", "", 8, 0.0), line("random", "", 32, 0.2),
        line(ORACLE, "8", 8, 1.0), line(ORACLE, "32", 32, 1.2),
        line("sa", "2-8", 8, 0.9), line("sa", "2-8", 32, 0.7), line("sa", "2-8", 64, 0.7),
        line("none", "8", 8, 0.25, arena="constant arena"),
    ]  # fmt: skip
    found = scores(lines)
    assert found[:6] == pytest.approx([0, 0, 1, 1, 0.9, 0.5])
    assert np.isnan(found[6:]).all(), "without an oracle"
    lost = gaps(lines, found)
    assert lost[4:6] == pytest.approx([0, 0.4])
    assert np.isnan(lost[:4]).all()
    assert np.isnan(lost[7]), "not tested where it was trained"
