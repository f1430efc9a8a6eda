"""The physics of a version never changes: a new hash needs a new `_vN`."""

import hashlib
import types

import numpy as np
import pytest
from worlds import PARAMETERS

import interact_env
from interact_env import World, rule
from interact_env.engine import WorldBatch
from interact_env.worlds import n_body

GOLDEN = {
    ("colliding_agents_v0", "default"): ({}, "0c434db6e1966959"),
    ("colliding_agents_v0", "square cylinder"): (
        {"shape": "square", "topology": "cylinder", "headings": "right", "n_agents": 12},
        "0ea383090edd11c3",
    ),
    ("colliding_agents_v0", "labels and leaving"): (
        {
            "n_agents": (3, 9),
            "n_labels": 3,
            "collides": "different",
            "remove_on_collision": True,
            "radius": 2,
        },
        "60851bb724a7f949",
    ),
    ("colliding_agents_v0", "matrix"): (
        {"n_agents": [(3, 1), (9, 3)], "n_labels": 2, "collides": [[0, 1], [0, 0]]},
        "5285fb6f2853bf1a",
    ),
    ("n_body_v0", "gravity"): ({}, "49a14d18bece7c37"),
    ("n_body_v0", "charge in 3-D"): (
        {"interaction": "charge", "dims": 3, "n_agents": (3, 9)},
        "4d3b2637ced318dd",
    ),
    ("n_body_v0", "three-body"): (
        {"interaction": "three_body", "n_agents": 6, "substeps": 1},
        "ac421ed536003653",
    ),
    ("n_body_v0", "all"): (
        {"interaction": {"gravity": 1, "charge": 1, "three_body": 500}, "n_agents": [(4, 1), (6, 2)]},
        "46d1e855484a3516",
    ),
    ("n_body_v0", "ring"): ({"start": "ring", "radius": 0.7, "escape_radius": 1}, "7211cec498adc3eb"),
    ("n_body_v0", "orbit"): ({"start": "orbit", "n_agents": 2, "dims": 3}, "958477b392fd657f"),
    ("n_body_v0", "figure-eight"): (
        {"start": "figure_eight", "n_agents": 3, "softening": 0},
        "a1923959f086494a",
    ),
}
each = pytest.mark.parametrize("name", GOLDEN, ids=[" ".join(name) for name in GOLDEN])


def rollout_hash(world, parameters):
    """Everything that random actions lead to; floats to 6 decimals, so that a last bit may differ."""
    whole = world.name.startswith("colliding")
    precision = {} if whole else {"dtype": "float64"}
    batch = WorldBatch(world, 4, seed=2026, max_cycles=25, **precision, **parameters)
    batch.reset()
    digest = hashlib.sha256()
    for _ in range(60):
        step = batch.step(batch.scripted("random"))
        for array in (batch.rows, batch.alive, batch.metrics, *step):
            rounded = array if whole or array.dtype == np.bool_ else np.round(array, 6) + 0.0
            digest.update(np.ascontiguousarray(rounded).tobytes())
        if batch.over.any():
            batch.reset(batch.over.copy())
    return digest.hexdigest()[:16]


@each
def test_golden_rollouts(name):
    parameters, expected = GOLDEN[name]
    assert rollout_hash(interact_env.world(name[0]), parameters) == expected


def test_every_world_has_a_golden_rollout():
    ours = {name for name in PARAMETERS if name != "springs_v0"}
    assert {world for world, _ in GOLDEN} == ours


@rule
def a_little_weaker(params, state, action, i, after):
    n_body.accelerate(params, state, action, i, after)
    after.acceleration[i, 0] *= 1 - 1e-5


def test_a_change_of_the_physics_is_noticed():
    module = types.ModuleType("changed")
    vars(module).update({k: v for k, v in vars(n_body).items() if not k.startswith("__")})
    module.PHASES = (a_little_weaker, *n_body.PHASES[1:])
    parameters, expected = GOLDEN["n_body_v0", "gravity"]
    assert rollout_hash(World.from_module("n_body_changed", module), parameters) != expected
