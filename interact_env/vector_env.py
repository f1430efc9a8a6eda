"""Gymnasium's views of a world: all its agents act jointly, in one world or in a vector of them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from interact_env.engine import WorldBatch
from interact_env.render import METADATA, Renderer
from interact_env.spaces import entity_space, joint_action_space
from interact_env.world import World

_VECTOR_METADATA: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}


class JointEnv(gymnasium.Env[Any, np.ndarray]):
    """One world; observation, action and reward are those of all its agents together.

    Observation: Dict(entities (L, F), mask (L,)); action: one per agent slot, absent ones ignored;
    reward: mean over the agents that acted. info: "agent_reward" and each metric, (L,) arrays.
    """

    metadata = METADATA

    def __init__(
        self,
        world: World,
        *,
        render_mode: str | None = None,
        seed: int | None = None,
        **parameters: Any,
    ) -> None:
        """Make the env; `seed` is that of the first reset, `parameters` are the world's (`configure`)."""
        self.render_mode = render_mode
        self._renderer = Renderer(render_mode)
        world.params(parameters)  # refuses the options of a batch
        self._batch = WorldBatch(world, 1, seed=seed, n_threads=1, **parameters)
        self.observation_space = entity_space(self._batch.columns, self._batch.n_slots, self._batch.dtype)
        self.action_space = joint_action_space(self._batch.action_space, self._batch.n_slots)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start the next episode, or episode 0 of `seed`; `options` are not used."""
        super().reset(seed=seed)
        self._batch.reset(seed=seed)
        self._renderer.follow(self._batch)
        return _first(_observe(self._batch)), _first(_info(self._batch))

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Advance by one step.

        Raises:
            ValueError: an action of the wrong shape, dtype or value.
            RuntimeError: before the first reset, or after the end.
        """
        acted = self._batch.alive.copy()
        self._batch.step(np.asarray(action)[None])
        terminated, truncated = _ends(self._batch)
        reward = float(_mean_reward(self._batch, acted)[0])
        self._renderer.follow(self._batch)
        observation, info = _first(_observe(self._batch)), _first(_info(self._batch))
        return observation, reward, bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Any:
        """An RGB frame (height, width, 3) uint8, or None in mode "human"."""
        return self._renderer.render(self._batch)

    def close(self) -> None:
        """Close the window, if there is one."""
        self._renderer.close()

    @property
    def batch(self) -> WorldBatch:
        """The batch of one world behind this env, to save and restore or to look inside."""
        return self._batch


class WorldVectorEnv(VectorEnv[dict[str, np.ndarray], np.ndarray, np.ndarray]):
    """B worlds as a Gymnasium VectorEnv; each is as in `JointEnv`.

    Worlds that end are reset in the same step (AutoresetMode.SAME_STEP): the observation is the first
    of the next episode, `infos["final_obs"]` and `infos["final_info"]` hold the end of the last.
    """

    metadata = _VECTOR_METADATA

    def __init__(self, world: World, num_envs: int = 1, **parameters: Any) -> None:
        """Make the env; `parameters` are WorldBatch's options and the world's parameters."""
        self._batch = WorldBatch(world, num_envs, **parameters)
        n_slots = self._batch.n_slots
        self.num_envs = num_envs
        self.single_observation_space = entity_space(self._batch.columns, n_slots, self._batch.dtype)
        self.single_action_space = joint_action_space(self._batch.action_space, n_slots)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start the next episode of every world, or episode 0 of `seed`; `options` are not used."""
        super().reset(seed=seed)
        self._batch.reset(seed=seed)
        return _observe(self._batch), _info(self._batch)

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every world by one step and restart those that ended.

        Raises:
            ValueError: actions of the wrong shape, dtype or value.
            RuntimeError: before the first reset.
        """
        acted = self._batch.alive.copy()
        self._batch.step(actions)
        terminated, truncated = _ends(self._batch)
        reward, infos = _mean_reward(self._batch, acted), _info(self._batch)
        over = self._batch.over.copy()
        if over.any():
            infos |= _finals(over, _observe(self._batch), infos)
            self._batch.reset(over)
        return _observe(self._batch), reward, terminated, truncated, infos


def _observe(batch: WorldBatch) -> dict[str, np.ndarray]:
    return {"entities": batch.rows.copy(), "mask": batch.alive.astype(np.int8)}


def _info(batch: WorldBatch) -> dict[str, np.ndarray]:
    columns = {name: batch.metrics[..., k].copy() for k, name in enumerate(batch.world.METRICS)}
    return {"agent_reward": batch.reward.copy(), **columns}


def _ends(batch: WorldBatch) -> tuple[np.ndarray, np.ndarray]:
    """Terminated (B,): nobody is left; truncated (B,): the time limit, with somebody left."""
    terminated = np.logical_not(batch.alive.any(axis=1))
    return terminated, batch.over & ~terminated


def _mean_reward(batch: WorldBatch, acted: np.ndarray) -> np.ndarray:
    return batch.reward.sum(axis=1, dtype=np.float64) / acted.sum(axis=1)


def _first(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value[0] for name, value in values.items()}


def _finals(over: np.ndarray, observed: Any, infos: Any) -> dict[str, Any]:
    """The last observation and info of each world that ended, in Gymnasium's vector form."""
    final_obs = np.full(over.size, None, object)
    for b in np.flatnonzero(over):
        final_obs[b] = {name: value[b].copy() for name, value in observed.items()}
    final_info = {name: value.copy() for name, value in infos.items()}
    final_info |= {f"_{name}": over.copy() for name in infos}
    return {"final_obs": final_obs, "_final_obs": over, "final_info": final_info, "_final_info": over.copy()}
