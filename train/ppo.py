"""stable-baselines3's PPO with rollouts of whole worlds, and updates that read nothing back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from interact_env.engine import WorldBatch
from train import products
from train.buffer import EntityRolloutBuffer, Minibatch
from train.cuts import Cuts
from train.policy import EntityPolicy, Observation, joint_observation
from train.ranks import ALONE, Ranks
from train.totals import Totals, on_host
from train.update import NUMBERS, Coefficients, at_once, explained_variance, losses, ready
from train.vec_env import AgentVecEnv


def _nothing() -> None:
    pass


class EntityPPO(PPO):
    """PPO whose rollouts and updates compute all agents of all worlds in one joint pass.

    `n_steps` and timesteps count env steps (one world advanced by one step), `batch_size` counts worlds
    at a step; the loss averages over the living agents in them. `train()` learns what stable-baselines3's own
    would. The first episodes of a run are cut early, each world's at another step; and after a rollout worlds
    start anew that too many agents have left. To save, see `train.checkpoint`.
    """

    policy: EntityPolicy  # type: ignore[assignment]
    rollout_buffer: EntityRolloutBuffer  # type: ignore[assignment]

    def __init__(
        self,
        policy: type[EntityPolicy],
        env: AgentVecEnv,
        *,
        restart_below: float = 0.5,
        ranks: Ranks = ALONE,
        **options: Any,
    ) -> None:
        """As PPO.

        Args:
            policy: EntityPolicy.
            env: this process's share of the worlds.
            restart_below: share of the agents of its start below which a world starts anew.
            ranks: of processes that train together; steps, `batch_size` and timesteps count those of all.
            options: PPO's keyword arguments.

        Raises:
            ValueError: an env that is not an AgentVecEnv, or a batch size that the processes cannot share.
        """
        if not isinstance(env, AgentVecEnv):
            raise ValueError(f"env must be an AgentVecEnv (see make_sb3_vec_env), not {type(env).__name__}")
        self.restart_below = restart_below
        self.ranks = ranks
        self.before_minibatch: Callable[[], None] = _nothing  # may raise, to break an update off
        super().__init__(policy, env, **options)  # type: ignore[arg-type]

    @property
    def batch(self) -> WorldBatch:
        """The worlds that are trained in."""
        assert isinstance(self.env, AgentVecEnv)
        return self.env.batch

    @property
    def _looks(self) -> bool:
        """Whether the host reads what it could do without: where it does not have to wait for a device."""
        return self.device.type == "cpu"

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Not possible: rollouts are laid out for the worlds of the start."""
        raise NotImplementedError("set_env: make a new EntityPPO, and give it this one's policy.state_dict()")

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "ranks", "totals", "_cuts", "_bad", "_update"]

    def _setup_model(self) -> None:
        self.n_envs = self.batch.n_worlds
        # stable-baselines3 builds a buffer of its own first: keep that one small.
        n_steps, self.n_steps = self.n_steps, 1
        options = self.policy_kwargs.get("optimizer_kwargs") or {}
        fused = {} if {"fused", "foreach"} & options.keys() else {"fused": True}
        self.policy_kwargs = {**self.policy_kwargs, "optimizer_kwargs": {**fused, **options}}
        super()._setup_model()
        self.n_steps = n_steps
        self._share = self.ranks.share("batch_size", self.batch_size)
        self._piece = at_once(self.batch.n_slots, self.device.type)
        self.rollout_buffer = EntityRolloutBuffer(n_steps, self.batch, self.device)
        self._cuts = Cuts(n_steps, self.batch, self.device)
        self._bad, self._update = torch.zeros((), device=self.device), dict[str, Tensor]()
        for tensor in self.policy.state_dict().values():
            self.ranks.same(tensor)
        self._start_counting()

    def _start_counting(self) -> None:
        batch = self.batch
        self.agent_steps = 0
        shape = (batch.n_worlds, batch.n_slots)
        self.totals = Totals(self.n_steps, shape, len(batch.world.METRICS), self.device)

    def _setup_learn(self, *arguments: Any, **options: Any) -> Any:
        ready = super()._setup_learn(*arguments, **options)
        if self.num_timesteps > 0:
            return ready
        self._start_counting()
        if self.batch.params.max_cycles and not self.batch.steps.any():
            # First episodes are cut at different times: otherwise all worlds would reset in the same step
            # for ever, and a rollout would hold either the crowded starts of episodes or their calm ends.
            n = self.n_envs * self.ranks.size
            starts = torch.arange(n) * self.batch.params.max_cycles // n
            self.batch.steps[:] = starts[self.ranks.own(self.n_envs)]
        return ready

    def learn(self, *arguments: Any, **options: Any) -> EntityPPO:
        """As PPO's.

        Raises:
            FloatingPointError: a loss, a gradient or an output was not finite. On a GPU that is told at the
                end of the next rollout, or of the training; the step has been skipped.
        """
        super().learn(*arguments, **options)
        self.look_at_update()
        return self

    def collect_rollouts(  # type: ignore[override]
        self, env: AgentVecEnv, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with `n_rollout_steps` of every world."""
        self.policy.set_training_mode(False)
        self.totals.clear()
        self._cuts.clear()
        callback.on_rollout_start()
        with torch.no_grad():
            for t in range(n_rollout_steps):
                self._step(rollout_buffer, t)
                self.num_timesteps += self.n_envs * self.ranks.size
                callback.update_locals(locals())
                if not callback.on_step():
                    return False
            self._cuts.bootstrap(rollout_buffer, self._values)
            last = self._values(joint_observation(self.batch, self.device))
            rollout_buffer.finish(last, self.gamma, self.gae_lambda)
            self._restart()
        self._look()
        callback.on_rollout_end()
        return True

    def _step(self, buffer: EntityRolloutBuffer, t: int) -> None:
        batch = self.batch
        obs = joint_observation(batch, self.device)
        own = obs["own"].clone()
        with products.fastest():
            actions, values, log_probs, finite = self.policy.act(obs, self._noise())
        if self._looks and not finite:
            raise FloatingPointError("what the policy makes of its observations is not finite")
        buffer.entities[t], buffer.mask[t] = obs["entities"], own
        if buffer.visible is not None:
            buffer.visible[t] = obs["visible"]
        buffer.actions[t] = torch.where(own.view(*own.shape, *[1] * (actions.ndim - 2)), actions, 0)
        buffer.state_values[t] = torch.where(own, values, 0)
        buffer.log_probs[t] = torch.where(own, log_probs, 0)
        chosen = self.policy.bounded(buffer.actions[t])
        on_device = isinstance(batch.rows, Tensor)
        step = batch.advance(chosen if on_device else chosen.cpu().numpy())
        reward, terminated, truncated, over = (
            torch.as_tensor(a).to(self.device) for a in (*step, batch.over)
        )
        buffer.rewards[t], buffer.terminated[t] = reward, terminated
        buffer.truncated[t] = False
        if self._cuts.room and not (self._looks and not truncated.any()):
            last = joint_observation(batch, self.device)
            buffer.truncated[t] = last["mask"] & truncated[:, None]
            self._cuts.add(t, truncated, last)
        metrics = torch.as_tensor(batch.metrics).to(self.device)
        self.totals.add(t, own, reward, metrics, over)
        batch.reset(batch.over)

    def _restart(self) -> None:
        """Start the worlds anew that too many agents have left.

        Those of many would else go on until the last has left, with little to learn from: three in four
        agent steps of a training with 32 bodies under gravity were lost so.
        """
        batch = self.batch
        left = batch.alive.sum(axis=1) < self.restart_below * batch.n_agents
        self.totals.end(self.n_steps - 1, torch.as_tensor(left).to(self.device))
        batch.reset(left)

    def _noise(self) -> Tensor:
        """For this process's worlds; all draw that of all, so that it is another for each."""
        n = self.n_envs
        return self.policy.noise((n * self.ranks.size, self.batch.n_slots))[self.ranks.own(n)]

    def _values(self, obs: Observation) -> Tensor:
        with products.fastest():
            return torch.where(obs["mask"], self.policy._network(obs)[1], 0)

    def _look(self) -> None:
        """The only look that the host takes in an iteration: at a rollout, and at the update before it."""
        seen = (*self.totals.found(self.ranks), self._bad, *self._update.values())
        sums, ended, *update = on_host(*seen)
        self.ep_info_buffer.extend(self.totals.finish(sums, ended))  # type: ignore[union-attr]
        self._log_rollout()
        self._log_update(*update)

    def look_at_update(self) -> None:
        """Log an update now, before a rollout has ended that follows it.

        Raises:
            FloatingPointError: its loss or gradient was not finite, and so left out.
        """
        self._log_update(*on_host(self._bad, *self._update.values()))

    def _log_rollout(self) -> None:
        n, reward, metrics = self.totals.rates()
        self.logger.record("rollout/reward_per_agent_step", reward)
        for name, value in zip(self.batch.world.METRICS, metrics, strict=True):
            self.logger.record(f"rollout/{name}_per_agent_step", value)
        self.agent_steps += n
        self.logger.record("time/agent_steps", self.agent_steps)

    def train(self) -> None:
        """Update the policy with the rollout.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; the weights are still good. On a GPU
                `look_at_update` raises it.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        coefficients = self._coefficients()
        numbers: list[Tensor] = []
        stop = False
        self._bad.zero_()
        with products.fastest():
            for _ in range(self.n_epochs):
                first = len(numbers)
                for part in self.rollout_buffer.minibatches(self._share, self.ranks):
                    self.before_minibatch()
                    numbers.append(self._differentiate(part, coefficients))
                    stop = self._is_too_far(numbers[-1][3])
                    if stop:
                        break
                    self._descend()
                self._n_updates += 1
                if stop:
                    break
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", coefficients.clip_range)
        if coefficients.clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", coefficients.clip_range_vf)
        self._update = self._findings(torch.stack(numbers), first)
        if self._looks:
            self.look_at_update()

    def _coefficients(self) -> Coefficients:
        left = self._current_progress_remaining
        clip = self.clip_range(left)  # type: ignore[operator]
        clip_vf = None if self.clip_range_vf is None else self.clip_range_vf(left)  # type: ignore[operator]
        return Coefficients(clip, clip_vf, self.ent_coef, self.vf_coef)

    def _differentiate(self, part: Minibatch, coefficients: Coefficients) -> Tensor:
        """The gradient of a minibatch's loss; its `NUMBERS`, those of this process's part."""
        self.policy.optimizer.zero_grad()
        part, n = ready(part, self.normalize_advantage, self.ranks)
        numbers = torch.zeros(len(NUMBERS), device=self.device)
        for piece in part.split(self._piece):
            found = losses(self.policy, piece, n, coefficients)
            found[-1].backward()
            numbers += found.detach()
        return numbers

    def _is_too_far(self, approx_kl: Tensor) -> bool:
        """Whether to end the update early; read from the device only where there is a target."""
        if self.target_kl is None:
            return False
        return float(self.ranks.total(approx_kl.clone())) > 1.5 * self.target_kl

    def _descend(self) -> None:
        """One step of the optimiser; none where the gradient is not finite."""
        optimizer = self.policy.optimizer
        gradients = [p.grad for p in self.policy.parameters() if p.grad is not None]
        self._add_up(gradients)
        norm = get_total_norm(gradients)
        bad = ~torch.isfinite(norm)
        fused = optimizer.param_groups[0].get("fused")
        if (self._looks or not fused) and bad:
            raise FloatingPointError("the loss or its gradient is not finite")
        clip_grads_with_norm_(self.policy.parameters(), self.max_grad_norm, norm)
        self._bad.copy_(torch.maximum(self._bad, bad.float()))
        if fused:
            # As torch's GradScaler does: the step is skipped on the device, and the host need not know yet.
            optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        optimizer.step()

    def _add_up(self, gradients: list[Tensor]) -> None:
        """Sum the gradients of all processes, in place."""
        if self.ranks.size == 1:
            return
        flat = self.ranks.total(torch.cat([g.flatten() for g in gradients]))
        for g, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            g.copy_(total.view(g.shape))

    def _findings(self, numbers: Tensor, last_epoch: int) -> dict[str, Tensor]:
        """What is to be known of an update, on the device.

        Args:
            numbers: `NUMBERS` of every minibatch.
            last_epoch: the first minibatch of the last epoch.
        """
        buffer = self.rollout_buffer
        explained = explained_variance(buffer.state_returns, buffer.state_values, buffer.mask, self.ranks)
        numbers = self.ranks.total(numbers)
        found = dict(zip(NUMBERS, numbers.mean(dim=0), strict=True))
        found["approx_kl"], found["loss"] = numbers[last_epoch:, 3].mean(), numbers[-1, -1]
        found["explained_variance"] = explained
        if hasattr(self.policy, "log_std"):
            found["std"] = self.policy.log_std.detach().exp().mean()
        return found

    def _log_update(self, bad: np.ndarray, *found: np.ndarray) -> None:
        names, self._update = list(self._update), {}
        if bad:
            raise FloatingPointError("the loss or its gradient is not finite")
        for name, value in zip(names, found, strict=True):
            self.logger.record(f"train/{name}", float(value))
