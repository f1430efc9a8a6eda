"""Drawing: a viewer that turns a scene of plain shapes into pixels. Imports pygame when it draws."""

from interact_env.render.scene import Arrow, Circle, Scene
from interact_env.render.viewer import METADATA, Renderer, draw

__all__ = ["METADATA", "Arrow", "Circle", "Renderer", "Scene", "draw"]
