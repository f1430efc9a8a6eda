"""stable-baselines3's PPO with rollouts of whole worlds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from interact_env.engine import WorldBatch
from train.buffer import EntityRolloutBuffer
from train.policy import EntityPolicy, Observation, bounded, joint_observation
from train.vec_env import AgentVecEnv


class EntityPPO(PPO):
    """PPO whose rollouts compute all agents of all worlds in one joint pass.

    `n_steps` and timesteps count env steps (one world advanced by one step), `batch_size` counts worlds
    at a step; the loss averages over the living agents in them. `train()` is stable-baselines3's own.
    The first episodes of a run are cut early, each world's at another step. To save, see `train.checkpoint`.
    """

    policy: EntityPolicy  # type: ignore[assignment]

    def __init__(self, policy: type[EntityPolicy], env: AgentVecEnv, **options: Any) -> None:
        """As PPO; `options` are its keyword arguments.

        Raises:
            ValueError: an env that is not an AgentVecEnv.
        """
        if not isinstance(env, AgentVecEnv):
            raise ValueError(f"env must be an AgentVecEnv (see make_sb3_vec_env), not {type(env).__name__}")
        super().__init__(policy, env, **options)  # type: ignore[arg-type]

    @property
    def batch(self) -> WorldBatch:
        """The worlds that are trained in."""
        assert isinstance(self.env, AgentVecEnv)
        return self.env.batch

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Not possible: rollouts are laid out for the worlds of the start."""
        raise NotImplementedError("set_env: make a new EntityPPO, and give it this one's policy.state_dict()")

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "totals"]

    def _setup_model(self) -> None:
        self.n_envs = self.batch.n_worlds
        # stable-baselines3 builds a buffer of its own first: keep that one small.
        n_steps, self.n_steps = self.n_steps, 1
        super()._setup_model()
        self.n_steps = n_steps
        self.rollout_buffer = EntityRolloutBuffer(n_steps, self.batch, self.device)  # type: ignore[assignment]
        self.policy.optimizer.register_step_pre_hook(self._check_gradients)
        self._start_counting()

    def _check_gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Before every step of the optimiser, so that no weight is ever lost.

        Raises:
            FloatingPointError: the loss or a gradient is not finite.
        """
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            raise FloatingPointError("the loss or its gradient is not finite")

    def _start_counting(self) -> None:
        self.agent_steps = 0
        self.totals = Totals(self.batch.n_worlds, self.batch.n_slots, len(self.batch.world.METRICS))

    def _setup_learn(self, *arguments: Any, **options: Any) -> Any:
        ready = super()._setup_learn(*arguments, **options)
        if self.num_timesteps > 0:
            return ready
        self._start_counting()
        if self.batch.params.max_cycles and not self.batch.steps.any():
            # First episodes are cut at different times: otherwise all worlds would reset in the same step
            # for ever, and a rollout would hold either the crowded starts of episodes or their calm ends.
            self.batch.steps[:] = np.arange(self.batch.n_worlds) * self.batch.params.max_cycles // self.n_envs
        return ready

    def collect_rollouts(  # type: ignore[override]
        self, env: AgentVecEnv, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with `n_rollout_steps` of every world."""
        self.policy.set_training_mode(False)
        self.totals.clear()
        callback.on_rollout_start()
        for t in range(n_rollout_steps):
            self._step(rollout_buffer, t)
            self.num_timesteps += self.batch.n_worlds
            callback.update_locals(locals())
            if not callback.on_step():
                return False
        rollout_buffer.finish(
            self._values(joint_observation(self.batch, self.device)), self.gamma, self.gae_lambda
        )
        self._log_rollout()
        callback.on_rollout_end()
        return True

    def _step(self, buffer: EntityRolloutBuffer, t: int) -> None:
        batch = self.batch
        obs = joint_observation(batch, self.device)
        own = obs["own"]
        with torch.no_grad():
            actions, values, log_probs = self.policy(obs)
        buffer.entities[t], buffer.mask[t] = obs["entities"], own
        if buffer.visible is not None:
            buffer.visible[t] = obs["visible"]
        for slots, living in (
            (buffer.actions, actions),
            (buffer.state_values, values),
            (buffer.log_probs, log_probs),
        ):
            slots[t][own] = living.to(slots.dtype)
        mask = batch.alive.copy()
        step = batch.step(bounded(buffer.actions[t], self.action_space))
        buffer.rewards[t] = torch.from_numpy(step.reward)
        buffer.terminated[t] = torch.from_numpy(step.terminated)
        cut = batch.alive & step.truncated[:, None]
        buffer.truncated[t] = torch.from_numpy(cut)
        if cut.any():
            worlds = torch.from_numpy(cut.any(axis=1)).to(self.device)
            last = joint_observation(batch, self.device)
            buffer.next_values[t][worlds] = self._values({name: v[worlds] for name, v in last.items()})
        self.totals.add(mask, step.reward, batch.metrics)
        if batch.over.any():
            self.ep_info_buffer.extend(self.totals.finished(batch.over))  # type: ignore[union-attr]
            batch.reset(batch.over.copy())

    def _values(self, obs: Observation) -> Tensor:
        with torch.no_grad():
            values = torch.zeros(obs["mask"].shape, device=self.device)
            values[obs["own"]] = self.policy.predict_values(obs)
        return values

    def _log_rollout(self) -> None:
        n, reward, metrics = self.totals.rates()
        self.logger.record("rollout/reward_per_agent_step", reward)
        for name, value in zip(self.batch.world.METRICS, metrics, strict=True):
            self.logger.record(f"rollout/{name}_per_agent_step", value)
        self.agent_steps += n
        self.logger.record("time/agent_steps", self.agent_steps)


class Totals:
    """Sums over the living agents of a rollout, and over the episodes that are running."""

    def __init__(self, n_worlds: int, n_slots: int, n_metrics: int) -> None:
        """All zero."""
        self.episode_return = np.zeros((n_worlds, n_slots))
        self.joined = np.zeros((n_worlds, n_slots), np.bool_)
        self.length = np.zeros(n_worlds, np.int64)
        self.metrics = np.zeros(n_metrics)
        self.clear()

    def clear(self) -> None:
        """Start the sums of a rollout."""
        self.agent_steps, self.reward = 0, 0.0
        self.metrics[:] = 0

    def add(self, mask: np.ndarray, reward: np.ndarray, metrics: np.ndarray) -> None:
        """Add one step; `mask` (B, L) tells who acted."""
        self.agent_steps += int(mask.sum())
        self.reward += float(reward.sum(dtype=np.float64))
        self.metrics += metrics.sum(axis=(0, 1), dtype=np.float64)
        self.episode_return += reward
        self.joined |= mask
        self.length += 1

    def finished(self, over: np.ndarray) -> list[dict[str, float]]:
        """Mean return per agent and length of the episodes that ended, and start those sums anew."""
        ended = [
            {"r": float(self.episode_return[b][self.joined[b]].mean()), "l": float(self.length[b])}
            for b in np.flatnonzero(over)
        ]
        self.episode_return[over] = 0
        self.joined[over] = False
        self.length[over] = 0
        return ended

    def rates(self) -> tuple[int, float, np.ndarray]:
        """Agent steps, and reward and metrics per agent step."""
        n = max(1, self.agent_steps)
        return self.agent_steps, self.reward / n, self.metrics / n
