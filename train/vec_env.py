"""stable-baselines3's view of a batch of worlds: every agent slot is an environment of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

import interact_env
from interact_env.engine import WorldBatch
from interact_env.spaces import entity_space


class AgentVecEnv(VecEnv):
    """B worlds of L slots as B * L environments, for stock stable-baselines3 and for `EntityPPO`.

    An environment's observation is the set its agent sees, own row first. Worlds restart by themselves;
    at a time limit infos hold "terminal_observation" and "TimeLimit.truncated". A slot without an agent
    (it left, or the episode has fewer) shows zeros and earns 0 until its world restarts: stock algorithms
    learn from these steps too, `EntityPPO` does not.
    """

    def __init__(self, batch: WorldBatch) -> None:
        """Wrap a batch; resets are the VecEnv's from here on."""
        self.batch = batch
        self._shape = (batch.n_worlds, batch.n_slots)
        self._actions = batch.blank_actions()
        self.render_mode = None
        observation_space = entity_space(batch.columns, batch.n_slots, batch.dtype)
        super().__init__(batch.n_worlds * batch.n_slots, observation_space, batch.action_space)

    def reset(self) -> dict[str, np.ndarray]:
        """Start the next episode of every world; the first of a new seed after `seed(n)`."""
        self.batch.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self._observe()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions (B * L, ...) for `step_wait`."""
        self._actions = np.asarray(actions).reshape(self._actions.shape)

    def step_wait(
        self,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Advance every world by one step and restart those that are over."""
        acted = self.batch.alive.copy()
        step = self.batch.step(self._actions)
        over = self.batch.over.copy()
        # An absent slot's stay ends with its world's episode.
        dones = np.where(acted, step.terminated | over[:, None], over[:, None]).ravel()
        truncated = (self.batch.alive & step.truncated[:, None]).ravel()
        rewards = step.reward.ravel().astype(np.float32)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            last = self._observe()
            for k in np.flatnonzero(dones):
                infos[k]["TimeLimit.truncated"] = bool(truncated[k])
                infos[k]["terminal_observation"] = {name: v[k] for name, v in last.items()}
        if over.any():
            self.batch.reset(over)
        return self._observe(), rewards, dones, infos

    def close(self) -> None:
        """Nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of the batch, once per chosen environment."""
        value = self.render_mode if attr_name == "render_mode" else getattr(self.batch, attr_name)
        return [value for _ in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not possible: the environments are slots of one batch."""
        raise NotImplementedError("set_attr: the environments are slots of one WorldBatch")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Not possible: the environments are slots of one batch."""
        raise NotImplementedError("env_method: the environments are slots of one WorldBatch")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never."""
        return [False for _ in self._chosen(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """No frames."""
        return [None] * self.num_envs

    def _chosen(self, indices: Any) -> Iterable[int]:
        return self._get_indices(indices)

    def _observe(self) -> dict[str, np.ndarray]:
        views = [self.batch.views(b) for b in range(self.batch.n_worlds)]
        entities, masks = zip(*views, strict=True)
        return {"entities": np.concatenate(entities), "mask": np.concatenate(masks)}


def make_sb3_vec_env(name: str, n_worlds: int = 1, **options: Any) -> AgentVecEnv:
    """An AgentVecEnv of a registered world; `options` are WorldBatch's and the world's parameters."""
    return AgentVecEnv(interact_env.make_batch(name, n_worlds, **options))
