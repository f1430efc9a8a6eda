"""Gymnasium spaces of observations that are sets of entities."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from interact_env.world import Column


class EntityBox(spaces.Box):
    """A Box (n_entities, F) of entity rows that knows its columns; absent entities are zero rows."""

    def __init__(self, columns: tuple[Column, ...], n_entities: int, dtype: Any = np.float32) -> None:
        """Bounds are the columns', widened to hold the zeros of absent entities and never empty."""
        low = np.array([min(0.0, c.low) for c in columns], dtype)
        high = np.array([max(0.0, c.high, c.low + 1) for c in columns], dtype)
        shape = (n_entities, len(columns))
        super().__init__(np.broadcast_to(low, shape), np.broadcast_to(high, shape), dtype=dtype)
        self.columns = columns


def entity_space(columns: tuple[Column, ...], n_entities: int, dtype: Any = np.float32) -> spaces.Dict:
    """Dict(entities (n_entities, F) of dtype, mask (n_entities,) of 0 and 1)."""
    return spaces.Dict(entities=EntityBox(columns, n_entities, dtype), mask=spaces.MultiBinary(n_entities))


def flat_space(columns: tuple[Column, ...], n_entities: int, dtype: Any = np.float32) -> spaces.Box:
    """One Box (n_entities * (F + 1),): each entity's row, then its mask."""
    box = EntityBox(columns, n_entities, dtype)
    mask = np.zeros((n_entities, 1), dtype)
    low, high = np.hstack([box.low, mask]), np.hstack([box.high, mask + 1])
    return spaces.Box(low.ravel(), high.ravel(), dtype=dtype)


def flatten(entities: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(..., n, F) rows and (..., n) masks as (..., n * (F + 1)), as `flat_space` holds them."""
    rows = np.concatenate([entities, mask[..., None].astype(entities.dtype)], axis=-1)
    return rows.reshape(*rows.shape[:-2], -1)


def joint_action_space(one: spaces.Space[Any], n_agents: int) -> spaces.Space[Any]:
    """The action space of all agents of a world together."""
    if isinstance(one, spaces.Discrete):
        return spaces.MultiDiscrete([int(one.n)] * n_agents)
    assert isinstance(one, spaces.Box)
    low, high = (np.broadcast_to(bound, (n_agents, *one.shape)) for bound in (one.low, one.high))
    return spaces.Box(low, high, dtype=np.float32)
