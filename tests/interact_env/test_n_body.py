"""The physics of the n-body world against closed forms, slow loops and another code."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import interact_env
from interact_env.worlds import n_body

INTERACTIONS = {
    "gravity": "gravity",
    "charge": "charge",
    "three_body": "three_body",
    "all": {"gravity": 1, "charge": 2, "three_body": 300},
}
each = pytest.mark.parametrize("interaction", INTERACTIONS.values(), ids=INTERACTIONS.keys())
PLAIN = {"max_thrust": 0, "escape_radius": 1e6, "radius": 0, "max_cycles": None, "dtype": "float64"}
PERIOD = 6.32591398  # s, of the figure-eight


def simulation(n, dims=3, **parameters):
    """A plain simulation of n bodies at a random start."""
    batch = interact_env.make_batch("n_body_v0", seed=0, n_agents=n, dims=dims, **{**PLAIN, **parameters})
    batch.reset()
    return batch


def put(batch, **fields):
    """Overwrite fields of the state of the first world."""
    saved = batch.save()
    for name, value in fields.items():
        saved[f"state.{name}"][0] = value
    saved["state.bulk"][0] = np.cbrt(saved["state.mass"][0])
    batch.restore(saved)
    return batch


def scatter(batch, seed, spread=1.5):
    """Bodies anywhere, with any velocity."""
    rng = np.random.default_rng(seed)
    shape = batch.state().position.shape
    flat = np.array([1, 1, 1 if batch.params.dims == 3 else 0])
    position, velocity = rng.normal(size=(2, *shape)) * flat
    mass, charge = rng.uniform(0.5, 2, shape[0]), rng.normal(size=shape[0])
    return put(batch, position=spread * position, velocity=velocity, mass=mass, charge=charge)


def run(batch, steps):
    idle = batch.blank_actions()
    for _ in range(steps):
        batch.step(idle)
    return batch.state()


def energy(batch):
    return n_body.energy(batch.params, batch.state())


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def kepler(t, e, semi_major=1.0, mu=1.0):
    """Position and velocity on an ellipse that starts at its pericentre, by Newton on Kepler's equation."""
    rate = math.sqrt(mu / semi_major**3)
    anomaly = mean = rate * t
    for _ in range(50):
        anomaly -= (anomaly - e * math.sin(anomaly) - mean) / (1 - e * math.cos(anomaly))
    b = semi_major * math.sqrt(1 - e * e)
    speed = rate * semi_major / (1 - e * math.cos(anomaly))
    position = [semi_major * (math.cos(anomaly) - e), b * math.sin(anomaly), 0]
    return np.array(position), speed * np.array(
        [-math.sin(anomaly), math.sqrt(1 - e * e) * math.cos(anomaly), 0]
    )


def ellipse(e, **parameters):
    """Two unequal bodies about their common centre of mass, at the pericentre."""
    position, velocity = kepler(0, e)
    mass = np.array([0.75, 0.25])
    share = np.array([[-0.25], [0.75]])
    batch = simulation(2, interaction="gravity", softening=0, **parameters)
    return put(batch, position=share * position, velocity=share * velocity, mass=mass), share


@each
def test_the_order_of_the_integrator_is_two(interaction):
    ends = []
    for substeps in (64, 128, 256, 4096):
        batch = scatter(simulation(5, interaction=interaction, dt=1.0, substeps=substeps, softening=0.5), 3)
        ends.append(run(batch, 1).position)
    errors = [np.linalg.norm(end - ends[-1]) for end in ends[:-1]]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders == pytest.approx([2, 2], abs=0.1)


def test_the_order_against_a_closed_form():
    errors = []
    for substeps in (200, 400, 800):
        batch, share = ellipse(0.6, dt=1.0, substeps=substeps)
        errors.append(relative(run(batch, 3).position, share * kepler(3.0, 0.6)[0]))
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([2, 2], abs=0.1)


@each
@pytest.mark.parametrize("dims", [2, 3])
def test_momentum_is_kept(interaction, dims):
    batch = scatter(simulation(8, dims, interaction=interaction, dt=0.01, substeps=1), 1)
    before = batch.state()
    after = run(batch, 1000)
    change = (after.mass[:, None] * after.velocity - before.mass[:, None] * before.velocity).sum(axis=0)
    assert np.abs(change).max() <= 1e-12


