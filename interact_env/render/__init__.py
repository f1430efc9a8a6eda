"""Drawing: a viewer that turns a scene of plain shapes into pixels. Imports pygame when it draws."""

from interact_env.render.scene import Arrow, Circle, Line, Scene
from interact_env.render.viewer import METADATA, Renderer, draw

__all__ = ["METADATA", "Arrow", "Circle", "Line", "Renderer", "Scene", "draw"]
