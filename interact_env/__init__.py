"""Multi-agent environments whose observations are sets of entities."""

from interact_env.contract import validate
from interact_env.engine import WorldBatch, rule
from interact_env.parallel_env import WorldParallelEnv
from interact_env.probe import InvalidWorld
from interact_env.registry import make, make_batch, register, registered, world
from interact_env.vector_env import JointEnv, WorldVectorEnv
from interact_env.world import Column, Near, Pairs, Repeat, World
from interact_env.worlds import colliding_agents as _colliding_agents
from interact_env.worlds import n_body as _n_body

register("colliding_agents_v0", _colliding_agents)
register("n_body_v0", _n_body)

__all__ = [
    "Column",
    "InvalidWorld",
    "JointEnv",
    "Near",
    "Pairs",
    "Repeat",
    "World",
    "WorldBatch",
    "WorldParallelEnv",
    "WorldVectorEnv",
    "make",
    "make_batch",
    "register",
    "registered",
    "rule",
    "validate",
    "world",
]