@each
def test_forward_and_back_again(interaction):
    batch = scatter(simulation(5, interaction=interaction, dt=0.01, substeps=1), 2)
    start = batch.state()
    there = run(batch, 1000)
    put(batch, velocity=-there.velocity)
    back = run(batch, 1000)
    assert np.abs(there.position - start.position).max() > 1
    assert np.abs(back.position - start.position).max() <= 1e-10
    assert np.abs(back.velocity + start.velocity).max() <= 1e-10


@pytest.mark.parametrize("n", [3, 8, 32])
@pytest.mark.parametrize("dims", [2, 3])
@each
def test_energy_drifts_little(interaction, dims, n):
    """Relative to the energy; where those of both signs cancel, to the potential or kinetic one."""
    batch = simulation(n, dims, interaction=interaction, softening=0.2, dt=0.01, substeps=1)
    first, scale, worst = energy(batch), 0.0, 0.0
    cancels = interaction not in ("gravity", "three_body")
    for _ in range(100):
        state = run(batch, 10)
        kinetic = 0.5 * (state.mass[:, None] * state.velocity**2).sum()
        now = energy(batch)
        scale = max(scale, kinetic, abs(now - kinetic)) if cancels else abs(first)
        worst = max(worst, abs(now - first))
    assert worst / scale <= 1e-2


def test_kepler_ellipse_over_100_orbits():
    batch, share = ellipse(0.6, dt=2 * math.pi, substeps=150_000)
    state = run(batch, 100)
    assert batch.steps[0] == 100
    position, velocity = kepler(100 * 2 * math.pi, 0.6)
    assert relative(state.position, share * position) <= 1e-4
    assert relative(state.velocity, share * velocity) <= 1e-4


@pytest.mark.parametrize("dims", [2, 3])
def test_the_figure_eight_returns_after_one_period(dims):
    steps = 6326
    batch = simulation(
        3,
        dims,
        start="figure_eight",
        softening=0,
        interaction="gravity",
        dt=PERIOD / steps,
        substeps=1,
    )
    assert batch.params.h == pytest.approx(1e-3, rel=1e-3)
    start = batch.state()
    end = run(batch, steps)
    assert np.abs(end.position - start.position).max() <= 1e-4
    assert np.abs(end.velocity - start.velocity).max() <= 1e-4
    third = run(put(batch, **start._asdict()), round(steps / 3)).position
    assert np.abs(third - start.position[[2, 0, 1]]).max() <= 2e-3, "they follow each other"


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("softening", [0.0, 0.2])
def test_trajectories_equal_those_of_rebound(n, softening):
    rebound = pytest.importorskip("rebound")
    batch = scatter(simulation(n, interaction="gravity", softening=softening, dt=1e-4, substeps=1), n)
    theirs = rebound.Simulation()
    theirs.integrator, theirs.dt, theirs.softening, theirs.G = "leapfrog", 1e-4, softening, 1.0
    state = batch.state()
    for i in range(n):
        theirs.add(
            m=state.mass[i],
            **dict(zip("xyz", state.position[i], strict=True)),
            **dict(zip(("vx", "vy", "vz"), state.velocity[i], strict=True)),
        )
    theirs.integrate(2.0)
    ours = run(batch, 20_000).position
    assert np.abs(ours - [p.xyz for p in theirs.particles]).max() <= 1e-5


def test_the_orbit_and_the_ring_are_circles():
    for n, start in ((2, "orbit"), (2, "ring"), (3, "ring"), (12, "ring")):
        batch = simulation(n, 2, start=start, dt=1e-3, substeps=1)
        radii = np.linalg.norm(batch.state().position, axis=1)
        state = run(batch, 3000)
        np.testing.assert_allclose(np.linalg.norm(state.position, axis=1), radii, rtol=1e-4)
        assert np.abs(state.position - batch.state().anchor).max() > 0.5


def slow_energy(params, x, mass, charge, strengths):
    """The energies as the module's docstring defines them, in one loop over pairs and one over triples."""
    gravity, coulomb, triple = strengths
    n, total = len(x), torch.zeros((), dtype=torch.float64)

    def squared(i, j, softening2):
        return ((x[i] - x[j]) ** 2).sum() + softening2

    for i, j in itertools.combinations(range(n), 2):
        apart = squared(i, j, params.softening2).sqrt()
        total = total - gravity * mass[i] * mass[j] / apart + coulomb * charge[i] * charge[j] / apart
    for i, j, k in itertools.combinations(range(n), 3):
        a, b, c = (squared(*pair, params.damping2) for pair in ((i, j), (j, k), (k, i)))
        cosines = [
            (one + other - opposite) / (2 * (one * other).sqrt())
            for one, other, opposite in ((a, c, b), (a, b, c), (b, c, a))
        ]
        dipoles = (mass[i] * mass[j] * mass[k]) ** (1 / 3)
        total = total + triple * dipoles * (1 + 3 * cosines[0] * cosines[1] * cosines[2]) / (a * b * c) ** 1.5
    return total


