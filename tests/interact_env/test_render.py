"""What must be visible is: known scenes have known colours at known pixels."""

import copy
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import interact_env
from interact_env.render import (
    Arrow,
    Bar,
    Circle,
    Label,
    Line,
    Link,
    Look,
    Moment,
    Overlay,
    Renderer,
    Scene,
    Viewer,
    between,
    draw,
    moment,
)
from interact_env.render.camera import Camera
from interact_env.render.scene import checked
from interact_env.render.steering import ManualPolicy
from interact_env.render.style import (
    AGAINST,
    ATTENTION,
    BACKGROUND,
    EDGE,
    FLASH,
    INK,
    LOW_TO_HIGH,
    MARK,
    PALETTE,
    PAPER,
    VOID,
    asset,
    graded,
    mix,
)

BARE = Look(status=False)
TORUS = (True, True)


def rgb(color):
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


def holds(frame, color):
    return (frame == rgb(color)).all(-1).any()


def written(frame):
    """Whether there are letters: small ones are nowhere quite as dark as ink."""
    return frame.max(-1).min() < 110


def test_known_shapes_are_at_known_places():
    scene = Scene(
        10, 10, (False, True),
        circles=(Circle(2, 3, 1, 0), Circle(7, 3, 1, 1, flash=True)), arrows=(Arrow(5, 5, 0, 3),),
    )  # fmt: skip
    frame = draw(scene, 400)
    assert frame.shape == (400, 400, 3)
    assert frame.dtype == np.uint8
    assert frame[280, 80].tolist() == rgb(PALETTE[0]), "y points up"
    assert frame[280, 280].tolist() == rgb(PALETTE[1])
    assert frame[280, 280 + 37].tolist() == rgb(FLASH), "the rim of what collides"
    assert frame[150, 200].tolist() == rgb(INK), "the arrow"
    assert frame[50, 350].tolist() == rgb(BACKGROUND) or frame[50, 350].min() > 220
    assert frame[100, 1].tolist() == rgb(EDGE), "a wall"
    assert frame[1, 100].min() > 220, "no wall where the world wraps"


def test_a_circle_shows_on_both_sides_of_a_seam():
    frame = draw(Scene(10, 10, TORUS, (Circle(0, 0, 1, 2),)), 200)
    for corner in ((1, 1), (1, 198), (198, 1), (198, 198)):
        assert frame[corner].tolist() == rgb(PALETTE[2])
    walled = draw(Scene(10, 10, (False, False), (Circle(0, 5, 1, 2),)), 200)
    assert walled[100, 12].tolist() == rgb(PALETTE[2])
    assert walled[100, 190].min() > 220


def test_a_wide_world_keeps_its_shape():
    assert draw(Scene(20, 10, TORUS), 100).shape == (50, 100, 3)


def test_a_line_of_attention_joins_two_agents_the_short_way():
    circles = (Circle(2, 5, 0.5, 0, agent=4), Circle(8, 5, 0.5, 0, agent=7), Circle(5, 2, 0.5, 0, agent=1))
    links = (Link(4, 7, 1.0), Link(4, 1, -1.0), Link(4, 99, 1.0))
    across = Viewer(size=400).draw(Scene(10, 10, TORUS, circles), BARE, Overlay(links=links))
    for x in (20, 380):
        assert across[200, x].tolist() == rgb(ATTENTION), "through the seam"
    assert across[200, 200].min() > 220
    assert across[260, 140].tolist() == rgb(AGAINST), "a weight below 0 has another colour"
    direct = Viewer(size=400).draw(Scene(10, 10, (False, False), circles), BARE, Overlay(links=links))
    assert direct[200, 200].tolist() == rgb(ATTENTION)
    assert direct[200, 30].min() > 220


