"""Drawing: one viewer that turns plain shapes into pixels, for all worlds. Imports pygame when it draws."""

import importlib
import os
from typing import Any

from interact_env.render.look import Bar, Link, Look, Overlay
from interact_env.render.moment import Moment, moment
from interact_env.render.renderer import METADATA, Renderer
from interact_env.render.scene import Arrow, Circle, Label, Line, Scene, between

__all__ = [
    "METADATA", "Arrow", "Bar", "Circle", "Label", "Line", "Link", "Look", "Moment", "Overlay", "Renderer",
    "Scene", "Viewer", "between", "draw", "moment",
]  # fmt: skip

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def __getattr__(name: str) -> Any:
    if name not in ("Viewer", "draw"):
        raise AttributeError(f"module 'interact_env.render' has no attribute {name!r}")
    return getattr(importlib.import_module("interact_env.render.viewer"), name)