@each
@pytest.mark.parametrize("dims", [2, 3])
def test_forces_equal_those_of_slow_loops(interaction, dims):
    strengths = {"gravity": (1, 0, 0), "charge": (0, 1, 0), "three_body": (0, 0, 1000)}
    strengths = (1, 2, 300) if isinstance(interaction, dict) else strengths[interaction]
    batch = simulation(5, dims, interaction=interaction)
    for seed in range(50):
        state = scatter(batch, seed).state()
        mass, charge = torch.from_numpy(state.mass), torch.from_numpy(state.charge)
        x = torch.from_numpy(state.position).requires_grad_()
        total = slow_energy(batch.params, x, mass, charge, strengths)
        total.backward()
        found = np.array([n_body.force(batch.params, state, i) for i in range(5)])
        assert relative(found, -x.grad.numpy()) <= 1e-10
        assert energy(batch) == pytest.approx(
            float(total.detach()) + 0.5 * (state.mass[:, None] * state.velocity**2).sum(), rel=1e-12
        )


def test_the_forces_of_those_who_left_are_gone():
    batch = scatter(simulation(6, interaction=INTERACTIONS["all"]), 0)
    state = batch.state()
    state.alive[[1, 4]] = False
    found = [n_body.force(batch.params, state, i) for i in (0, 2, 3, 5)]
    few = scatter(simulation(4, interaction=INTERACTIONS["all"]), 0)
    keep = [0, 2, 3, 5]
    put(few, position=state.position[keep], mass=state.mass[keep], charge=state.charge[keep])
    np.testing.assert_allclose(
        found, [n_body.force(few.params, few.state(), i) for i in range(4)], rtol=1e-12
    )


def test_the_three_body_force_is_minus_the_gradient_of_its_energy():
    """By finite differences, and at the textbook's equilateral triangle: energy 11/8 nu / r^9."""
    batch = scatter(simulation(4, interaction={"three_body": 1}, damping=1.0), 5)
    state, h = batch.state(), 1e-5
    for i, a in itertools.product(range(4), range(3)):
        up, down = batch.state(), batch.state()
        up.position[i, a] += h
        down.position[i, a] -= h
        slope = (n_body.energy(batch.params, up) - n_body.energy(batch.params, down)) / (2 * h)
        assert n_body.force(batch.params, state, i)[a] == pytest.approx(-slope, abs=1e-6)
    triangle = simulation(3, 2, interaction={"three_body": 1}, damping=0)
    corners = 2 / math.sqrt(3) * np.array([[math.cos(t), math.sin(t), 0] for t in (0, 2.0944, 4.18879)])
    put(triangle, position=corners, velocity=0, mass=1)
    assert energy(triangle) == pytest.approx(11 / 8 / 2**9, rel=1e-5)


def test_no_sum_over_pairs_gives_the_three_body_force():
    """Two others together pull otherwise than one after the other."""
    batch = scatter(simulation(3, interaction="three_body"), 1)
    state = batch.state()
    both = np.array(n_body.force(batch.params, state, 0))
    alone = np.zeros(3)
    for j in (1, 2):
        few = batch.state()
        few.alive[j] = False
        alone += n_body.force(batch.params, few, 0)
    assert not alone.any()
    assert np.abs(both).max() > 1e-3


def play(batch, actions, turn=None, order=None):
    """States and results after the same actions, turned or in another order."""
    found = []
    for action in actions:
        turned = action if turn is None else turn.apply(action)
        step = batch.step((turned if order is None else turned[order])[None].astype(np.float32))
        found.append((batch.state(), step.reward[0].copy(), batch.metrics[0].copy()))
    return found


