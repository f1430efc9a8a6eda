r"""Bodies that attract, repel and bend each other's paths, and must keep their stations.

Three interactions, by strength; with softened squared distances \(A_{ij} = |x_i - x_j|^2 + s^2\), s being
`softening` for the first two and `damping` for the third:

- gravity \(G\): energy \(-G m_i m_j / \sqrt{A_{ij}}\) of a pair; attraction that every body feels alike.
- charge \(k\): energy \(+k q_i q_j / \sqrt{A_{ij}}\) of a pair; a product of features decides the sign.
- three_body \(\nu\): energy \(\nu\, p_i p_j p_k (1 + 3 \cos\alpha \cos\beta \cos\gamma)
  / (A_{ij} A_{jk} A_{ki})^{3/2}\) of a triple, with the angles between its (softened) sides; no sum over
  pairs can express it.

Sources: softening, Aarseth 1963 (Plummer's potential); three bodies, Axilrod and Teller 1943, Muto 1943
(the triple-dipole dispersion energy), of which the softening is ours; leapfrog in its kick-drift-kick form,
Verlet 1967; figure-eight, Chenciner and Montgomery 2000, arXiv math/0011268. The task is ours.

Task: station keeping. Each body has an anchor, where it starts. Reward of a step: r^2 / (r^2 + d^2), with
d the distance to the anchor and r = `reach`, minus `fuel_cost` times the sum of the squared actions, minus
`collision_cost` for each partner within the sum of radii. A body further than `escape_radius` from its
anchor leaves, and one so fast that it would cross that disc (ball) within a step. With `max_thrust=0` it
is a plain n-body simulation.

Any number of bodies. Bodies start at a fixed number density rho, so in an arena of volume n / rho in D
dimensions, and M = n^(2/D - 1) is their typical mass in kg. Why: the nearest bodies are equally far
whatever n, and the pull of all others together grows as (mass inside) / (size of the arena)^2, that is as
n M / n^(2/D), which this M keeps constant: masses of 1 in two dimensions, and lighter ones in three.
Forces with a sign, or of short range, come from near bodies only; so that they give the same acceleration
whatever M, charges are of the order of sqrt(M), and p_i, like the radius, of the cube root of the mass.
Measured at the random start, from 8 to 512 bodies, the median acceleration goes from .8 to 1.2 m/s^2 for
gravity, .7 to .9 for charge and .6 to 1.0 for three_body in two dimensions; in three, from .45 to .5, .6 to
1.0, and .9 to 3.3 for the three-body force, which adds over pairs of neighbours (2.1 at 32 already).

Entity row: position x, y, (z) in m, velocity in m/s, mass in kg, charge in C (of a unit in which the
force between two of them is k / d^2), displacement to the anchor in m. Positions are from the centre.
Action: thrust, as an acceleration in units of `max_thrust`, constant over the step.
Metrics, per body and step: anchor_distance (m), fuel (sum of squared actions), collisions (partners).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from interact_env import check
from interact_env.engine.random import WORLD, shuffled, uniform
from interact_env.engine.rule import rule
from interact_env.render.scene import Arrow, Circle, Line, Scene
from interact_env.world import Column, Pairs, Repeat

METRICS = ("anchor_distance", "fuel", "collisions")

# The strength that a name alone stands for: bodies of the default density then accelerate by .5 to 3 m/s^2.
_STRENGTHS = {"gravity": 1.0, "charge": 1.0, "three_body": 1000.0}
_STARTS = ("random", "ring", "orbit", "figure_eight")
_RANDOM, _RING, _ORBIT, _EIGHT = range(4)
# Purposes of the random draws; an axis is added to the last two.
_SLOT, _MASS, _CHARGE, _SIGN, _PHASE = range(5)
_PLACE, _SPEED = 8, 12
_LIGHT, _HEAVY = 0.5, 1.5  # relative masses and charges at a random start
_DRIFT = 0.1  # m/s, the largest speed along an axis at a random start
_FAR = 1e6  # m, largest length that is allowed
# Small whole numbers that leave float32 as it is, where a Python number would make it float64.
_0, _1, _2, _5, _8 = np.int8(0), np.int8(1), np.int8(2), np.int8(5), np.int8(8)
# Position of the first body and velocity of the third at G m = 1 (the second mirrors the first).
_EIGHT_X, _EIGHT_Y = 0.97000436, -0.24308753
_EIGHT_VX, _EIGHT_VY = -0.93240737, -0.86473146


class Params(NamedTuple):
    """Scalars that the rules read, in m, kg, s."""

    n_min: int
    n_max: int
    max_cycles: int
    vision_radius: float  # inf: sees all
    dims: int
    substeps: int
    h: float  # dt / substeps
    half: float  # h / 2
    gravity: float
    charge: float
    triple: float  # 3/8 of the strength three_body
    softening2: float
    damping2: float
    max_thrust: float
    radius: float
    size: float  # 0: follows from the density
    density: float
    escape_radius: float
    escape_speed: float  # m/s
    reach2: float
    fuel_cost: float
    collision_cost: float
    start: int
    wavelength: int


class State(NamedTuple):
    """One world of L slots; in two dimensions the third component is 0."""

    alive: np.ndarray  # (L,) bool
    position: np.ndarray  # (L, 3) m
    velocity: np.ndarray  # (L, 3) m/s
    pull: np.ndarray  # (L, 3) N, on a body by all the others, of forces between two
    acceleration: np.ndarray  # (L, 3) m/s^2, of the last phase, thrust included
    anchor: np.ndarray  # (L, 3) m
    mass: np.ndarray  # (L,) kg
    charge: np.ndarray  # (L,) C
    thrust: np.ndarray  # (L, 3) m/s^2, of the last step
    hits: np.ndarray  # (L,) int32, bodies that touch it after the last step
    bulk: np.ndarray  # (L,) cube root of the mass: scales the radius and the triple dipole
    side: np.ndarray  # (1,) m, of the arena that bodies start in


def configure(
    n_agents: int | tuple[int, int] = 8,
    interaction: str | Mapping[str, float] = "gravity",
    dims: int = 2,
    start: str = "random",
    size: float | None = None,
    density: float | None = None,
    dt: float = 0.4,
    substeps: int = 8,
    softening: float = 0.2,
    damping: float = 2.0,
    max_thrust: float = 3.0,
    radius: float = 0.1,
    escape_radius: float = 4.0,
    reach: float = 0.2,
    fuel_cost: float = 0.05,
    collision_cost: float = 1.0,
    vision_radius: float | str | None = "auto",
    wavelength: int = 8,
    max_cycles: int | None = 128,
) -> Params:
    """Validate the parameters of the world.

    Args:
        n_agents: number of bodies, or a (low, high) range drawn anew for every episode.
        interaction: "gravity" (of strength 1 m^3 kg^-1 s^-2), "charge" (1 kg m^3 s^-2 C^-2) or "three_body"
            (1000: three bodies of 1 kg, 3 m apart and undamped, hold 0.07 J); or strengths by name, all in
            one world, as {"gravity": 1, "charge": 0.5}; those not named are 0.
        dims: 2 or 3.
        start: "random": apart from each other, almost at rest, masses within 0.5 and 1.5 of the typical one.
            "ring": equal masses on a circle as wide as the arena, at the speed at which gravity would
            keep them on it. "orbit": two unequal bodies in circular orbit, half the arena apart.
            "figure_eight": three equal ones on the orbit of Chenciner and Montgomery (about 2 m wide; it
            closes after 6.32591398 s with softening=0 and gravity of 1).
        size: side of the square (cube) that bodies start in, m; or
        density: bodies per m^dims, from which the side follows (default 1 / 2^dims).
        dt: length of a step, s. At the default, forces move a body by about `reach` within a step: who
            does not foresee them cannot keep the station. With short steps any stiff spring can.
        substeps: steps of the integrator in a step.
        softening: length s of gravity and charge, m.
        damping: length s of the three-body force, which grows much faster at short distances, m.
        max_thrust: acceleration along an axis at full thrust, m/s^2; 0: a plain simulation.
        radius: of a body of 1 kg, m; others' grows with the cube root of the mass.
        escape_radius: distance from its anchor at which a body leaves, m; also at a speed of
            2 * escape_radius / dt.
        reach: distance from its anchor at which half of the reward is left, m.
        fuel_cost: reward lost at full thrust along one axis.
        collision_cost: reward lost per partner in collision.
        vision_radius: a body sees the others within this distance, m; None: all of them; "auto": half the
            wavelength. It feels all of them.
        wavelength: longest wavelength of position codes, m; displacements up to half of it are told apart. A
            larger one shows more, in displacements that 8 bodies at the default density never have: a policy
            trained on them then fails at 32.
        max_cycles: steps until truncation; None: no limit.

    Raises:
        ValueError: a value is not allowed, or so many bodies do not fit.
    """
    n_min, n_max = check.count_range("n_agents", n_agents)
    dims = check.whole("dims", dims, 2, 3)
    strengths = _strengths(interaction)
    wavelength = check.whole("wavelength", wavelength, 1, 2**20)
    if size is not None and density is not None:
        raise ValueError("give size or density, not both")
    dt = check.real("dt", dt, 1e-9, 1e3)
    h = dt / check.whole("substeps", substeps, 1, 2**31)
    escape_radius = check.real("escape_radius", escape_radius, 0, _FAR, above=True)
    params = Params(
        n_min=n_min,
        n_max=n_max,
        max_cycles=0 if max_cycles is None else check.whole("max_cycles", max_cycles, 1, 2**31),
        vision_radius=check.vision("vision_radius", vision_radius, wavelength / 2, _FAR),
        dims=dims,
        substeps=substeps,
        h=h,
        half=h / 2,
        gravity=strengths["gravity"],
        charge=strengths["charge"],
        triple=3 / 8 * strengths["three_body"],
        softening2=check.real("softening", softening, 0, _FAR) ** 2,
        damping2=check.real("damping", damping, 0, _FAR) ** 2,
        max_thrust=check.real("max_thrust", max_thrust, 0, _FAR),
        radius=check.real("radius", radius, 0, _FAR),
        size=0.0 if size is None else check.real("size", size, 0, _FAR, above=True),
        density=check.real("density", 0.5**dims if density is None else density, 1e-9, 1e9),
        escape_radius=escape_radius,
        escape_speed=2 * escape_radius / dt,
        reach2=check.real("reach", reach, 0, _FAR, above=True) ** 2,
        fuel_cost=check.real("fuel_cost", fuel_cost, 0, _FAR),
        collision_cost=check.real("collision_cost", collision_cost, 0, _FAR),
        start=_STARTS.index(check.one_of("start", start, _STARTS)),
        wavelength=wavelength,
    )
    _check_start(params)
    return params


def _strengths(interaction: str | Mapping[str, float]) -> dict[str, float]:
    if not isinstance(interaction, Mapping):
        name = check.one_of("interaction", interaction, tuple(_STRENGTHS))
        return dict.fromkeys(_STRENGTHS, 0.0) | {name: _STRENGTHS[name]}
    unknown = sorted(set(interaction) - set(_STRENGTHS), key=str)
    if unknown:
        raise ValueError(
            f"interaction has no strength {unknown[0]!r}; it has: {', '.join(map(repr, _STRENGTHS))}"
        )
    return {
        name: check.real(f"interaction[{name!r}]", interaction.get(name, 0.0), 0, 1e6) for name in _STRENGTHS
    }


def _check_start(params: Params) -> None:
    fixed = {_ORBIT: 2, _EIGHT: 3}.get(params.start)
    name = _STARTS[params.start]
    if fixed is not None and (params.n_min, params.n_max) != (fixed, fixed):
        raise check.DoesNotFit(f"start={name!r} needs n_agents={fixed}")
    if fixed is not None and params.gravity == 0:
        raise ValueError(f"start={name!r} needs gravity: add it to interaction")
    for n in (params.n_min, params.n_max):
        side = arena_size(params, n)
        # A little less than the side: in float32 it must fit too.
        if params.start == _RANDOM and _slots(params, n, 0.9999 * side) ** params.dims < n:
            raise check.DoesNotFit(
                f"n_agents={n} do not fit: bodies of radius {params.radius:g} m cannot start apart in an "
                f"arena {side:g} m wide; lower n_agents or radius, or raise size"
            )
        if params.start != _RANDOM and n > 1 and _widest(params, n) > _closest(params, n, side):
            raise check.DoesNotFit(
                f"n_agents={n} do not fit: bodies of radius {params.radius:g} m touch at start={name!r} in "
                f"an arena {side:g} m wide; lower n_agents or radius, or raise size"
            )


def _closest(params: Params, n: int, side: float) -> float:
    """Distance of neighbours at a start that is not random, m."""
    if params.start == _RING:
        return side * math.sin(math.pi / n)
    return side / 2 if params.start == _ORBIT else math.hypot(_EIGHT_X, _EIGHT_Y)


def blank(params: Params) -> State:
    """Arrays of one world, all zero."""
    n = params.n_max
    position, velocity, pull, acceleration, anchor, thrust = np.zeros((6, n, 3))
    mass, charge, bulk = np.zeros((3, n))
    alive, hits, side = np.zeros(n, np.bool_), np.zeros(n, np.int32), np.zeros(1)
    return State(
        alive, position, velocity, pull, acceleration, anchor, mass, charge, thrust, hits, bulk, side
    )


def columns(params: Params) -> tuple[Column, ...]:
    """What an entity row holds."""
    axes = "xyz"[: params.dims]
    away = 1.001 * float(params.escape_radius)
    fast = 1.001 * float(params.escape_speed)
    edge = max(_EIGHT_X, float(arena_size(params, params.n_max)) / 2) + away
    mass = 1.001 * _HEAVY  # the typical one is 1, or less
    return (
        *(Column(a, "position", -edge, edge, "m", params.wavelength) for a in axes),
        *(Column("v" + a, "real", -fast, fast, "m/s") for a in axes),
        Column("mass", "real", 0, mass, "kg"),
        Column("charge", "real", -mass, mass, "C"),
        *(Column("to_anchor_" + a, "real", -away, away, "m") for a in axes),
    )


def action_space(params: Params) -> spaces.Box:
    """Thrust along each axis."""
    return spaces.Box(-1, 1, (params.dims,), np.float32)


@rule
def arena_size(params, n):
    """Side of the square (cube) that n bodies start in, m."""
    if params.size > 0:
        return float(params.size)
    return (n / params.density) ** (1 / params.dims)


@rule
def typical_mass(params, n):
    """Mass that makes the typical acceleration independent of n, kg; 1 on the figure-eight."""
    return 1.0 if params.start == _EIGHT else float(n) ** (2 / params.dims - 1)


@rule
def _slots(params, n, side):
    """Places along an axis: about two per body where they fit, so that some stay empty."""
    wanted = math.ceil((2 * n) ** (1 / params.dims))
    return min(wanted, int(side / max(_widest(params, n), 1e-3 * side)))


@rule
def _widest(params, n):
    heaviest = _HEAVY if params.start == _RANDOM or params.start == _ORBIT else 1.0  # noqa: PLR1714
    return 2 * params.radius * (heaviest * typical_mass(params, n)) ** (1 / 3)


@rule
def begin(params, key, n, state):
    """Set what holds for the whole episode of n bodies."""
    state.side[0] = arena_size(params, n)


@rule
def spawn(params, key, n, i, state):
    """Place body i of n at its anchor."""
    state.mass[i] = _mass(params, key, n, i)
    state.bulk[i] = _mass(params, key, n, i) ** (1 / 3)
    if params.charge > 0:
        sign = 1 if uniform(key, i, _SIGN) < 0.5 else -1
        state.charge[i] = sign * math.sqrt(typical_mass(params, n)) * _relative(params, key, i, _CHARGE)
    if params.start == _RANDOM:
        _apart(params, key, n, i, state)
    elif params.start == _RING:
        _on_ring(params, key, n, i, state)
    elif params.start == _ORBIT:
        _in_orbit(params, key, n, i, state)
    else:
        _on_eight(params, n, i, state)
    for a in range(3):
        state.anchor[i, a] = state.position[i, a]


@rule
def _relative(params, key, i, purpose):
    if params.start in (_RING, _EIGHT):
        return 1.0
    return _LIGHT + (_HEAVY - _LIGHT) * uniform(key, i, purpose)


@rule
def _mass(params, key, n, i):
    return typical_mass(params, n) * _relative(params, key, i, _MASS)


@rule
def _apart(params, key, n, i, state):
    """At random in a slot of its own, far enough from its borders that nobody collides."""
    side = state.side[0]
    across = _slots(params, n, side)
    width = side / across
    slot = shuffled(key, _SLOT, i, across**params.dims)
    for a in range(params.dims):
        room = max(0.0, width - _widest(params, n))
        state.position[i, a] = (
            (slot % across + 0.5) * width - side / 2 + (uniform(key, i, _PLACE + a) - 0.5) * room
        )
        state.velocity[i, a] = _DRIFT * (2 * uniform(key, i, _SPEED + a) - 1)
        slot //= across


@rule
def _on_ring(params, key, n, i, state):
    """Equally spaced, turning at the speed at which (softened) gravity holds the ring."""
    radius = state.side[0] / 2
    inward = 0.0
    for k in range(1, n):
        s = math.sin(math.pi * k / n)
        away = 2 * radius * s
        inward += (
            params.gravity * _mass(params, key, n, i) * away * s / (away * away + params.softening2) ** 1.5
        )
    angle = 2 * math.pi * (i / n + uniform(key, WORLD, _PHASE))
    _turning(state, i, angle, radius, math.sqrt(radius * inward))


@rule
def _in_orbit(params, key, n, i, state):
    apart = state.side[0] / 2
    mine, other = _mass(params, key, n, i), _mass(params, key, n, 1 - i)
    rate = math.sqrt(params.gravity * (mine + other) / (apart * apart + params.softening2) ** 1.5)
    radius = apart * other / (mine + other)
    _turning(state, i, 2 * math.pi * (i / 2 + uniform(key, WORLD, _PHASE)), radius, rate * radius)


@rule
def _turning(state, i, angle, radius, speed):
    state.position[i, 0], state.position[i, 1] = radius * math.cos(angle), radius * math.sin(angle)
    state.velocity[i, 0], state.velocity[i, 1] = -speed * math.sin(angle), speed * math.cos(angle)


@rule
def _on_eight(params, n, i, state):
    place = (1, -1, 0)[i]
    state.position[i, 0], state.position[i, 1] = place * _EIGHT_X, place * _EIGHT_Y
    share = math.sqrt(params.gravity * typical_mass(params, n)) * (1.0 if i == 2 else -0.5)
    state.velocity[i, 0], state.velocity[i, 1] = share * _EIGHT_VX, share * _EIGHT_VY


@rule
def force(params, state, i):
    """Force on body i from all the others, N: three numbers."""
    zero = _0 * params.h  # of the world's dtype
    x, y, z = zero, zero, zero
    for j in range(state.alive.size):
        if state.alive[j] and j != i:
            from_j = pull(params, state, i, j)
            x, y, z = x + from_j[0], y + from_j[1], z + from_j[2]
    return _with_triples(params, state, i, (x, y, z))


@rule
def pull(params, state, i, j):
    """Force on body i by body j, N: three numbers."""
    at = state.position
    dx, dy, dz = at[j, 0] - at[i, 0], at[j, 1] - at[i, 1], at[j, 2] - at[i, 2]
    near = dx * dx + dy * dy + dz * dz + params.softening2
    near = near if near != 0 else _1  # in one place, without softening: no direction to pull in
    gravity = params.gravity * state.mass[i] * state.mass[j]
    along = (gravity - params.charge * state.charge[i] * state.charge[j]) / (near * math.sqrt(near))
    return along * dx, along * dy, along * dz


@rule
def _with_triples(params, state, i, pulls):
    if params.triple == 0:
        return pulls
    x, y, z = _triples(params, state, i)
    return pulls[0] + x, pulls[1] + y, pulls[2] + z


@rule
def _triples(params, state, i):
    """Minus the gradient of the three-body energy by the position of i.

    With sides A, B, C (of i to j, j to k, k to i, squared and softened) and u, v, w their sums with one
    sign turned, the energy is nu p_i p_j p_k ((ABC)^(-3/2) + 3/8 uvw (ABC)^(-5/2)): the law of cosines.
    """
    at, zero = state.position, _0 * params.h
    x, y, z = zero, zero, zero
    for j in range(state.alive.size):
        if not state.alive[j] or j == i:
            continue
        jx, jy, jz = at[i, 0] - at[j, 0], at[i, 1] - at[j, 1], at[i, 2] - at[j, 2]
        a = jx * jx + jy * jy + jz * jz + params.damping2
        for k in range(j + 1, state.alive.size):
            if not state.alive[k] or k == i:
                continue
            kx, ky, kz = at[i, 0] - at[k, 0], at[i, 1] - at[k, 1], at[i, 2] - at[k, 2]
            c = kx * kx + ky * ky + kz * kz + params.damping2
            bx, by, bz = kx - jx, ky - jy, kz - jz
            b = bx * bx + by * by + bz * bz + params.damping2
            u, v, w = a + b - c, b + c - a, c + a - b
            q, abc = u * v * w, a * b * c
            if abc == 0:
                continue
            scale = (
                params.triple * state.bulk[i] * state.bulk[j] * state.bulk[k] / (abc * abc * math.sqrt(abc))
            )
            from_j = scale * (_8 * b * c + _5 * q / a - _2 * (v * w + u * v - u * w))
            from_k = scale * (_8 * a * b + _5 * q / c - _2 * (u * v + u * w - v * w))
            x += from_j * jx + from_k * kx
            y += from_j * jy + from_k * ky
            z += from_j * jz + from_k * kz
    return x, y, z


@rule
def accelerate(params, state, action, i, after):
    """Forces and thrust where the bodies are."""
    pulls = after.pull[i, 0], after.pull[i, 1], after.pull[i, 2]
    f = _with_triples(params, after, i, pulls)
    for a in range(3):
        after.acceleration[i, a] = f[a] / state.mass[i]
    for a in range(params.dims):
        after.thrust[i, a] = params.max_thrust * action[i, a]
        after.acceleration[i, a] += after.thrust[i, a]


@rule
def kick_and_drift(params, state, action, i, after):
    """Half of the kick, and the move."""
    for a in range(3):
        after.velocity[i, a] += params.half * after.acceleration[i, a]
        after.position[i, a] += params.h * after.velocity[i, a]


@rule
def kick(params, state, action, i, after):
    """The other half of the kick, by the forces at the new places."""
    accelerate(params, state, action, i, after)
    for a in range(3):
        after.velocity[i, a] += params.half * after.acceleration[i, a]


@rule
def substeps(params):
    """Steps of the integrator in a step."""
    return params.substeps


@rule
def touch(params, state, i, j):
    """1 if the discs (balls) of bodies i and j touch, else 0."""
    at = state.position
    dx, dy, dz = at[j, 0] - at[i, 0], at[j, 1] - at[i, 1], at[j, 2] - at[i, 2]
    reach = params.radius * (state.bulk[i] + state.bulk[j])
    return np.int32(dx * dx + dy * dy + dz * dz < reach * reach)


_PULLS = Pairs(pull, "pull")
PHASES = (
    _PULLS,
    accelerate,
    Repeat(substeps, (kick_and_drift, _PULLS, kick)),
    Pairs(touch, "hits"),
)


@rule
def score(params, state, action, i, after, metrics):
    """Reward of body i: nearness to its anchor, minus fuel and collisions."""
    distance2, speed2, fuel = _0 * params.h, _0 * params.h, _0 * params.h
    for a in range(params.dims):
        away = after.position[i, a] - after.anchor[i, a]
        distance2 += away * away
        speed2 += after.velocity[i, a] * after.velocity[i, a]
        fuel += action[i, a] * action[i, a]
    near = params.reach2 / (params.reach2 + distance2)
    limit2 = params.escape_radius * params.escape_radius
    # Not a number, after a clash of bodies without softening, is out too.
    if not (distance2 <= limit2 and speed2 <= params.escape_speed * params.escape_speed):
        after.alive[i] = False
        distance2, near = limit2, _0 * params.h
    metrics[0] = math.sqrt(distance2)
    metrics[1] = fuel
    metrics[2] = after.hits[i]
    return near - params.fuel_cost * fuel - params.collision_cost * metrics[2]


@rule
def observe(params, state, i, row):
    """Write the entity row of body i."""
    for a in range(params.dims):
        row[a] = state.position[i, a]
        row[params.dims + a] = state.velocity[i, a]
        row[2 * params.dims + 2 + a] = state.anchor[i, a] - state.position[i, a]
    row[2 * params.dims] = state.mass[i]
    row[2 * params.dims + 1] = state.charge[i]


@rule
def visible(params, state, i, j):
    """Whether body i sees body j."""
    distance2 = _0 * params.h
    for a in range(3):
        d = state.position[j, a] - state.position[i, a]
        distance2 += d * d
    return distance2 <= params.vision_radius * params.vision_radius


@rule
def energy(params, state):
    """Kinetic and potential energy of a world, J."""
    total = 0.0
    at, n = state.position, state.alive.size
    for i in range(n):
        if not state.alive[i]:
            continue
        for a in range(3):
            total += 0.5 * state.mass[i] * state.velocity[i, a] ** 2
        for j in range(i):
            if state.alive[j]:
                weight = params.charge * state.charge[i] * state.charge[j]
                weight -= params.gravity * state.mass[i] * state.mass[j]
                total += weight / math.sqrt(_apart2(at, i, j) + params.softening2)
                for k in range(j):
                    if state.alive[k]:
                        total += _triple_energy(params, state, i, j, k)
    return total


@rule
def _triple_energy(params, state, i, j, k):
    a, b, c = (
        _apart2(state.position, i, j) + params.damping2,
        _apart2(state.position, j, k) + params.damping2,
        _apart2(state.position, k, i) + params.damping2,
    )
    strength = params.triple * state.bulk[i] * state.bulk[j] * state.bulk[k]
    shape = (a + b - c) * (b + c - a) * (c + a - b) / (a * b * c)
    return strength * (8 / 3 + shape) / (a * b * c) ** 1.5


@rule
def _apart2(at, i, j):
    x, y, z = at[j, 0] - at[i, 0], at[j, 1] - at[i, 1], at[j, 2] - at[i, 2]
    return x * x + y * y + z * z


@rule
def hold(params, key, state, i, clock, action):
    """Steer to the anchor as if alone."""
    _steer(params, state, i, action, _0 * params.h, (_0 * params.h, _0 * params.h, _0 * params.h))


@rule
def balance(params, key, state, i, clock, action):
    """As hold, and cancel the force of all the others: knows the law of the interaction."""
    _steer(params, state, i, action, 1 / state.mass[i], force(params, state, i))


@rule
def _steer(params, state, i, action, share, pull):
    # Gains per step: a spring to the anchor, stiff for a thrust that is constant over dt, and well damped.
    rate = 1 / (params.h * params.substeps)
    for a in range(params.dims):
        back = 0.35 * rate * (state.anchor[i, a] - state.position[i, a]) - state.velocity[i, a]
        wanted = rate * back - share * pull[a]
        action[i, a] = min(max(wanted / params.max_thrust, -1.0), 1.0) if params.max_thrust > 0 else 0.0


POLICIES = {"balance": balance, "hold": hold}


def scene(params: Params, state: State) -> Scene:
    """Bodies by charge, arrows of velocity and thrust, lines to their anchors; those that touch flash."""
    side = max(2 * _EIGHT_X, float(state.side[0])) + 2 * min(4.0, float(params.escape_radius))
    hit = np.zeros(state.alive.size, np.bool_)
    _touching(params, state, hit)
    # Plain numbers at once: picked one by one out of arrays they take most of the time.
    place, anchor = ((a + side / 2).tolist() for a in (state.position, state.anchor))
    along, thrust = (0.5 * state.velocity).tolist(), (0.2 * state.thrust).tolist()
    radius = (params.radius * state.bulk).tolist()
    circles, arrows, lines = [], [], []
    for i in np.flatnonzero(state.alive).tolist():
        (x, y, z), (vx, vy, _), (ux, uy, _), (ax, ay, _) = place[i], along[i], thrust[i], anchor[i]
        circles.append(Circle(x, y, radius[i], int(state.charge[i] < 0), bool(hit[i]), i, z - side / 2))
        arrows += [Arrow(x, y, vx, vy, agent=i), Arrow(x, y, ux, uy, _THRUST, i)]
        lines.append(Line(x, y, ax, ay, agent=i))
    return Scene(side, side, (False, False), tuple(circles), tuple(arrows), tuple(lines))


_THRUST = 6  # of the viewer's palette


@rule
def _touching(params, state, hit):
    for i in range(state.alive.size):
        for j in range(state.alive.size):
            if state.alive[i] and state.alive[j] and i != j and touch(params, state, i, j):
                hit[i] = True
