"""Keys and mouse of the viewer, without a screen; and what the commands refuse."""

import itertools
import re

import numpy as np
import pygame
import pytest
from cli import is_one_line
from saved_runs import untrained

from interact_env import colliding_agents_v0, n_body_v0
from interact_env.render import Look, paint
from interact_env.render.style import ATTENTION, MARK, rgb
from train import checkpoint, evaluate
from train.cli import main
from train.commands.watch import pixels
from train.player import Player
from train.session import Session
from train.stage import Stage


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.init()
    made = Session(Stage([player(tmp_path, seed) for seed in (0, 1)], Look()), speed=10)
    made.size = (800, 420)
    yield made
    pygame.display.quit()


def player(tmp_path, weights):
    saved = checkpoint.load(untrained(tmp_path / str(weights), seed=weights, n_agents=20))
    network = saved.policy()
    return Player(f"run {weights}", saved.batch(max_cycles=10), evaluate.learned(network), network, seed=7)


def press(session, *names):
    for name in names:
        key = {"?": pygame.K_SLASH, "+": pygame.K_PLUS}.get(name) or pygame.key.key_code(name)
        session.handle(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=name if len(name) == 1 else ""))


def mouse(session, kind, pos, **more):
    session.handle(pygame.event.Event(kind, pos=pos, **more))


def frame(session):
    return paint.array(session.picture(60))


def steps(session):
    return [shown.now.step for shown in session.stage.players]


def test_the_same_seed_starts_both_runs_alike(session):
    left, right = (shown.batch for shown in session.stage.players)
    np.testing.assert_array_equal(left.rows, right.rows)
    for _ in range(5):
        session.tick(0.1)
    assert steps(session) == [5, 5]
    assert (left.rows != right.rows).any(), "other weights, other ways"


def test_time_passes_at_the_speed_that_is_set_and_agents_glide(session):
    session.tick(0.05)
    seen = {frame(session)[40:].tobytes()}
    for _ in range(4):
        session.tick(0.01)
        seen.add(frame(session)[40:].tobytes())
    assert steps(session) == [1, 1], "half a step after the first"
    assert len(seen) == 5
    press(session, "+")
    session.tick(0.1)
    assert session.speed == 20
    assert steps(session)[0] in (2, 3)
    press(session, "-", "-")
    assert session.speed == 5


def test_pause_step_and_back(session):
    session.tick(0.25)
    press(session, "space")
    before = steps(session)
    still = frame(session)
    session.tick(5)
    assert steps(session) == before
    np.testing.assert_array_equal(frame(session), still)
    press(session, ".", "right")
    assert steps(session) == [k + 2 for k in before]
    press(session, ",", "left", "left")
    assert steps(session) == [k - 1 for k in before]
    press(session, "r")
    assert steps(session) == [0, 0]
    press(session, "space")
    session.tick(0.1)
    assert steps(session) == [1, 1]


def test_the_end_stays_for_a_second_and_then_the_next_episode_begins(session):
    for _ in range(11):
        session.tick(0.1)
    assert steps(session) == [10, 10]
    over = frame(session)
    session.tick(0.5)
    np.testing.assert_array_equal(frame(session)[40:], over[40:])
    session.tick(0.6)
    assert steps(session) == [0, 0]
    assert [int(shown.batch.episode[0]) for shown in session.stage.players] == [1, 1]
    press(session, "e")
    assert session.stage.players[0].batch.episode[0] == 2


def test_a_click_selects_an_agent_and_shows_its_attention(session):
    press(session, "space")
    shown, (left, width) = session.stage.players[1], session.stage.pane(session.size, 1)
    agent = next(k for k in range(20) if shown.inspect(k).links)
    camera_of = session._camera((left + 1, 1))
    x, y = camera_of.pixel(*shown.now.scene.places()[agent])
    strip = session.size[1] - camera_of.height
    assert not (frame(session) == ATTENTION).all(-1).any()
    mouse(session, pygame.MOUSEBUTTONDOWN, (left + x, y + strip), button=1)
    mouse(session, pygame.MOUSEBUTTONUP, (left + x, y + strip), button=1)
    assert session.stage.look.selected == session.stage.look.follow == agent
    picture = frame(session)
    for k in range(2):
        pane = picture[:, left * k : left * k + width]
        assert (pane == rgb(MARK)).all(-1).any(), "it is marked in both"
    assert (picture[:, left:] == rgb(ATTENTION)).all(-1).any()
    mouse(session, pygame.MOUSEBUTTONDOWN, (2, 2), button=1)
    session.stage.look = session.stage.look._replace(follow=-1)
    press(session, "f")
    assert session.stage.look.follow == agent
    press(session, "f", "tab")
    assert session.stage.look.selected == (agent + 1) % 20


