"""Training and evaluation: the only package that knows both the environments and the policies."""

from train.policy import EntityPolicy
from train.ppo import EntityPPO
from train.vec_env import AgentVecEnv, make_sb3_vec_env

__all__ = ["AgentVecEnv", "EntityPPO", "EntityPolicy", "make_sb3_vec_env"]
