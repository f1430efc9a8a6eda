"""An episode as an animated GIF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as imageio

import interact_env
from interact_env.render import draw
from train.evaluate import Act


def animate(
    act: Act, env: str, parameters: dict[str, Any], path: Path, *, n_frames: int = 100, size: int = 360
) -> None:
    """Play one episode and write its frames.

    Args:
        act: the policy.
        env: name of the world.
        parameters: of the world.
        path: of the GIF.
        n_frames: at most this many steps.
        size: pixels of the longer side.
    """
    batch = interact_env.make_batch(env, 1, seed=0, **parameters)
    batch.reset()
    frames = [draw(batch.scene(), size)]
    while len(frames) < n_frames and not batch.over.any():
        batch.step(act(batch))
        frames.append(draw(batch.scene(), size))
    imageio.imwrite(path, frames, duration=120, loop=0)