@each
def test_equivariance(interaction):
    """Turning, moving or reordering the world does the same to what comes of it."""
    given = {**PLAIN, "max_thrust": 2, "radius": 0.3}
    batch = simulation(6, interaction=interaction, **given)
    scatter(batch, 4)
    put(batch, anchor=batch.state().position + 0.3)
    start = batch.state()
    # Half thrust, in 32nds: turned by quarter turns they stay exact in float32.
    actions = np.random.default_rng(0).integers(-16, 17, (20, 6, 3)) / 32
    plain = play(batch, actions)
    turn, shift = Rotation.from_euler("xyz", [90, 180, 270], degrees=True), np.array([3.0, -2.0, 1.0])
    order = np.array([3, 0, 5, 1, 4, 2])
    turned = {f: turn.apply(getattr(start, f)) for f in ("position", "velocity", "anchor")}
    moved = {f: getattr(start, f) + shift for f in ("position", "anchor")}
    reordered = {f: v[order] for f, v in start._asdict().items() if f not in ("side", "alive")}
    put(batch, **{**start._asdict(), **turned})
    for (a, reward, metrics), (b, reward_b, metrics_b) in zip(play(batch, actions, turn), plain, strict=True):
        np.testing.assert_allclose(a.position, turn.apply(b.position), atol=1e-9)
        np.testing.assert_allclose(reward, reward_b, atol=1e-9)
        np.testing.assert_allclose(metrics, metrics_b, atol=1e-9)
    put(batch, **{**start._asdict(), **moved})
    for (a, reward, metrics), (b, reward_b, metrics_b) in zip(play(batch, actions), plain, strict=True):
        np.testing.assert_allclose(a.position, b.position + shift, atol=1e-9)
        np.testing.assert_allclose(reward, reward_b, atol=1e-9)
        np.testing.assert_allclose(metrics, metrics_b, atol=1e-9)
    put(batch, **{**start._asdict(), **reordered})
    again = play(batch, actions, order=order)
    for (a, reward, metrics), (b, reward_b, metrics_b) in zip(again, plain, strict=True):
        np.testing.assert_allclose(a.position, b.position[order], atol=1e-9)
        np.testing.assert_allclose(reward, reward_b[order], atol=1e-9)
        np.testing.assert_allclose(metrics, metrics_b[order], atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("interaction", ["gravity", "charge", "three_body"])
def test_typical_acceleration_does_not_depend_on_the_number_of_bodies(interaction, dims):
    def typical(n):
        given = {"n_agents": n, "dims": dims, "interaction": interaction, "max_thrust": 0, "dt": 1e-6}
        batch = interact_env.make_batch("n_body_v0", 2048 // n, seed=0, **given)
        batch.reset()
        batch.step(batch.blank_actions())
        return np.median(np.linalg.norm(batch.save()["state.acceleration"], axis=-1))

    counts = (16, 64, 128) if interaction == "three_body" else (16, 64, 256)
    found = [typical(n) for n in counts]
    assert max(found) / min(found) < (2.5 if interaction == "three_body" else 1.5)
    assert 0.3 < found[0] < 3


def test_reward_and_metrics_by_hand():
    batch = simulation(
        3, 2, max_thrust=1, radius=0.5, reach=2, fuel_cost=0.1, collision_cost=3, escape_radius=10,
        density=1e-3, interaction={}, dt=1.0, substeps=1,
    )  # fmt: skip
    where = np.array([[0.0, 0, 0], [0.9, 0, 0], [50, 0, 0]])
    put(batch, position=where, anchor=where - [[0, 2, 0]], velocity=0, mass=1)
    action = np.array([[[0.5, -1], [0, 0], [0, 0]]], np.float32)
    step = batch.step(action)
    # The first moves by a/2 = (.25, -.5), so its anchor is (-.25, -1.5) away.
    distance2 = 0.25**2 + 1.5**2
    np.testing.assert_allclose(
        batch.metrics[0], [[math.sqrt(distance2), 1.25, 1], [2, 0, 1], [2, 0, 0]], rtol=1e-12
    )
    expected = [4 / (4 + distance2) - 0.125 - 3, 0.5 - 3, 0.5]
    np.testing.assert_allclose(step.reward[0], expected, rtol=1e-7)


def test_a_body_that_passes_the_escape_radius_leaves():
    batch = simulation(3, 2, escape_radius=1.0, interaction={}, dt=0.5, substeps=1)
    put(batch, velocity=[[1.9, 0, 0], [2.1, 0, 0], [0, 5, 0]], anchor=batch.state().position)
    step = batch.step(batch.blank_actions())
    assert step.terminated[0].tolist() == [False, True, True]
    assert step.reward[0, 1] == step.reward[0, 2] == 0
    assert batch.metrics[0, 1, 0] == 1
    fast = simulation(2, 2, escape_radius=1.0, interaction={}, dt=0.5, substeps=1)
    put(fast, velocity=[[5, 0, 0], [0, 0, 0]], anchor=fast.state().position + np.array([2.5, 0, 0]))
    assert fast.step(fast.blank_actions()).terminated[0].tolist() == [True, True], (
        "faster than 4 m/s, and too far"
    )


def test_without_softening_a_clash_hurts_nobody_else():
    batch = simulation(4, 2, softening=0, interaction="gravity", escape_radius=50)
    put(batch, position=[[0, 0, 0], [0, 0, 0], [30, 0, 0], [0, 40, 0]], velocity=0)
    put(batch, anchor=batch.state().position)
    step = batch.step(batch.blank_actions())
    assert np.isfinite(step.reward).all()
    assert not step.terminated[0, 2:].any()
    assert np.isfinite(batch.rows).all()


@pytest.mark.parametrize(
    "given",
    [
        {"start": "ring", "n_agents": 2, "size": 1, "radius": 0.51},
        {"start": "ring", "n_agents": 3, "size": 1, "radius": 0.45},
        {"start": "orbit", "n_agents": 2, "size": 0.2, "radius": 0.1},
        {"start": "figure_eight", "n_agents": 3, "radius": 0.6},
    ],
)
def test_nobody_starts_in_a_collision(given):
    with pytest.raises(ValueError, match=r"do not fit: .* touch at start="):
        interact_env.make("n_body_v0", **given)
    batch = interact_env.make_batch("n_body_v0", 20, seed=0, **{**given, "radius": 0.4 * given["radius"]})
    batch.reset()
    positions = batch.save()["state.position"]
    bulk = batch.save()["state.bulk"]
    for i, j in itertools.combinations(range(given["n_agents"]), 2):
        apart = np.linalg.norm(positions[:, i] - positions[:, j], axis=-1)
        assert (apart > 0.4 * given["radius"] * (bulk[:, i] + bulk[:, j])).all()


def test_balance_beats_hold_beats_random():
    """Who knows the law of the interaction keeps the station better."""
    for interaction in INTERACTIONS.values():
        earned = {}
        for policy in ("random", "hold", "balance"):
            batch = interact_env.make_batch("n_body_v0", 32, seed=0, interaction=interaction, max_cycles=None)
            batch.reset()
            earned[policy] = 0.0
            for _ in range(100):
                step = batch.step(batch.scripted(policy))
                earned[policy] += step.reward.sum() / 25_600
                batch.reset(batch.over.copy())
        assert earned["balance"] > earned["hold"] + 0.2
        assert earned["balance"] > earned["random"] + 0.3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"interaction": "magnetic"}, "interaction must be one of 'gravity', 'charge', 'three_body', not"),
        ({"interaction": {"magnetic": 1}}, "interaction has no strength 'magnetic'; it has: 'gravity'"),
        ({"interaction": {"gravity": "1"}}, r"interaction\['gravity'\] must be a finite number >= 0"),
        ({"interaction": {"gravity": -1}}, r"interaction\['gravity'\] must be a finite number >= 0"),
        ({"interaction": 3}, "interaction must be one of"),
        ({"dims": 4}, r"dims must be a whole number in \[2, 3\], not 4"),
        ({"start": "line"}, "start must be one of 'random', 'ring', 'orbit', 'figure_eight', not 'line'"),
        ({"start": "orbit"}, "start='orbit' needs n_agents=2"),
        ({"start": "orbit", "n_agents": 2, "interaction": "charge"}, "start='orbit' needs gravity"),
        ({"start": "figure_eight", "n_agents": (3, 4)}, "start='figure_eight' needs n_agents=3"),
        ({"size": 4, "density": 1}, "give size or density, not both"),
        ({"size": 1, "radius": 0.2}, "n_agents=8 do not fit: bodies of radius 0.2 m cannot start apart"),
        ({"start": "ring", "radius": 2}, "n_agents=8 do not fit: .* touch at start='ring'"),
        ({"dt": 0}, "dt must be a finite number >= 1e-09"),
        ({"substeps": 0}, "substeps must be a whole number"),
        ({"softening": -1}, "softening must be a finite number >= 0"),
        ({"max_thrust": math.inf}, "max_thrust must be a finite number >= 0"),
        ({"escape_radius": 0}, "escape_radius must be a finite number > 0"),
        ({"vision_radius": "far"}, "vision_radius must be a number, None or 'auto', not 'far'"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'float64', not 'float16'"),
        ({"dtype": np.float16}, "dtype must be one of 'float32', 'float64', not 'float16'"),
        ({"dtype": 64}, "dtype must be one of 'float32', 'float64', not 64"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        interact_env.make("n_body_v0", **parameters)
