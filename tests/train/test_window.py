"""A real window on a real (virtual) screen, driven as a person would."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from cli import ENV
from PIL import ImageGrab
from saved_runs import untrained

from interact_env.render.style import ATTENTION, FLASH, INK, MARK, PALETTE, PAPER, rgb

MISSING = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}: apt-get install xvfb xdotool"),
]
SIZE = 600


@pytest.fixture
def screen():
    """The name of a display of its own."""
    reader, writer = os.pipe()
    # Else it starts anew whenever its last client leaves, as one who takes a picture of it does.
    options = ["-noreset", "-displayfd", str(writer), "-screen", "0", "900x700x24", "-nolisten", "tcp"]
    server = subprocess.Popen(["Xvfb", *options], pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(30)


class Watching:
    """A viewer in a process of its own, with a person's hands and eyes."""

    def __init__(self, screen, *arguments):
        env = {k: v for k, v in ENV.items() if k != "SDL_VIDEODRIVER"} | {"DISPLAY": screen}
        self.screen, self.env = screen, env
        command = [sys.executable, "-m", "train.cli", *map(str, arguments), "--size", f"{SIZE}x{SIZE}"]
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        self.wait_until(
            lambda: (self.shot() == rgb(PALETTE[0])).all(-1).any(), 120, "the window shows agents"
        )

    def do(self, *arguments):
        subprocess.run(["xdotool", *map(str, arguments)], env=self.env, timeout=30, check=True)
        time.sleep(0.7)

    def shot(self, name=None):
        picture = ImageGrab.grab(xdisplay=self.screen)
        if name is not None:
            picture.save(name)
        return np.asarray(picture.convert("RGB"))

    def wait_until(self, done, seconds, what):
        end = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < end, f"{what}: not within {seconds} s"
            time.sleep(0.2)

    def world(self, shot):
        """The window's picture below its status line."""
        rows, columns = np.nonzero((shot != 0).any(-1))
        return shot[rows.min() + 40 : rows.max(), columns.min() : columns.max()]

    def end(self):
        self.process.kill()
        self.process.communicate(timeout=30)

    def quit(self, key):
        self.do("key", key)
        assert self.process.wait(30) == 0, self.process.stderr.read()


@pytest.fixture
def watching(screen, tmp_path):
    run = untrained(tmp_path / "run", n_agents=12)
    seen = Watching(screen, "watch", run, "--speed", 4)
    yield seen
    seen.end()


def holds(shot, color, least=20):
    return (shot == rgb(color)).all(-1).sum() >= least


def test_pause_step_select_keys_and_quit(watching, tmp_path):
    moving = [watching.world(watching.shot()) for _ in range(2) if not time.sleep(0.6)]
    assert (moving[0] != moving[1]).any(), "time passes"

    watching.do("key", "space")
    paused = watching.world(watching.shot(tmp_path / "paused.png"))
    assert holds(paused[:40, :120], INK), "it says so"
    time.sleep(1)
    np.testing.assert_array_equal(watching.world(watching.shot()), paused)

    watching.do("key", "period")
    stepped = watching.world(watching.shot(tmp_path / "stepped.png"))
    assert (stepped != paused).any()
    watching.do("key", "comma")
    np.testing.assert_array_equal(watching.world(watching.shot()), paused, "and back")

    assert not holds(paused, MARK, least=200)
    whole = watching.shot()
    rows, columns = np.nonzero((whole == rgb(PALETTE[0])).all(-1) & (np.indices(whole.shape[:2])[0] > 120))
    watching.do("mousemove", columns[len(columns) // 2], rows[len(rows) // 2], "click", 1)
    selected = watching.world(watching.shot(tmp_path / "selected.png"))
    assert holds(selected, ATTENTION), "its bars, or lines to others"
    assert (selected != paused).any()
    middle = selected[len(selected) // 2 - 60 :, 240:360][:120]
    assert holds(middle, MARK), "the camera follows it"

    before = (selected == rgb(PAPER)).all(-1).sum()
    watching.do("key", "question")
    keys = watching.world(watching.shot(tmp_path / "keys.png"))
    assert (keys == selected).all(-1).mean() < 0.9, "a page of keys"
    assert before > 0
    watching.do("key", "question")
    np.testing.assert_array_equal(watching.world(watching.shot()), selected)

    for name in ("paused", "stepped", "selected", "keys"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    watching.quit("q")


def test_an_agent_is_steered_in_a_real_window(screen):
    playing = Watching(screen, "play", "--n-agents", 2, "--agent", 0, "--speed", 8, "--policy", "move_right")
    try:
        assert not holds(playing.shot(), FLASH)
        playing.do("keydown", "Up")
        first = marked(playing.shot())
        assert first is not None
        places = [marked(playing.shot()) for _ in range(6) if not time.sleep(0.11)]
        assert len({y for _, y in places}) > 2, "it moves up while the key is down"
        assert max(x for x, _ in places) - min(x for x, _ in places) <= 2, "and not sideways"
        playing.do("keyup", "Up")
        playing.quit("Escape")
    finally:
        playing.end()


def marked(shot):
    """Column and row of the middle of the ring around the steered agent."""
    status = 200  # the rest of the picture has no such black but letters and arrows, which are small
    black = (shot == rgb(MARK)).all(-1)
    black[:status] &= False
    rows, columns = np.nonzero(black)
    return (int(np.median(columns)), int(np.median(rows))) if len(rows) else (0, 0)