def test_keys_cycle_layers_and_heads(session):
    press(session, "space", "tab")
    told = []
    for _ in range(3):
        told.append({bar.name: bar.value for bar in session.stage._seen[0].card}["head"])
        press(session, "h")
    assert told == ["mean of 2", "1 of 2", "2 of 2"]
    layers = []
    for _ in range(3):
        layers.append({bar.name: bar.value for bar in session.stage._seen[0].card}["layer"])
        press(session, "l")
    assert layers == ["2 of 2", "1 of 2", "2 of 2"]


def test_toggles_change_the_picture(session):
    session.tick(0.35)
    press(session, "space")
    for key in ("t", "a", "n", "c", "?"):
        before = frame(session)
        press(session, key)
        assert (frame(session) != before).any(), key
        press(session, key)
        np.testing.assert_array_equal(frame(session), before)


def test_zoom_keeps_what_is_under_the_pointer_and_drags_move_it(session):
    press(session, "space")
    place = (100, 200)
    point = session._point(place)
    session._zoom(4.0, place)
    assert session.stage.look.zoom == 4
    assert session._point(place) == pytest.approx(point)
    mouse(session, pygame.MOUSEBUTTONDOWN, place, button=1)
    mouse(session, pygame.MOUSEMOTION, (130, 180), rel=(30, -20), buttons=(1, 0, 0))
    mouse(session, pygame.MOUSEBUTTONUP, (130, 180), button=1)
    side = session.stage.players[0].now.scene.width
    off = np.subtract(session._point((130, 180)), point)
    assert abs((off + side / 2) % side - side / 2).max() < 1e-6
    assert session.stage.look.selected == -1, "a drag selects nobody"
    press(session, "0")
    assert session.stage.look[:3] == (1.0, None, -1)
    session._zoom(0.1, place)
    assert session.stage.look.zoom == 1


def test_quit_by_key_and_by_window(session):
    press(session, "x", "q")
    assert session.quit
    session.quit = False
    session.handle(pygame.event.Event(pygame.QUIT))
    assert session.quit


def test_a_window_is_opened_drawn_and_closed(session):
    ticks = []

    def stop(seconds):
        ticks.append(seconds)
        session.quit = len(ticks) > 3

    session.tick = stop
    session.run((300, 200), "a test")
    assert session.size == (300, 200)
    assert not pygame.display.get_init()


