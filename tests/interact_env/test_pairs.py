"""Sums over pairs: all of them, or those in neighbouring cells, give the bits of a plain loop."""

import types
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import interact_env
from interact_env import Column, World, rule
from interact_env.engine import WorldBatch, pairs
from interact_env.engine.cpu import fields
from interact_env.world import Near, Pairs
from interact_env.worlds import colliding_agents


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


class Params(NamedTuple):
    n_min: int
    n_max: int
    max_cycles: int
    vision_radius: float
    dims: int
    reach: float
    walls: bool


class State(NamedTuple):
    alive: np.ndarray
    at: np.ndarray  # (L, 3), in [0, 1) of a torus, or beyond: then the world has walls
    near: np.ndarray  # (L, 2) int32
    weight: np.ndarray  # (L,)
    table: np.ndarray  # (4,), of the world


def configure(n_agents=4, dims=2, reach=0.1, walls=False):
    return Params(1, n_agents, 0, np.inf, dims, reach, walls)


def blank(params):
    n = params.n_max
    return State(
        np.zeros(n, np.bool_), np.zeros((n, 3)), np.zeros((n, 2), np.int32), np.zeros(n), np.zeros(4)
    )


@rule
def apart(params, state, i, j, a):
    d = abs(state.at[i, a] - state.at[j, a])
    return d if params.walls else min(d, 1 - d)


@rule
def within(params, state, i, j):
    far = max(apart(params, state, i, j, 0), apart(params, state, i, j, 1))
    if params.dims == 3:
        far = max(far, apart(params, state, i, j, 2))
    return np.int32(far <= params.reach), np.int32(2 * (far <= params.reach / 2))


@rule
def weigh(params, state, i, j):
    return state.table[1] / (state.table[2] + abs(state.at[i, 0] - state.at[j, 0]))


@rule
def reach(params, state):
    return params.reach


@rule
def flat_place(params, state, i):
    return state.at[i, 0], state.at[i, 1]


@rule
def deep_place(params, state, i):
    return state.at[i, 0], state.at[i, 1], state.at[i, 2]


@rule
def nothing(params, key, n, i, state):
    state.table[1], state.table[2] = 3, 1


@rule
def no_reward(params, state, action, i, after, metrics):
    metrics[0] = 0
    return np.float32(0)


@rule
def no_row(params, state, i, row):
    row[0] = 0


def world_of(dims):
    module = types.ModuleType(f"sums_{dims}")
    names = {name: value for name, value in globals().items() if name in ("configure", "blank")}
    place = deep_place if dims == 3 else flat_place
    vars(module).update(
        names,
        columns=lambda params: (Column("x", "real", 0, 1, ""),),
        action_space=colliding_agents.action_space,
        METRICS=("none",),
        PHASES=(Pairs(within, "near", Near(reach, place)), Pairs(weigh, "weight")),
        spawn=nothing,
        score=no_reward,
        observe=no_row,
        scene=lambda params, state: None,
    )
    return World.from_module(module.__name__, module)


WORLDS = {dims: world_of(dims) for dims in (2, 3)}


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 200),
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
    random, saved = np.random.default_rng(seed), batch.save()
    at = widest * random.random((n, 3)) if widest > 1 else widest * random.random((n, 3)) % 1
    on_borders = random.random((n, 3)) < 0.5
    saved["state.at"][0] = np.where(on_borders, np.round(at * 10) / 10 % (1 if widest <= 1 else 9), at)
    saved["state.at"][0, random.random(n) < 0.02] = np.nan if widest > 1 else 0.5
    alive = random.random(n) < 0.8
    alive[0] = True
    saved["state.alive"][0] = alive
    batch.restore(saved)
    before, params = batch.state(), batch.params
    batch.step(batch.blank_actions())
    near, weight = np.zeros_like(before.near), np.zeros_like(before.weight)
    for i in np.flatnonzero(alive):
        for j in np.flatnonzero(alive):
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
