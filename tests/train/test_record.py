"""Recordings: what is in the file is what was shown, and a file is there whole or not at all."""

import re
import subprocess
import sys

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
from cli import ENV, interact, is_one_line
from PIL import Image
from saved_runs import untrained

import interact_env
from interact_env.render import Look
from interact_env.render.style import PALETTE, rgb
from train import evaluate, record
from train.cli import main
from train.player import Player
from train.stage import Stage


def stage(n_agents=4, max_cycles=6):
    batch = interact_env.make_batch("colliding_agents_v0", 1, n_agents=n_agents, max_cycles=max_cycles)
    return Stage([Player("move_right", batch, evaluate.scripted("move_right"))], Look())


def video(path):
    """Frames a second, and frames."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-hide_banner", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    width, height, fps = re.search(r"Video: .* (\d+)x(\d+)[ ,].* ([\d.]+) fps", done.stderr.decode()).groups()
    return float(fps), np.frombuffer(done.stdout, np.uint8).reshape(-1, int(height), int(width), 3)


def shows_an_agent(frame, within):
    return (abs(frame.astype(int) - rgb(PALETTE[0])).max(-1) <= within).mean() > 0.003


@pytest.mark.parametrize(("fps", "speed", "expected"), [(30, 10, 19), (10, 10, 7), (10, 20, 4)])
def test_an_mp4_holds_the_episode_at_its_frame_rate(tmp_path, fps, speed, expected):
    told = []
    record.record(
        stage(), tmp_path / "out.mp4", (201, 163), fps, speed, 0, lambda *done: told.append(done[:2])
    )
    found, frames = video(tmp_path / "out.mp4")
    assert frames.shape == (expected, 164, 202, 3), "sides are even"
    assert found == fps
    assert told == [(k, 6) for k in range(1, 7)]
    assert shows_an_agent(frames[0], within=40)
    assert len({frame.tobytes() for frame in frames}) == expected, "frames are not constant, nor black"


def test_a_gif_keeps_colours_and_times(tmp_path):
    record.record(stage(), tmp_path / "out.gif", (120, 90), 10, 10, 3)
    with Image.open(tmp_path / "out.gif") as gif:
        assert (gif.size, gif.n_frames, gif.info["duration"], gif.info["loop"]) == ((120, 90), 4, 100, 0)
        gif.seek(2)
        assert shows_an_agent(np.asarray(gif.convert("RGB")), within=12)


def test_a_png_is_the_last_picture(tmp_path):
    record.record(stage(), tmp_path / "out.png", (300, 200), 10, 10, 4)
    shown = stage()
    for _ in range(4):
        shown.advance()
    shown.hold()
    expected = record.paint.array(shown.surface((300, 200)))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), expected)


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out.png"])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"old")

    def broken(batch):
        if batch.steps[0] == 2:
            raise RuntimeError("a policy's")
        return batch.scripted("random")

    batch = interact_env.make_batch("colliding_agents_v0", 1, n_agents=3)
    with pytest.raises(RuntimeError, match="a policy's"):
        record.record(Stage([Player("p", batch, broken)], Look()), path, (64, 64), 10, 10, 5)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [name]


FULL = """
import resource, sys
from train.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(["watch", "--policy", "random", "--n-agents", "32", "--steps", "20", "--record", sys.argv[2]]))
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out.png"])
@pytest.mark.parametrize("limit", [100, 8000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, name, limit):
    """An encoder keeps its last frames until it is closed: that is when it may fail."""
    path = tmp_path / name
    path.write_bytes(b"old")
    command = [sys.executable, "-c", FULL, str(limit), str(path)]
    # Without coverage, which would write files too.
    env = {name: value for name, value in ENV.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env, check=False)
    is_one_line(done.returncode, done.stderr, f"--record {path}: ")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_gif_that_memory_cannot_hold_is_refused(tmp_path, capsys):
    path = tmp_path / "big.gif"
    arguments = ["watch", "--policy", "random", "--size", "4000x4000", "--record", str(path)]
    is_one_line(main(arguments), capsys.readouterr().err, "would take 6.5 GB of memory: record an .mp4")
    assert not list(tmp_path.iterdir())


def test_a_colon_in_a_name_is_no_protocol(tmp_path):
    path = tmp_path / "12:30.mp4"
    with record.writer(path, 10) as add:
        add(np.zeros((64, 64, 3), np.uint8))
    assert path.stat().st_size > 0


def test_what_cannot_be_written_is_refused_before_anything_is_played(tmp_path, monkeypatch):
    (tmp_path / "folder.gif").mkdir()
    (tmp_path / "file").write_text("")
    for path, message in (
        ("out.webm", r"--record must end in .mp4, .gif, .png, not 'out.webm'"),
        ("out", "--record must end in"),
        ("no/out.gif", r"--record .*out.gif: there is no folder"),
        ("file/out.gif", "there is no folder"),
        ("folder.gif", "is a folder"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            record.check(tmp_path / path)

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(OSError, match=r"out.gif: cannot write there: Permission denied"):
        record.check(tmp_path / "out.gif")


def test_a_missing_encoder_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    run = untrained(tmp_path / "run")
    status = main(["watch", str(run), "--record", str(tmp_path / "out.mp4")])
    message = "pip install imageio-ffmpeg, or record a .gif"
    is_one_line(status, capsys.readouterr().err, message)
    assert main(["watch", str(run), "--record", str(tmp_path / "out.gif"), "--steps", "2"]) == 0


@pytest.mark.slow
def test_the_command_records_without_a_display(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    run = untrained(tmp_path / "run", policy="hfa")
    options = ("--record", tmp_path / "two.png", "--steps", 3, "--select", 0, "--size", "640x320")
    done = interact("watch", run, run, "--n-agents", 16, *options)
    assert done.returncode == 0, done.stderr
    assert "recorded" in done.stdout
    picture = np.asarray(Image.open(tmp_path / "two.png"))
    assert picture.shape == (320, 640, 3)
    np.testing.assert_array_equal(picture[:, :318], picture[:, 322:])


def test_gymnasiums_record_video_works(tmp_path):
    env = gymnasium.make(
        "interact_env/colliding_agents-v0", n_agents=5, max_cycles=8, render_mode="rgb_array"
    )
    env = gymnasium.wrappers.RecordVideo(env, str(tmp_path / "videos"), name_prefix="ours")
    env.reset(seed=0)
    over = False
    while not over:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        over = terminated or truncated
    env.close()
    fps, frames = video(tmp_path / "videos" / "ours-episode-0.mp4")
    assert fps == env.metadata["render_fps"]
    assert frames.shape == (9, 600, 600, 3)
    assert shows_an_agent(frames[3], within=40)
