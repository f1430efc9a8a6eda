"""Training and evaluation: the only package that knows both the environments and the policies."""

import importlib
from typing import Any

# Imported when asked for: torch and stable-baselines3 take seconds, and `--help` need not wait.
_HOME = {
    "AgentVecEnv": "train.vec_env",
    "EntityPPO": "train.ppo",
    "EntityPolicy": "train.policy",
    "make_sb3_vec_env": "train.vec_env",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'train' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
