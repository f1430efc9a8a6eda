"""PettingZoo module of the n-body world; the rules are in `worlds/n_body.py`."""

from interact_env.parallel_env import pettingzoo_makers
from interact_env.registry import world
from interact_env.render.steering import ManualPolicy

parallel_env, raw_env, env = pettingzoo_makers(lambda: world("n_body_v0"))

__all__ = ["ManualPolicy", "env", "parallel_env", "raw_env"]
