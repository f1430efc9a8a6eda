"""How many agents an episode has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import interact_env
from interact_env.engine.cpu import Counts, draw_count
from interact_env.engine.random import below
from interact_env.population import population


def draw(value, words):
    drawn = population(value)
    counts = Counts(np.array(drawn.counts), drawn.thresholds())
    return [draw_count(counts, np.uint64(word)) for word in words]


def test_a_number_a_range_and_weights():
    assert list(population(8).counts) == [8]
    assert population((2, 4)) == (range(2, 5), None)
    assert population((1, 2**20)).range == (1, 2**20), "nothing is listed"
    assert population([(16, 1), (4, 3)]) == ((4, 16), (3, 1))
    assert population([[4, 1]]).range == (4, 4)


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 300), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_a_range_is_drawn_evenly(low, span, words):
    expected = [low + below(np.uint64(word), span + 1) for word in words]
    assert draw((low, low + span), words) == expected


def test_counts_are_drawn_by_their_weights():
    edges = [0, 2**32 // 4 - 1, 2**32 // 4, 2**31 - 1, 2**31, 2**32 - 1]
    assert draw([(2, 1), (5, 1), (9, 2)], edges) == [2, 2, 5, 5, 9, 9]
    batch = interact_env.make_batch("colliding_agents_v0", 4000, seed=0, n_agents=[(2, 1), (5, 3)], size=16)
    batch.reset()
    assert set(batch.n_agents) == {2, 5}
    assert (batch.n_agents == 5).mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_array_equal(batch.alive.sum(axis=1), batch.n_agents)


@pytest.mark.parametrize("world", ["colliding_agents_v0", "n_body_v0"])
def test_the_density_is_kept_when_counts_are_drawn(world):
    batch = interact_env.make_batch(world, 64, seed=0, n_agents=[(8, 1), (32, 1), (128, 1)])
    batch.reset()
    state = batch.save()
    side = state["state.size" if world.startswith("coll") else "state.side"][:, 0]
    density = batch.n_agents / side.astype(float) ** 2
    np.testing.assert_allclose(density, 1 / 32 if world.startswith("coll") else 1 / 4, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"n_agents must be a whole number, a \(low, high\) pair or a list of"),
        ([(4, 1), 8], r"n_agents must be a list of \(count, weight\) pairs, not \[\(4, 1\), 8\]"),
        ([(4, 1, 2)], r"n_agents must be a list of \(count, weight\) pairs"),
        ([(4, 1), (4, 2)], "n_agents must name each count once"),
        ([(0, 1)], r"n_agents\[0\]\[0\] must be a whole number in \[1, 1048576\], not 0"),
        ([(4, 1), (8, 0)], r"n_agents\[1\]\[1\] must be a finite number > 0, not 0"),
        ([(4, float("nan"))], r"n_agents\[0\]\[1\] must be a finite number > 0, not nan"),
        ([(4.5, 1)], r"n_agents\[0\]\[0\] must be a whole number in \[1, 1048576\], not 4.5"),
        ({4: 1}, "n_agents must be a whole number"),
    ],
)  # fmt: skip
def test_bad_populations_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        interact_env.make("colliding_agents_v0", n_agents=value)
