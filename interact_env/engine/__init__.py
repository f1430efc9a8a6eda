"""The engine: runs any world's rules, serially or in parallel over worlds."""

from interact_env.engine.batch import WorldBatch
from interact_env.engine.rule import rule

__all__ = ["WorldBatch", "rule"]