def test_the_larger_a_weight_the_wider_its_line():
    circles = tuple(Circle(2 if k % 2 else 8, 2 + k // 2 * 3, 0.3, 0, agent=k) for k in range(6))
    links = (Link(0, 1, 1.0), Link(2, 3, 0.5), Link(4, 5, 0.1))
    frame = Viewer(size=400).draw(Scene(10, 10, (False, False), circles), BARE, Overlay(links=links))
    column = frame[:, 200].astype(int)
    widths = [(column[400 - y * 40 - 12 : 400 - y * 40 + 12].max(-1) < 230).sum() for y in (2, 5, 8)]
    assert widths[0] > widths[1] > widths[2] >= 1


def test_a_camera_that_follows_shows_every_agent_once():
    circles = tuple(Circle(x, y, 0.4, 0, agent=k) for k, (x, y) in enumerate([(0.5, 0.5), (9, 9), (5, 5)]))
    scene = Scene(10, 10, TORUS, circles)
    frame = Viewer(size=400).draw(scene, BARE._replace(follow=0))
    assert frame[200, 200].tolist() == rgb(PALETTE[0]), "it is in the middle"
    assert frame[200 + 60, 200 - 60].tolist() == rgb(PALETTE[0]), "its neighbour across the corner beside it"
    near = Viewer(size=400).draw(scene, BARE._replace(follow=0, zoom=4.0))
    assert near[200, 200 + 50].tolist() == rgb(PALETTE[0]), "four times as large"
    assert Camera.of(Scene(10, 10, (False, False)), Look(zoom=4, centre=(0, 10)), 80, 80).x == 1.25


@given(
    x=st.floats(-20, 20), y=st.floats(-20, 20), zoom=st.floats(1, 30), at=st.tuples(*2 * [st.floats(-9, 19)])
)
@settings(deadline=None)
def test_pixels_and_places_are_each_others_inverse(x, y, zoom, at):
    camera = Camera.of(Scene(12, 9, (True, False)), Look(zoom=zoom, centre=at), 300, 200)
    assert camera.point(*camera.pixel(x, y)) == pytest.approx((x, y), abs=1e-6)
    left, bottom, right, top = camera.edges
    assert right - left <= 12 + 1e-9
    assert top - bottom <= 9 + 1e-9
    shown = camera.images(x, min(max(y, 0), 9), 0)
    assert len(shown) <= 2, "once, or on both edges"
    for image_x, _ in shown:
        assert (image_x - x) / 12 == pytest.approx(round((image_x - x) / 12), abs=1e-9)


def test_what_lies_around_the_world_is_no_world():
    frame = Viewer(size=(400, 200)).draw(Scene(10, 10, TORUS), BARE)
    assert frame[100, 20].tolist() == rgb(VOID)
    assert frame[104, 204].tolist() == rgb(BACKGROUND)


def test_lines_labels_and_thrust_are_drawn():
    scene = Scene(
        10, 10, (False, False),
        lines=(Line(1, 1, 9, 1, color=3),), arrows=(Arrow(2, 5, 6, 0, color=6),),
        labels=(Label(3, 8, "here"),),
    )  # fmt: skip
    frame = Viewer(size=600).draw(scene, BARE)
    assert frame[540, 330].tolist() == rgb(PALETTE[3])
    assert frame[300, 240].tolist() == rgb(PALETTE[6])
    assert written(frame[80:160, 160:300])


def test_what_lies_deep_is_pale_and_behind():
    circles = (Circle(5, 5, 2, 0, z=0.4), Circle(6, 5, 2, 1, z=-0.4))
    frame = Viewer(size=400).draw(Scene(10, 10, TORUS, circles), BARE)
    assert frame[200, 220].tolist() == rgb(PALETTE[0]), "the nearest as it is"
    pale = mix(tuple(rgb(PALETTE[1])), tuple(rgb(BACKGROUND)), 0.6)
    assert frame[200, 300].tolist() == list(pale), "the deepest of those there are the palest"


def trailed(**look):
    trail = tuple(np.array([[x, 5.0]]) for x in (8.0, 9.0, 9.9))
    now = Moment(Scene(10, 10, TORUS, (Circle(1, 5, 0.4, 0, agent=0),)), trail=trail)
    return Viewer(size=400).draw(now, BARE._replace(**look))


def test_a_trail_fades_and_crosses_the_seam():
    frame = trailed()
    assert frame[200, 394].max() < 240
    assert frame[200, 5].max() < 240, "on the other side of the seam"
    assert frame[200, 200].min() > 220, "and not across the world"
    assert frame[200, 340].min() > frame[200, 394].min(), "paler the longer ago"
    assert trailed(trails=False)[200, 394].min() > 220


def test_colours_by_return_are_those_of_the_legend():
    circles = tuple(Circle(2 + 3 * k, 5, 1, 0, agent=k) for k in range(3))
    now = Moment(Scene(10, 10, TORUS, circles), returns=np.array([-2.0, 0.0, 2.0]))
    frame = Viewer(size=400).draw(now, BARE._replace(color="return"))
    assert frame[200, 80].tolist() == rgb(LOW_TO_HIGH[0])
    assert frame[200, 200].tolist() == list(graded(0.5))
    assert frame[200, 320].tolist() == rgb(LOW_TO_HIGH[-1])
    assert written(frame[:50, 250:]), "its numbers"
    same = now._replace(returns=np.zeros(3))
    assert Viewer(size=400).draw(same, BARE._replace(color="return"))[200, 80].tolist() == rgb(LOW_TO_HIGH[0])


def test_the_selected_agent_is_marked_and_numbers_are_shown():
    scene = Scene(10, 10, TORUS, (Circle(5, 5, 1, 1, agent=0), Circle(2, 2, 1, 1, agent=1)))
    frame = Viewer(size=400).draw(scene, BARE._replace(selected=0))
    assert holds(frame[200, 235:250], MARK)
    assert not holds(frame[320, 110:130], MARK)
    assert not written(frame[180:220, 180:220])
    assert written(Viewer(size=400).draw(scene, BARE._replace(numbers=True))[180:220, 180:220])


@pytest.mark.parametrize("size", [(64, 64), (96, 300), (200, 200), (333, 517), (3840, 2160)])
def test_every_size_is_legible_or_says_nothing(size):
    scene = Scene(10, 10, TORUS, (Circle(5, 5, 1, 0, agent=0),))
    now = Moment(scene, step=3, limit=9, n_agents=1, returns=np.ones(1), collisions=0.0)
    card = (Bar("value", "1.0"), Bar("right", "0.4", 0.4))
    frame = Viewer(size=size).draw(now, Look(selected=0), Overlay(title="a run", card=card, note="paused"))
    width, height = size
    assert frame.shape == (height, width, 3)
    middle = frame[height // 2 - height // 20 : height // 2 + height // 20 + 2, width // 2]
    assert rgb(PALETTE[0]) in middle.tolist()
    words = (frame[: height // 25] == rgb(PAPER)).all(-1).mean()
    assert (words > 0.3) == (min(size) >= 160), "a status line where there is room for one"


def test_the_status_line_drops_what_does_not_fit():
    from interact_env.render import panels

    now = Moment(Scene(1, 1, TORUS), step=100, limit=128, n_agents=4096, returns=np.ones(1), collisions=2.0)
    names = [fact.name for fact in panels.facts_of(now)]
    assert names == ["step", "agents", "return", "collisions"]
    assert "collisions" not in [fact.name for fact in panels.facts_of(now._replace(collisions=None))]
    frame = Viewer(size=(170, 400)).draw(now, Look(), Overlay(title="a very long name of a run" * 3))
    assert written(frame[:18])


def test_a_page_of_keys_lies_over_everything():
    scene = Scene(10, 10, TORUS, (Circle(5, 5, 4, 0),))
    keys = tuple((str(k), "does something") for k in range(20))
    frame = Viewer(size=400).draw(scene, BARE, Overlay(help=keys))
    assert not holds(frame[190:210, 190:210], PALETTE[0])
    assert frame[200, 200].min() > 100


def test_between_two_scenes_agents_are_on_their_way():
    before = Scene(
        10, 10, TORUS, (Circle(9.5, 5, 1, 0, agent=0), Circle(1, 1, 1, 0, agent=1)),
        (Arrow(9.5, 5, 1, 0, agent=0),), (Line(9.5, 5, 1, 1, agent=0), Line(0, 0, 1, 1)),
    )  # fmt: skip
    after = before._replace(
        circles=(Circle(0.5, 5, 1, 0, True, 0),), arrows=(Arrow(0.5, 5, 0, 1, agent=0),),
        lines=(Line(0.5, 5, 1, 1, agent=0), Line(5, 5, 6, 6)),
    )  # fmt: skip
    half = between(before, after, 0.5)
    assert half.circles[0] == Circle(10.0, 5, 1, 0, False, 0), "across the seam, and no event yet"
    assert half.circles[1] == before.circles[1], "who leaves stays until then"
    assert half.arrows[0] == Arrow(10.0, 5, 0.5, 0.5, agent=0)
    assert half.lines == (Line(10.0, 5, 1, 1, agent=0), Line(0, 0, 1, 1))
    assert between(before, after._replace(width=20), 0.5) == before, "another arena"
    assert between(before, after, 0.0) == before


@pytest.mark.parametrize("world", ["colliding_agents_v0", "springs_v0", "n_body_v0"])
def test_every_world_is_drawn(world):
    env = interact_env.make(world, n_agents=5, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (600, 600, 3)
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 3
    env.close()


@pytest.mark.parametrize("world", ["colliding_agents_v0", "n_body_v0"])
def test_every_agent_is_drawn_where_it_is(world):
    batch = interact_env.make_batch(world, 1, n_agents=40, seed=3, dims=3) if world == "n_body_v0" else (
        interact_env.make_batch(world, 1, n_agents=40, seed=3)
    )  # fmt: skip
    batch.reset()
    for _ in range(5):
        batch.step(batch.scripted("random"))
    viewer, look = Viewer(batch, 1000), BARE
    frame, scene = viewer.draw(None, look), batch.scene()
    assert sorted(scene.places()) == np.flatnonzero(batch.alive[0]).tolist()
    for agent, place in scene.places().items():
        x, y = viewer.camera(None, look).pixel(*place)
        assert viewer.agent_at(None, look, (x, y)) in scene.places()
        assert frame[min(int(y), 999), min(int(x), 999)].tolist() != rgb(BACKGROUND), agent


def test_human_mode_opens_a_window_and_closes_it(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    env = interact_env.make("colliding_agents_v0", n_agents=3, render_mode="human")
    env.reset(seed=0)
    assert pygame.display.get_init()
    assert env.render() is None
    env.step(dict.fromkeys(env.agents, 0))
    twin = copy.deepcopy(env)
    np.testing.assert_array_equal(twin.state(), env.state())
    env.close()
    assert not pygame.display.get_init()


@pytest.mark.parametrize("world", ["colliding_agents_v0", "n_body_v0"])
def test_drawing_changes_nothing(world):
    drawn = interact_env.make(world, n_agents=(3, 6), render_mode="rgb_array", max_cycles=20)
    plain = interact_env.make(world, n_agents=(3, 6), max_cycles=20)
    frames = []
    for env in (drawn, plain):
        env.reset(seed=5)
        for agent in env.possible_agents:
            env.action_space(agent).seed(1)
    while drawn.agents:
        frames.append(drawn.render())
        actions = {agent: drawn.action_space(agent).sample() for agent in drawn.agents}
        for there, alone in zip(drawn.step(actions), plain.step(actions), strict=True):
            np.testing.assert_equal(there, alone)
        for name, array in drawn.batch.save().items():
            np.testing.assert_array_equal(array, plain.batch.save()[name], strict=True)
    assert len({frame.tobytes() for frame in frames}) == len(frames) > 5, "frames are not constant"


def test_frames_tell_returns_and_collisions_since_the_start():
    batch = interact_env.make_batch("colliding_agents_v0", 2, n_agents=12, size=16, seed=0, max_cycles=30)
    batch.reset()
    now, returns, collisions = moment(batch, 1), np.zeros(12), 0.0
    for step in range(1, 31):
        batch.step(batch.scripted("random"))
        now = now.then(batch, 1)
        returns += batch.reward[1]
        collisions += batch.metrics[1, :, 1].sum() / 12
        assert (now.step, now.limit, now.n_agents) == (step, 30, 12)
        assert len(now.trail) == min(step, 12)
    np.testing.assert_allclose(now.returns, returns)
    assert now.collisions == pytest.approx(collisions)
    assert collisions > 0
    batch.reset()
    first = now.then(batch, 1)
    assert (first.step, first.trail, first.collisions, first.returns.sum()) == (0, (), 0.0, 0.0)


def test_a_restored_env_is_drawn_as_it_is():
    env = interact_env.make("colliding_agents_v0", n_agents=3, render_mode="rgb_array")
    env.reset(seed=0)
    saved, first = env.batch.save(), env.render()
    env.step(dict.fromkeys(env.agents, 1))
    assert (env.render() != first).any()
    env.batch.restore(saved)
    again = env.render()
    assert (again[40:] == first[40:]).mean() > 0.99


def test_a_viewer_draws_states_and_episodes_in_two_lines():
    env = interact_env.make("n_body_v0", n_agents=3)
    env.reset(seed=0)
    frame = Viewer(env).draw()
    assert frame.shape == (800, 800, 3)
    state = env.batch.state()
    np.testing.assert_array_equal(Viewer(env, 200).draw(state, BARE), Viewer(env.batch, 200).draw(None, BARE))
    for bad, message in (
        (lambda: Viewer().draw(state), "cannot draw a State: make the Viewer of a batch or an env"),
        (lambda: Viewer(env).draw(3), "what must be a Moment, a Scene or a State, not a int"),
        (lambda: Viewer(env, 3), "width must be .* not 3"),
        (lambda: Viewer(env).draw(look=Look(color="blue")), "look.color must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            bad()


def test_bad_modes_are_named():
    with pytest.raises(ValueError, match="render_mode must be None or one of"):
        interact_env.make("colliding_agents_v0", render_mode="ascii")
    env = interact_env.make("colliding_agents_v0")
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match=r"render\(\) needs a render_mode"):
        Renderer(None).render(env.batch)
    with pytest.raises(RuntimeError, match=r"render\(\) needs a render_mode"):
        env.render()


def test_a_missing_display_is_one_clear_line(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    env = interact_env.make("colliding_agents_v0", render_mode="human")
    with pytest.raises(
        OSError, match=r"no display to open a window on .*: record .* or use render_mode='rgb"
    ):
        env.reset(seed=0)


def test_a_display_that_does_not_answer_is_no_display(monkeypatch):
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":4242")
    import pygame

    env = interact_env.make("colliding_agents_v0", render_mode="human")
    with pytest.raises(OSError, match=r"no display to open a window on \(.*4242"):
        env.reset(seed=0)
    assert not pygame.display.get_init()


def test_envs_have_windows_of_their_own_and_one_that_was_closed_stays_closed(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    envs = [interact_env.make("colliding_agents_v0", n_agents=2, render_mode="human") for _ in range(2)]
    with pytest.raises(RuntimeError, match="no window yet: reset"):
        ManualPolicy(envs[0])(None, "agent_0")
    for env in envs:
        env.reset(seed=0)
    first, second = (env.renderer._window._window for env in envs)
    assert first is not second
    pygame.event.post(pygame.Event(pygame.WINDOWCLOSE, window=first))
    for env in reversed(envs):
        env.step(dict.fromkeys(env.agents, 0))
    assert [env.renderer.closed for env in envs] == [True, False]
    assert envs[0].render() is None
    assert envs[0].renderer._window is None, "it stays closed"
    with pytest.raises(SystemExit):
        ManualPolicy(envs[0])(None, "agent_0")
    envs[1].step(dict.fromkeys(envs[1].agents, 0))
    envs[1].close()
    assert not pygame.display.get_init()


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (None, "must be an interact_env.render.Scene, not NoneType"),
        (Scene(0, 1, TORUS), "width and height must be finite and above 0, not 0, 1"),
        (Scene(1, np.inf, TORUS), "width and height must be finite"),
        (Scene("a", 1, TORUS), "width and height must be finite"),
        (Scene(1, 1, TORUS, (Circle(0, 0, 1, 0), Circle(np.nan, 0, 1, 0))), "those of Circle(x=nan"),
        (Scene(1, 1, TORUS, (Circle(0, 0, 1, 0, z=np.inf),)), "those of Circle(x=0"),
        (Scene(1, 1, TORUS, (Circle(0, 0, 1, "red"),)), "every number must be finite"),
        (Scene(1, 1, TORUS, (Circle(0, 0, 1, (1, 2, 3)),)), "every number must be finite"),
        (Scene(1, 1, TORUS, (Circle(0, 0, 1, 0.5),)), "color must be a whole number"),
        (Scene(1, 1, TORUS, labels=(Label(0, 0, 5),)), "a label needs finite x and y and a text"),
        (Scene(1, 1, TORUS, labels=(Label(0, 0, "a\0"),)), "a label needs finite x and y and a text"),
        (Scene(1, 1, TORUS, labels=(Label(0, np.nan, "a"),)), "a label needs finite x and y and a text"),
    ],
)
def test_a_scene_that_cannot_be_drawn_is_refused_with_what_is_wrong(scene, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the text is compared below, unescaped
        checked(scene)
    assert message in str(error.value)
    if scene is not None:
        with pytest.raises(ValueError, match=re.escape(message)):
            Viewer().draw(scene)


def test_a_scene_of_numpys_numbers_can_be_drawn():
    one = np.float32(1)
    circles = (Circle(one, np.array(1), one, np.int64(0), flash=np.True_, agent=np.int8(0)),)
    Viewer(size=64).draw(Scene(np.int32(4), np.float64(4), (np.True_, np.False_), circles), BARE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Viewer(5), "source must be a batch or an env, not a int"),
        (lambda: Viewer(size=1.5), "width must be a whole number in [16, 8192]"),
        (lambda: Viewer(size=(1, 2, 3)), "size must be (width, height) or a number"),
        (lambda: Viewer(size="800x600"), "width must be a whole number"),
        (lambda: Viewer(size=10**5), "width must be a whole number"),
        (lambda: Viewer().draw(Scene(1, 1, TORUS), Look(zoom=0)), "look.zoom must be"),
        (lambda: Viewer().draw(Scene(1, 1, TORUS), Look(zoom=np.nan)), "look.zoom must be"),
        (lambda: draw(Scene(1, 1, TORUS), 0), "size must be a whole number"),
    ],
)
def test_a_viewer_refuses_what_it_cannot_do(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_a_card_that_would_cover_the_picture_and_numbers_that_would_are_left_out():
    scene = Scene(
        100, 100, TORUS, tuple(Circle(i % 10 * 10, i // 10 * 10, 0.4, 0, agent=i) for i in range(100))
    )
    rows = tuple(Bar("action", "0.5", 0.5) for _ in range(9))
    small, plain = Viewer(size=150), Look(status=False)
    np.testing.assert_array_equal(small.draw(scene, plain, Overlay(card=rows)), small.draw(scene, plain))
    np.testing.assert_array_equal(small.draw(scene, plain._replace(numbers=True)), small.draw(scene, plain))
    large = Viewer(size=900)
    assert (large.draw(scene, plain, Overlay(card=rows)) != large.draw(scene, plain)).any()
    assert (large.draw(scene, plain._replace(numbers=True)) != large.draw(scene, plain)).any()


def test_a_word_at_the_edge_is_seen_whole():
    def ink(x, y):
        scene = Scene(10, 10, (False, False), labels=(Label(x, y, "a long label"),))
        return int((Viewer(size=300).draw(scene, BARE).max(-1) < 100).sum())

    assert ink(9.9, 9.9) == pytest.approx(ink(3, 5), rel=0.1)


def test_fonts_and_icon_are_installed():
    assert asset("B612-Regular.otf").stat().st_size > 10_000
    assert asset("icon.png").stat().st_size > 100
    with pytest.raises(FileNotFoundError, match=r"assets/no.png is missing: install"):
        asset("no.png")
