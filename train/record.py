"""Pictures of an episode in a file: mp4, gif or png."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from interact_env.render import paint, style
from train.stage import Stage

FORMATS = (".mp4", ".gif", ".png")
_SAMPLE, _COLORS = 24, 128  # pictures that a GIF's colours are chosen from, and how many
_HELD = 10**9  # pixels of a GIF, which is in memory until it is written


class _Writer(Protocol):
    def add(self, frame: np.ndarray) -> None:
        """Take a frame."""

    def close(self, *, keep: bool) -> None:
        """Write what there is, or leave it."""


def check(path: Path) -> None:
    """Refuse what could not be written, before anything is played.

    Raises:
        ValueError: an unknown kind of file.
        OSError: its folder does not exist or may not be written to, or there is no encoder.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"--record must end in {', '.join(FORMATS)}, not {path.name!r}")
    if not path.parent.is_dir():
        raise OSError(f"--record {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise OSError(f"--record {path}: is a folder")
    aside = _aside(path)
    try:
        aside.touch()
        aside.unlink()
    except OSError as error:
        raise OSError(f"--record {path}: cannot write there: {error.strerror}") from None
    if path.suffix.lower() == ".mp4":
        _encoder()


@contextlib.contextmanager
def writer(path: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that takes frames (height, width, 3) uint8; the file is there once all went well.

    A png keeps the last of them. An mp4's sides are even: see `even`.

    Args:
        path: ends in .mp4, .gif or .png.
        fps: frames a second; a GIF's are whole hundredths of a second long, 2 at least.

    Raises:
        ValueError, OSError: see `check`; or the disk is full.
    """
    check(path)
    aside = _aside(path)
    make: dict[str, Callable[[Path, float], _Writer]] = {".mp4": _Mp4, ".gif": _Gif, ".png": _Png}
    try:
        out = make[path.suffix.lower()](aside, fps)
        try:
            yield out.add
        except BaseException:
            out.close(keep=False)
            raise
        out.close(keep=True)
        os.replace(aside, path)
    except OSError as error:
        raise OSError(f"--record {path}: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def record(
    stage: Stage,
    path: Path,
    size: tuple[int, int],
    fps: float,
    speed: float,
    steps: int,
    report: Callable[[float, float, str], None] = lambda *_: None,
) -> None:
    """Play an episode and write it.

    Args:
        stage: who plays; from where it is.
        path: of the file, see `writer`.
        size: (width, height), pixels; see `even`.
        fps: frames a second.
        speed: steps a second.
        steps: at most so many; 0: to the end of the episode, which the world must have.
        report: called with the steps done, their number, and a text.

    Raises:
        ValueError, OSError: see `check`; or a GIF is too large to be held in memory.
    """
    size, still = even(path, size), path.suffix.lower() == ".png"
    total = steps or max(int(player.batch.params.max_cycles) for player in stage.players)
    held = size[0] * size[1] * (total * fps / speed + _SAMPLE)
    if path.suffix.lower() == ".gif" and held > _HELD:
        raise ValueError(
            f"--record {path}: a gif of {total} steps in this size would take {held / 1e9:.1f} GB of memory: "
            "record an .mp4, or fewer --steps, at a smaller --size or --fps"
        )
    with writer(path, fps) as add:
        frame, done = 0, 0
        while done < total and stage.advance():
            while frame * speed < (done + 1) * fps and not still:
                add(paint.array(stage.surface(size, frame * speed / fps - done)))
                frame += 1
            done += 1
            report(done, total, path.name)
        stage.hold()
        add(paint.array(stage.surface(size)))


def even(path: Path, size: tuple[int, int]) -> tuple[int, int]:
    """The size in which a file is recorded: an mp4's sides are rounded up to even numbers."""
    width, height = size
    return (width + width % 2, height + height % 2) if path.suffix.lower() == ".mp4" else size


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}{path.suffix.lower()}")


def _encoder() -> str:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise OSError(
            f"mp4 needs ffmpeg ({str(error).splitlines()[0]}): pip install imageio-ffmpeg, or record a .gif"
        ) from None


class _Mp4:
    """Frames into ffmpeg, whose exit status tells whether the file is whole."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close
        self._ffmpeg: subprocess.Popen[bytes] | None = None

    def add(self, frame: np.ndarray) -> None:
        height, width, _ = frame.shape
        if self._ffmpeg is None:
            given = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {self._fps:g} -i -".split()
            wanted = [
                "-an",
                "-c:v",
                "libx264",
                "-crf",
                "18",
                "-pix_fmt",
                "yuv420p",
                "-movflags",
                "+faststart",
            ]
            command = [_encoder(), "-y", "-v", "error", *given, *wanted, f"file:{self._path}"]
            self._ffmpeg = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=self._errors)
        assert self._ffmpeg.stdin is not None
        try:
            self._ffmpeg.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            raise OSError(self._said()) from None

    def close(self, *, keep: bool) -> None:
        try:
            if self._ffmpeg is None:
                return
            assert self._ffmpeg.stdin is not None
            if not keep:
                self._ffmpeg.kill()
            with contextlib.suppress(BrokenPipeError):
                self._ffmpeg.stdin.close()
            if self._ffmpeg.wait() and keep:
                raise OSError(self._said())
        finally:
            self._errors.close()

    def _said(self) -> str:
        """The first of what ffmpeg had to say, which is the cause of the rest."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[0].rpartition("] ")[2] if lines else "ffmpeg failed"


class _Gif:
    """One palette for all frames, chosen from the first ones and everything that can be drawn."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._duration = path, max(20, 10 * round(100 / fps))
        self._first: list[Image.Image] = []
        self._frames: list[Image.Image] = []
        self._palette: Image.Image | None = None

    def add(self, frame: np.ndarray) -> None:
        picture = Image.fromarray(frame)
        if self._palette is not None:
            self._frames.append(self._reduced(picture))
            return
        self._first.append(picture)
        if len(self._first) == _SAMPLE:
            self._choose()

    def close(self, *, keep: bool) -> None:
        if self._palette is None and self._first and keep:
            self._choose()
        if self._frames and keep:
            first, *others = self._frames
            first.save(
                self._path,
                save_all=True,
                append_images=others,
                duration=self._duration,
                loop=0,
                optimize=True,
            )

    def _choose(self) -> None:
        width, height = self._first[0].size
        colors = [style.rgb(color) for color in style.DRAWN]
        sheet = Image.new("RGB", (width, height * len(self._first) + len(colors) * 4))
        for k, picture in enumerate(self._first):
            sheet.paste(picture, (0, k * height))
        for k, color in enumerate(colors):
            sheet.paste(color, (0, height * len(self._first) + 4 * k, width, sheet.height))
        self._palette = sheet.quantize(_COLORS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        self._frames = [self._reduced(picture) for picture in self._first]
        self._first = []

    def _reduced(self, picture: Image.Image) -> Image.Image:
        return picture.quantize(palette=self._palette, dither=Image.Dither.NONE)


class _Png:
    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._last: np.ndarray | None = None

    def add(self, frame: np.ndarray) -> None:
        self._last = frame

    def close(self, *, keep: bool) -> None:
        if self._last is not None and keep:
            Image.fromarray(self._last).save(self._path)
