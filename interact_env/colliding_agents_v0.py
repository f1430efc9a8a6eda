"""PettingZoo module of the colliding agents; the rules are in `worlds/colliding_agents.py`."""

from interact_env.parallel_env import pettingzoo_makers
from interact_env.registry import world
from interact_env.render.steering import ManualPolicy

parallel_env, raw_env, env = pettingzoo_makers(lambda: world("colliding_agents_v0"))

__all__ = ["ManualPolicy", "env", "parallel_env", "raw_env"]
