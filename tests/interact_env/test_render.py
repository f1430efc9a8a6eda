import copy

import numpy as np
import pytest

import interact_env
from interact_env.render import Arrow, Circle, Renderer, Scene, draw
from interact_env.render.viewer import BACKGROUND, EDGE, FLASH, INK, PALETTE


def rgb(color):
    return [int(color[k : k + 2], 16) for k in (1, 3, 5)]


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
    frame = draw(Scene(10, 10, (True, True), (Circle(0, 0, 1, 2),)), 200)
    for corner in ((1, 1), (1, 198), (198, 1), (198, 198)):
        assert frame[corner].tolist() == rgb(PALETTE[2])
    walled = draw(Scene(10, 10, (False, False), (Circle(0, 5, 1, 2),)), 200)
    assert walled[100, 12].tolist() == rgb(PALETTE[2])
    assert walled[100, 190].min() > 220


def test_a_wide_world_keeps_its_shape():
    assert draw(Scene(20, 10, (True, True)), 100).shape == (50, 100, 3)


@pytest.mark.parametrize("world", ["colliding_agents_v0", "springs_v0"])
def test_every_world_is_drawn(world):
    env = interact_env.make(world, n_agents=5, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (600, 600, 3)
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 3
    env.close()


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


def test_bad_modes_are_named():
    with pytest.raises(ValueError, match="render_mode must be None or one of"):
        interact_env.make("colliding_agents_v0", render_mode="ascii")
    with pytest.raises(RuntimeError, match=r"render\(\) needs a render_mode"):
        Renderer(None).render(Scene(1, 1, (True, True)))
