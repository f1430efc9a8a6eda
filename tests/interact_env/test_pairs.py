"""Sums over pairs: all of them, or those in neighbouring cells, give the bits of a plain loop."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sums import WORLDS, configure, strew, weigh, within

import interact_env
from interact_env.engine import WorldBatch, pairs
from interact_env.engine.cpu import fields


def batch_with(cells_from, world, **options):
    """A batch that looks into cells from so many agents on."""
    batch = WorldBatch(world, **options)
    packed, lists = batch._engine._scratch
    batch._engine._scratch = packed, lists._replace(cells_from=cells_from)
    return batch


geometry = st.fixed_dictionaries(
    {
        "topology": st.sampled_from(["torus", "cylinder"]),
        "shape": st.sampled_from(["disc", "square"]),
        "radius": st.sampled_from([0, 1, 2, 5]),
        "remove_on_collision": st.booleans(),
        "n_agents": st.integers(1, 80).map(lambda n: ((n + 1) // 2, n)),
        "n_labels": st.just(3),
        "collides": st.sampled_from(["all", "same", "different", [[0, 1, 0], [1, 1, 0], [0, 0, 1]]]),
        "size": st.sampled_from([16, 32, 64, 4096]),
    }
)


@settings(max_examples=60, deadline=None)
@given(parameters=geometry, seed=st.integers(0, 2**64 - 1), policy=st.sampled_from(["random", "go_ahead"]))
def test_cells_find_all_who_collide(parameters, seed, policy):
    world = interact_env.world("colliding_agents_v0")
    try:
        both = [batch_with(n, world, n_worlds=2, seed=seed, **parameters) for n in (0, 10**6)]
    except ValueError as error:
        assume("do not fit" not in str(error))
        raise
    for batch in both:
        batch.reset()
    for _ in range(12):
        actions = both[0].scripted(policy)
        for batch in both:
            batch.step(actions)
        for name, array in both[0].save().items():
            np.testing.assert_array_equal(array, both[1].save()[name], err_msg=name)
        for batch in both:
            batch.reset(batch.over.copy())


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 130),
    dims=st.sampled_from([2, 3]),
    reach=st.sampled_from([0.0, 0.01, 0.1, 0.2, 1 / 3, 0.5]),
    widest=st.sampled_from([1.0, 1.0, 0.05, 3.0]),
    seed=st.integers(0, 2**32),
    cells=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_a_sum_over_pairs_is_that_of_a_plain_loop(n, dims, reach, widest, seed, cells, dtype):
    """In two and three dimensions, with absent agents, places outside of the arena and on cells' borders."""
    options = {"n_agents": n, "dims": dims, "reach": reach, "walls": widest > 1, "dtype": dtype}
    batch = batch_with(0 if cells else 10**6, WORLDS[dims], seed=0, n_threads=1, **options)
    batch.reset()
    strew(batch, np.random.default_rng(seed), widest)
    before, params = batch.state(), batch.params
    batch.step(batch.blank_actions())
    near, weight = np.zeros_like(before.near), np.zeros_like(before.weight)
    living = np.flatnonzero(before.alive)
    for i in living:
        for j in living:
            if i != j:
                near[i] += within(params, before, i, j)
                weight[i] += np.asarray(weigh(params, before, i, j), dtype)
    np.testing.assert_array_equal(batch.state().near, near)
    np.testing.assert_array_equal(batch.state().weight, weight)


def test_fields_that_are_not_of_agents_are_told_apart():
    found = fields(WORLDS[2], configure(n_agents=4))
    assert found.per_agent == {"alive", "at", "near", "weight"}, "table has four rows too"


@pytest.mark.parametrize("threads", [1, 4])
def test_cells_are_used_from_many_agents_on(threads):
    """The threshold itself: many agents in a batch of few, on several threads."""
    counts = [(pairs.CELLS_FROM - 1, 1), (pairs.CELLS_FROM + 1, 1)]
    options = {"n_worlds": 6, "n_agents": counts, "seed": 1}
    world = interact_env.world("colliding_agents_v0")
    found = []
    for cells_from in (pairs.CELLS_FROM, 10**6):
        batch = batch_with(
            cells_from, world, n_threads=min(threads, interact_env.engine.batch.max_threads()), **options
        )
        batch.reset()
        for _ in range(5):
            batch.step(batch.scripted("random"))
        found.append(batch.save())
    assert all((found[0][name] == array).all() for name, array in found[1].items())
    assert found[0]["state.partners"].any()
