"""The rules of the colliding agents against slow and obvious ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import interact_env
from interact_env.check import DoesNotFit

STEP = np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)])
STAY, RIGHT, UP, LEFT, DOWN = range(5)


def make(n_worlds=1, **parameters):
    batch = interact_env.make_batch("colliding_agents_v0", n_worlds, seed=4, **parameters)
    batch.reset()
    return batch


def place(batch, *agents):
    """Put agents of world 0 at (x, y, heading, label)."""
    for i, agent in enumerate(agents):
        for name, value in zip(("x", "y", "heading", "label"), agent, strict=False):
            getattr(batch._state, name)[0, i] = value


def gaps(batch, state, wraps_x):
    """Displacements (L, L, 2) by trying every image of every agent."""
    side = int(state.size[0])
    at = np.stack([state.x, state.y], axis=-1).astype(int)
    direct = at[None] - at[:, None]
    shifts_x = (-side, 0, side) if wraps_x else (0,)
    images = [direct + np.array([sx, sy]) for sx in shifts_x for sy in (-side, 0, side)]
    nearest = np.argmin([np.abs(image).sum(-1) for image in images], axis=0)
    return np.take_along_axis(np.array(images), nearest[None, ..., None], axis=0)[0]


def within(gap, shape, reach):
    distance = np.abs(gap).max(-1) if shape == "square" else np.sqrt((gap**2).sum(-1))
    return distance <= reach


@pytest.mark.parametrize("topology", ["torus", "cylinder"])
@pytest.mark.parametrize("shape", ["disc", "square"])
@pytest.mark.parametrize("collides", ["all", "same", "different", [[0, 1], [0, 1]]])
@pytest.mark.parametrize("headings", ["four", "right"])
def test_a_step_equals_the_obvious_one(topology, shape, collides, headings):
    for radius, n, size in ((0, 9, 16), (1, 9, 16), (2, 8, 32)):
        batch = make(
            topology=topology, shape=shape, collides=collides, headings=headings,
            n_labels=2, radius=radius, n_agents=n, size=size, collision_cost=0.5,
        )  # fmt: skip
        for _ in range(50):
            before = batch.state()
            actions = batch.scripted("random")
            step = batch.step(actions)
            after = batch.state()
            move = STEP[actions[0]]
            x, y = before.x + move[:, 0], (before.y + move[:, 1]) % size
            x = x % size if topology == "torus" else np.clip(x, 0, size - 1)
            np.testing.assert_array_equal(after.x, x)
            np.testing.assert_array_equal(after.y, y)
            moved = move.copy()
            if topology == "cylinder":
                moved[:, 0] = after.x - before.x
            progress = (moved * STEP[before.heading + 1]).sum(-1)
            near = within(gaps(batch, after, topology == "torus"), shape, 2 * radius)
            mine, theirs = before.label[:, None], before.label[None]
            allowed = {"all": True, "same": mine == theirs, "different": mine != theirs}
            meet = allowed[collides] if isinstance(collides, str) else np.array(collides)[mine, theirs] == 1
            pairs = near & ~np.eye(n, dtype=bool) & meet
            collisions = pairs.sum(axis=1)
            np.testing.assert_array_equal(batch.metrics[0], np.stack([progress, collisions], axis=-1))
            np.testing.assert_allclose(step.reward[0], progress - 0.5 * collisions)


@pytest.mark.parametrize("topology", ["torus", "cylinder"])
@pytest.mark.parametrize("shape", ["disc", "square"])
def test_vision_equals_the_obvious_one(topology, shape):
    batch = make(topology=topology, shape=shape, n_agents=12, size=32, vision_radius=6.5)
    for _ in range(20):
        batch.step(batch.scripted("random"))
        near = within(gaps(batch, batch.state(), topology == "torus"), shape, 6.5)
        np.testing.assert_array_equal(batch.visible()[0], near | np.eye(12, dtype=bool))


def test_two_agents_collide_at_twice_the_radius_and_not_beyond():
    batch = make(n_agents=2, size=32, radius=2, collision_cost=3.0)
    place(batch, (10, 10, 0), (15, 10, 2))
    step = batch.step([[STAY, STAY]])
    assert step.reward.tolist() == [[0, 0]], "5 apart"
    step = batch.step([[RIGHT, STAY]])
    assert step.reward.tolist() == [[1 - 3, -3]], "4 apart: 2 R"


def test_hunters_leave_nobody_but_prey():
    """A matrix need not be symmetric: label 1 pays for meeting label 0, and not the other way round."""
    batch = make(n_agents=3, size=16, n_labels=2, collides=[[0, 0], [1, 0]], remove_on_collision=True)
    place(batch, (0, 0, 0, 0), (2, 0, 0, 1), (4, 0, 0, 1))
    step = batch.step([[STAY, STAY, STAY]])
    assert step.reward.tolist() == [[0, -1, 0]]
    assert step.terminated.tolist() == [[False, True, False]]


@pytest.mark.parametrize("collides", ["all", "same", "different"])
def test_each_rule_of_labels_is_a_matrix(collides):
    same = np.eye(3, dtype=int)
    matrix = {"all": same * 0 + 1, "same": same, "different": 1 - same}[collides].tolist()
    by_name = make(8, n_agents=6, size=16, n_labels=3, collides=collides)
    by_matrix = make(8, n_agents=6, size=16, n_labels=3, collides=matrix)
    for _ in range(30):
        actions = by_name.scripted("yield")
        np.testing.assert_array_equal(actions, by_matrix.scripted("yield"))
        np.testing.assert_array_equal(by_name.step(actions).reward, by_matrix.step(actions).reward)


def test_agents_meet_across_the_seam():
    batch = make(n_agents=2, size=16, shape="square")
    place(batch, (15, 15, 0), (1, 1, 0))
    assert batch.step([[STAY, STAY]]).reward.tolist() == [[-1, -1]]
    walled = make(n_agents=2, size=16, shape="square", topology="cylinder")
    place(walled, (15, 15, 0), (1, 1, 0))
    assert walled.step([[STAY, STAY]]).reward.tolist() == [[0, 0]]


def test_reward_is_minus_one_against_the_heading_and_a_wall_gives_nothing():
    batch = make(n_agents=1, size=16, topology="cylinder")
    place(batch, (15, 3, 0))
    assert batch.step([[RIGHT]]).reward[0, 0] == 0
    assert batch.step([[LEFT]]).reward[0, 0] == -1
    assert batch.step([[RIGHT]]).reward[0, 0] == 1
    assert batch.step([[UP]]).reward[0, 0] == 0


def test_colliding_agents_leave_when_asked():
    batch = make(n_agents=3, size=16, remove_on_collision=True)
    place(batch, (0, 0, 0), (3, 0, 2), (8, 8, 0))
    step = batch.step([[RIGHT, STAY, STAY]])
    assert step.terminated.tolist() == [[True, True, False]]
    assert step.reward.tolist() == [[0, -1, 0]]
    assert batch.alive.tolist() == [[False, False, True]]
    place(batch, (0, 0, 0), (3, 0, 2), (1, 0, 0))
    assert batch.step([[STAY, STAY, STAY]]).reward.tolist() == [[0, 0, 0]], "who left is not there"


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40),
    st.integers(0, 3),
    st.sampled_from(["torus", "cylinder"]),
    st.sampled_from([16, 32, 48]),
    st.integers(0, 2**32),
)
def test_spawn_never_overlaps(n, radius, topology, size, seed):
    given_ = {"n_agents": n, "radius": radius, "topology": topology, "size": size, "shape": "square"}
    try:
        batch = interact_env.make_batch("colliding_agents_v0", 3, seed=seed, **given_)
    except DoesNotFit:
        return
    batch.reset()
    for b in range(3):
        state = batch.state(b)
        gap = np.abs(gaps(batch, state, topology == "torus")).max(-1)
        assert (gap[~np.eye(n, dtype=bool)] > 2 * radius).all()
        assert (state.x >= 0).all()
        assert (state.x < size).all()


def test_a_full_arena_can_be_filled_and_one_more_is_refused():
    make(n_agents=25, size=16)
    with pytest.raises(
        DoesNotFit, match="at most 25 agents of radius 1 start side by side on a torus of 16 x 16"
    ):
        make(n_agents=26, size=16)
    make(n_agents=30, size=16, topology="cylinder")
    with pytest.raises(DoesNotFit, match="at most 30"):
        make(n_agents=31, size=16, topology="cylinder")
    with pytest.raises(DoesNotFit, match="n_agents=26 do not fit"):
        make(n_agents=(2, 99), size=16)


def test_spawn_covers_the_arena_and_the_headings():
    batch = make(2000, n_agents=3, n_labels=3)
    for name, n in (("x", 16), ("y", 16), ("heading", 4), ("label", 3)):
        counts = np.bincount(getattr(batch._state, name).ravel(), minlength=n)
        assert counts.shape == (n,)
        assert counts.min() > 0.8 * 6000 / n
        assert counts.max() < 1.2 * 6000 / n


@pytest.mark.parametrize(
    ("n", "side"), [(1, 16), (8, 16), (9, 32), (32, 32), (128, 64), (512, 128), (2048, 256)]
)
def test_the_arena_grows_with_the_agents(n, side):
    assert make(n_agents=n).state().size[0] == side


def test_the_arena_follows_the_count_of_the_episode():
    batch = make(200, n_agents=(1, 40), density=1 / 32)
    expected = 16 * np.ceil(np.sqrt(batch.n_agents * 32) / 16)
    np.testing.assert_array_equal(batch._state.size[:, 0], expected)


@pytest.mark.parametrize("shift", [(3, 0), (0, 5), (7, 11)])
def test_translating_the_world_changes_nothing_else(shift):
    here, there = make(n_agents=8, shape="square"), make(n_agents=8, shape="square")
    there._state.x[:] = (there._state.x + shift[0]) % 16
    there._state.y[:] = (there._state.y + shift[1]) % 16
    for _ in range(20):
        actions = here.scripted("yield")
        np.testing.assert_array_equal(there.scripted("yield"), actions)
        np.testing.assert_array_equal(here.step(actions).reward, there.step(actions).reward)


def test_permuting_the_agents_permutes_everything():
    here, there = make(n_agents=8), make(n_agents=8)
    order = np.random.default_rng(0).permutation(8)
    for name in ("x", "y", "heading", "label"):
        getattr(there._state, name)[0] = getattr(here._state, name)[0][order]
    for _ in range(20):
        actions = here.scripted("random")
        reward, shuffled = here.step(actions).reward, there.step(actions[:, order]).reward
        np.testing.assert_array_equal(reward[:, order], shuffled)
        np.testing.assert_array_equal(here.rows[:, order], there.rows)


def test_scripted_policies_do_what_they_say():
    batch = make(20, n_agents=8, shape="square")
    assert (batch.scripted("move_right") == RIGHT).all()
    np.testing.assert_array_equal(batch.scripted("go_ahead"), batch._state.heading + 1)
    totals = {}
    for name in ("random", "go_ahead", "yield"):
        batch.reset(seed=1)
        totals[name] = np.mean([batch.step(batch.scripted(name)).reward.mean() for _ in range(100)])
    assert totals["random"] < totals["go_ahead"] < totals["yield"]


def test_yield_gives_way_to_what_it_sees():
    batch = make(n_agents=2, size=16, shape="square")
    place(batch, (4, 4, 0), (12, 12, 0))
    assert batch.scripted("yield")[0, 0] == RIGHT, "nobody near"
    place(batch, (4, 4, 0), (8, 4, 2))
    assert batch.scripted("yield")[0, 0] != RIGHT, "a head-on meeting"


def test_scene_shows_the_agents_and_flashes_collisions():
    batch = make(n_agents=3, size=16, n_labels=3)
    place(batch, (2, 3, 0, 1), (3, 3, 1, 2), (10, 10, 2, 0))
    scene = batch.scene()
    assert (scene.width, scene.height, scene.wrap) == (16, 16, (True, True))
    assert [(c.x, c.y, c.radius, c.color, c.flash) for c in scene.circles] == [
        (2.5, 3.5, 1, 1, True), (3.5, 3.5, 1, 2, True), (10.5, 10.5, 1, 0, False)
    ]  # fmt: skip
    assert [(a.dx, a.dy) for a in scene.arrows] == [(1, 0), (0, 1), (-1, 0)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_agents": 0}, r"n_agents must be a whole number in \[1, 1048576\], not 0"),
        ({"n_agents": 2.5}, r"n_agents must be a whole number in \[1, 1048576\], not 2.5"),
        ({"n_agents": True}, "n_agents must be a whole number"),
        ({"n_agents": (5, 2)}, r"n_agents must be a \(low, high\) pair with low <= high"),
        ({"n_agents": (1, 2, 3)}, r"n_agents must be a whole number, a \(low, high\) pair or a list of"),
        ({"radius": -1}, r"radius must be a whole number in \[0, 32768\], not -1"),
        ({"collides": "some"}, "collides must be one of 'all', 'same', 'different', not 'some'"),
        ({"collides": [[1, 0]], "n_labels": 2}, r"collides must be one of 'all', .* or a matrix of 2 x 2"),
        ({"collides": [[1, 0], [1]], "n_labels": 2}, "or a matrix of 2 x 2"),
        ({"collides": [[1, 2], [0, 0]], "n_labels": 2}, "or a matrix of 2 x 2"),
        ({"collides": [[1]], "n_labels": 2}, "or a matrix of 2 x 2"),
        ({"shape": "round"}, "shape must be one of 'disc', 'square'"),
        ({"topology": "sphere"}, "topology must be one of 'torus', 'cylinder'"),
        ({"headings": 4}, "headings must be one of 'four', 'right', not 4"),
        ({"n_labels": 0}, "n_labels must be a whole number"),
        ({"collision_cost": float("nan")}, "collision_cost must be a finite number >= 0 and <= 1e"),
        ({"collision_cost": "1"}, "collision_cost must be a finite number"),
        ({"remove_on_collision": 1}, "remove_on_collision must be True or False, not 1"),
        ({"vision_radius": 9}, "vision_radius must be a finite number >= 0 and <= 8, not 9"),
        ({"vision_radius": "far"}, "vision_radius must be a number, None or 'auto', not 'far'"),
        ({"size": 20}, "size must be a multiple of period=16, not 20"),
        ({"size": 16, "density": 0.1}, "give size or density, not both"),
        ({"density": 0}, "density must be a finite number > 0 and <= 1, not 0"),
        ({"period": 2}, "period must be a whole number in"),
        ({"size": 2, "period": 3}, "size must be a whole number in"),
        ({"radius": 2**63}, "radius must be a whole number in"),
        ({"collision_cost": 1e39}, "collision_cost must be a finite number"),
        ({"max_cycles": 0}, "max_cycles must be a whole number in .*, not 0"),
        ({"speed": 2}, "colliding_agents_v0 has no parameter 'speed'; it has: n_agents, size"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        make(**parameters)
