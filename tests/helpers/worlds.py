"""Every registered world with parameters that reach all of its rules; contract tests run over these."""

import itertools

COLLIDING = [
    dict(zip(("n_agents", "topology", "shape", "remove_on_collision"), values, strict=True))
    for values in itertools.product((1, 5, (2, 6)), ("torus", "cylinder"), ("disc", "square"), (False, True))
]
LABELS = [
    {"n_agents": (2, 6), "n_labels": 3, "collides": collides, "size": 16}
    for collides in ("same", "different", [[0, 1, 0], [0, 0, 1], [1, 1, 1]])
]
N_BODY = [
    {"n_agents": (1, 5)},
    {"n_agents": 5, "interaction": "charge", "dims": 3},
    {"n_agents": (3, 5), "interaction": "three_body"},
    {"n_agents": 4, "interaction": {"gravity": 2, "charge": 1, "three_body": 500}, "dims": 3, "substeps": 3},
    {"n_agents": (1, 6), "start": "ring", "radius": 0.6, "escape_radius": 1.5},
    {"n_agents": 2, "start": "orbit", "dims": 3, "max_thrust": 0},
    {"n_agents": 3, "start": "figure_eight", "softening": 0},
]
FLOAT64 = {"dtype": "float64"}
FEW = {**FLOAT64, "n_agents": (1, 4), "max_cycles": 20}
PARAMETERS = {
    "colliding_agents_v0": [{}, *COLLIDING, *LABELS, FEW],
    "n_body_v0": [{}, *N_BODY, FEW],
    "springs_v0": [{"n_agents": (1, 5)}, {"n_agents": 4, **FLOAT64}],
}
CASES = [(world, parameters) for world, sets in PARAMETERS.items() for parameters in sets]
IDS = [" ".join([world, *(f"{k}={v}" for k, v in parameters.items())]) for world, parameters in CASES]
# One case for each interaction: what costs seconds runs over these.
MAIN = [
    ("colliding_agents_v0", {"n_agents": (2, 6), "max_cycles": 12}),
    ("n_body_v0", {"n_agents": (2, 6), "max_cycles": 12}),
    ("n_body_v0", {"n_agents": (2, 6), "max_cycles": 12, "interaction": "charge", **FLOAT64}),
    ("n_body_v0", {"n_agents": (2, 6), "max_cycles": 12, "interaction": "three_body", "dims": 3}),
    ("springs_v0", {"n_agents": (2, 6), "max_cycles": 12}),
]
MAIN_IDS = [f"{world} {parameters.get('interaction', '')}".strip() for world, parameters in MAIN]
