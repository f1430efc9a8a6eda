"""`interact-env export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from train.commands import runs
from train.commands.console import console


@dataclasses.dataclass
class ExportConfig:
    """Export a trained policy for use elsewhere, with a model card."""

    run: tyro.conf.Positional[Path]
    """Directory of the run."""
    to: tuple[Literal["onnx", "torchscript", "safetensors"], ...] = ("safetensors",)
    """Formats: onnx and torchscript run without this package, safetensors is for policies.load."""
    out: Path | None = None
    """Folder to make; by default `export` in the run's directory."""
    checkpoint: str = "latest"
    """Which checkpoint of the run: latest, best, or one by its name, as step_000000100000."""
    env: str = ""
    """The run's world, if it is one of your own, as my_module:my_world_v0."""
    policy: str = ""
    """The run's policy, if it is one of your own, as my_module:my_name."""
    push: str = ""
    """Upload it to this repository, as user/name, of the Hugging Face hub."""


def run(config: ExportConfig) -> int:
    """`interact-env export`."""
    from train import evaluate, export

    if not config.to:
        raise ValueError("--to must name a format: onnx, torchscript or safetensors")
    out = config.out or config.run / "export"
    hub = export.hub() if config.push else None  # before the work
    saved = runs.load(config.run, config.env, config.policy, config.checkpoint)
    path = config.run / evaluate.FILE
    found = evaluate.read(path) if path.exists() else None
    if found is not None and found.get("env_steps") != saved.env_steps:
        found = None  # of another checkpoint
    export.export(saved, config.to, out, found)
    console.print(f"exported to {out}", highlight=False, soft_wrap=True)
    if hub is not None:
        console.print(f"pushed to {export.push(hub, out, config.push)}", highlight=False, soft_wrap=True)
    return 0