@pytest.fixture
def run(tmp_path):
    return untrained(tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a run's directory, or a scripted policy to watch: --policy random"),
        (["{run}", "{run}", "{run}"], "give one run, or two to see side by side, not 3"),
        (["nowhere"], "nowhere holds no checkpoint"),
        (
            ["{run}", "--policy", "clever"],
            "--policy must be one of random, yield, go_ahead, move_right, not 'cl",
        ),
        (["--env", "nothing_v0", "--policy", "random"], "no world 'nothing_v0'"),
        (["{run}", "--n-agents", "-3"], "n_agents must be"),
        (["{run}", "--size", "big"], "--size must be WIDTHxHEIGHT, as 800x600, not 'big'"),
        (["{run}", "--size", "8x8"], "--size must be within 32 and 8192 pixels, not '8x8'"),
        (["{run}", "--fps", "0"], "--fps must be within 1 and 240, not 0"),
        (["{run}", "--speed", "nan"], "--speed must be within 0.25 and 240, not nan"),
        (["{run}", "--zoom", "0.5"], "--zoom must be within 1 and 64, not 0.5"),
        (["{run}", "--steps", "-1"], "--steps must be >= 0, not -1"),
        (["{run}", "--select", "8"], "--select must be an agent in [0, 8), or -1, not 8"),
        (["{run}", "--select", "0", "--layer", "3"], "--layer must be in [0, 2] for 'run: sa', not 3"),
        (["{run}", "--select", "0", "--head", "-1"], "--head must be in [0, 2] for 'run: sa', not -1"),
        (["{run}", "--env-params", "speed=3"], "has no parameter 'speed'"),
        (["{run}", "--env-params", "n_labels=3"], "--env-params changes the entity row"),
        (["{run}", "--record", "out.avi"], "--record must end in .mp4, .gif, .png, not 'out.avi'"),
        (["{run}", "--record", "{run}/no/out.gif"], "there is no folder"),
        (["{run}", "--threads", "-1"], "--threads must be >= 0, not -1"),
        (
            ["{run}"],
            "no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set): record to a",
        ),
    ],
)
def test_bad_arguments_of_watch_end_in_one_line(run, arguments, message, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    status = main(["watch", *(a.format(run=run) for a in arguments)])
    is_one_line(status, capsys.readouterr().err, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "8"], "--agent must be in [0, 8), not 8"),
        (["--policy", "clever"], "--policy must be one of random, yield, go_ahead, move_right, not 'clever'"),
        (["--run", "nowhere"], "nowhere holds no checkpoint"),
        (["--speed", "1000"], "--speed must be within 0.25 and 240, not 1000"),
        ([], "no display to open a window on"),
    ],
)
def test_bad_arguments_of_play_end_in_one_line(arguments, message, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    is_one_line(main(["play", *arguments]), capsys.readouterr().err, message)


def test_sizes_are_read():
    assert pixels("640x480") == (640, 480)


@pytest.mark.parametrize("env", ["colliding_agents_v0", "n_body_v0"])
def test_play_steers_the_agent(env, monkeypatch, tmp_path):
    """The whole command, with a key tapped before every step."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    played, places = [], []

    def handful(session, seconds):
        shown = session.stage.players[0]
        played.append(session)
        places.append(shown.now.scene.places()[1])
        press(session, "right")
        Session.tick_for_real(session, 1 / session.speed)
        session.quit = len(played) > 3

    monkeypatch.setattr(Session, "tick_for_real", Session.tick, raising=False)
    monkeypatch.setattr(Session, "tick", handful)
    assert main(["play", "--env", env, "--agent", "1", "--env-params", "vision_radius=None"]) == 0
    moved = [x for x, _ in places]
    if env == "colliding_agents_v0":
        size = played[0].stage.players[0].now.scene.width
        assert {(b - a) % size for a, b in itertools.pairwise(moved)} == {1.0}
    else:
        assert moved == sorted(moved)
        assert moved[-1] > moved[0]
    assert played[0].stage.look.selected == 1
    assert re.match("[a-z ]+", sorted(played[0].steering)[0])


def test_watch_shows_runs_and_scripted_policies(run, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    seen = []

    def look(session, seconds):
        seen.append([shown.title for shown in session.stage.players])
        session.quit = True

    monkeypatch.setattr(Session, "tick", look)
    for arguments in (
        [run, "--n-agents", 64, "--seed", 3], [run, run], [run, "--policy", "move_right"],
        ["--policy", "random", "--env", "n_body_v0", "--n-agents", 4],
    ):  # fmt: skip
        assert main(["watch", *map(str, arguments)]) == 0
    assert seen == [["run: sa"], ["run: sa", "run: sa"], ["move_right, run"], ["random, n_body_v0"]]


def test_manual_play_as_in_pettingzoo(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = colliding_agents_v0.env(n_agents=3, render_mode="human", max_cycles=6)
    env.reset(seed=0)
    manual = colliding_agents_v0.ManualPolicy(env, agent_id=1, show_obs=True)
    assert manual.available_agents == {"agent_0": 0, "agent_1": 1, "agent_2": 2}
    chosen = []
    for agent in env.agent_iter():
        observation, _, termination, truncation, _ = env.last()
        if termination or truncation:
            action = None
        elif agent == manual.agent:
            pygame.event.clear()
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_UP, unicode=""))
            action = manual(observation, agent)
            chosen.append(action)
        else:
            action = env.action_space(agent).sample()
        env.step(action)
    assert chosen == [2] * 6
    with pytest.raises(ValueError, match="agent must be 'agent_1', which is steered, not 'agent_0'"):
        manual(None, "agent_0")
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE, unicode=""))
    with pytest.raises(SystemExit):
        manual(None, "agent_1")
    env.close()
    plain = n_body_v0.parallel_env(n_agents=2)
    with pytest.raises(ValueError, match="env must have render_mode='human' to be steered, not None"):
        n_body_v0.ManualPolicy(plain)
    with pytest.raises(ValueError, match=r"agent_id must be in \[0, 2\), not 5"):
        n_body_v0.ManualPolicy(plain, 5)
