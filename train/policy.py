"""stable-baselines3's policy interface around `EntityActorCritic`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution, make_proba_distribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from interact_env.engine import WorldBatch
from policies import EntityActorCritic

Observation = dict[str, Tensor]


def joint_observation(batch: WorldBatch, device: torch.device | str) -> Observation:
    """All agents of all worlds as one observation, float32; it may share the batch's memory."""
    mask = torch.as_tensor(batch.alive).to(device)
    rows = torch.as_tensor(batch.rows).to(device, torch.float32)
    observation = {"entities": rows, "mask": mask, "own": mask}
    visible = batch.visible()
    if visible is not None:
        observation["visible"] = torch.as_tensor(visible).to(device)
    return observation


class EntityPolicy(BasePolicy):
    """Acts for each agent from its own view, or, with "own" in the observation, for all of a set at once.

    An observation holds "entities" (B, L, F) and "mask" (B, L). A view's agent is its first entity. A joint
    observation adds "own" (B, L) bool, the M rows to act for, and perhaps "visible" (B, L, L). Results are
    (B,) or (M,).
    """

    low: Tensor  # of a Box
    high: Tensor

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        use_sde: bool = False,
        optimizer_kwargs: dict[str, Any] | None = None,
        **network: Any,
    ) -> None:
        """Make the policy.

        Args:
            observation_space: of `interact_env`: its "entities" space knows the columns.
            action_space: Discrete or Box of one agent.
            lr_schedule: learning rate by remaining progress.
            use_sde: must be False.
            optimizer_kwargs: of torch.optim.Adam.
            network: keyword arguments of `EntityActorCritic`.

        Raises:
            ValueError: state-dependent exploration, or a space without columns.
        """
        if use_sde:
            raise ValueError("use_sde must be False: EntityPolicy has no state-dependent exploration")
        columns = getattr(observation_space["entities"], "columns", None)
        if columns is None:
            raise ValueError("observation_space['entities'] must be an interact_env.spaces.EntityBox")
        super().__init__(observation_space, action_space)
        self._options = network
        self.network = EntityActorCritic(columns, n_outputs(action_space), **network)
        self.distribution = make_proba_distribution(action_space)
        if isinstance(action_space, spaces.Box):
            # At e^0 most samples of a Box of [-1, 1] would be clipped, and it takes long to come down.
            self.log_std = nn.Parameter(torch.full((n_outputs(action_space),), -1.0))
            for name in ("low", "high"):
                bound = torch.as_tensor(getattr(action_space, name), dtype=torch.float32)
                self.register_buffer(name, bound, persistent=False)
        self.optimizer = torch.optim.Adam(
            self.parameters(), lr=lr_schedule(1), eps=1e-5, **(optimizer_kwargs or {})
        )

    def forward(self, obs: Observation, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and log-probabilities of the agents that act."""
        distribution, values = self._evaluate(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions)

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        """Random numbers from which `act` draws the actions of so many agents: one each, or n_outputs."""
        if isinstance(self.action_space, spaces.Box):
            return torch.randn(*shape, n_outputs(self.action_space), device=self.device)
        return torch.rand(shape, device=self.device)

    def act(self, obs: Observation, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Actions, values and log-probabilities of every entity of a joint observation, whoever is there.

        Args:
            obs: joint, (B, L).
            noise: for (B, L) agents.

        Returns:
            actions (B, L, ...), values (B, L), log-probabilities (B, L), and whether all outputs are finite.
        """
        outputs, values = self._network(obs)
        if isinstance(self.action_space, spaces.Box):
            actions = outputs + noise * self.log_std.exp()
        else:
            reached = _log_softmax(outputs).exp().cumsum(0)
            actions = (reached[:-1] <= noise * reached[-1]).sum(0)  # the last is 1, but for rounding
        finite = torch.isfinite(outputs).all() & torch.isfinite(values).all()
        return actions, values, self._log_probs(outputs, actions)[0], finite

    def bounded(self, actions: Tensor) -> Tensor:
        """Actions for the env: a Gaussian's samples clipped to their Box, which the loss does not see."""
        return actions.clamp(self.low, self.high) if isinstance(self.action_space, spaces.Box) else actions

    def evaluate_all(self, obs: Observation, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, log-probabilities and entropies (B, L) of given actions, of every entity."""
        outputs, values = self._network(obs)
        return values, *self._log_probs(outputs, actions)

    def _log_probs(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies (B, L); torch's distributions would make the host check them."""
        if isinstance(self.action_space, spaces.Box):
            scaled = (actions - outputs) / self.log_std.exp()
            constant = self.log_std + 0.5 * math.log(2 * math.pi)
            log_probs = -(0.5 * scaled.square() + constant).sum(-1)
            return log_probs, (0.5 + constant).sum().expand_as(log_probs)
        logs = _log_softmax(outputs)
        return logs.gather(0, actions[None]).squeeze(0), -(logs.exp() * logs).sum(0)

    def evaluate_actions(self, obs: Observation, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, log-probabilities and entropies of given actions."""
        distribution, values = self._evaluate(obs)
        return values, distribution.log_prob(actions), distribution.entropy()

    def predict_values(self, obs: Observation) -> Tensor:
        """Values of the agents that act."""
        return self._select(obs, self._network(obs)[1])

    def get_distribution(self, obs: Observation) -> Distribution:
        """The action distribution of the agents that act."""
        return self._evaluate(obs)[0]

    def obs_to_tensor(self, observation: Any) -> tuple[Any, bool]:
        """Views as tensors: "entities" (n, F) or (B, n, F) and "mask", for any number n of entities.

        Raises:
            ValueError: rows of another width.
        """
        width = self.observation_space["entities"].shape[-1]  # type: ignore[index]
        tensors = {name: torch.as_tensor(value, device=self.device) for name, value in observation.items()}
        shape = tuple(tensors["entities"].shape)
        if len(shape) not in (2, 3) or shape[-1] != width:
            raise ValueError(f"observation['entities'] must be (..., n, {width}), not {shape}")
        if len(shape) == 3:
            return tensors, True
        return {name: value[None] for name, value in tensors.items()}, False

    def weights(self) -> dict[str, Tensor]:
        """The network's tensors, by the names they have there, and of a Box also `log_std`."""
        return {name.removeprefix("network."): tensor for name, tensor in self.state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over `weights` of a policy of the same kind."""
        own = dict(zip(self.weights(), self.state_dict(), strict=True))
        self.load_state_dict({own[name]: tensor for name, tensor in weights.items()})

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            **self._options,
        }

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self.get_distribution(observation).get_actions(deterministic=deterministic)

    def _evaluate(self, obs: Observation) -> tuple[Distribution, Tensor]:
        logits, values = self._network(obs)
        logits, values = self._select(obs, logits), self._select(obs, values)
        if not torch.isfinite(logits).all():
            raise FloatingPointError("what the policy makes of its observations is not finite")
        if isinstance(self.action_space, spaces.Box):
            return self.distribution.proba_distribution(logits, self.log_std), values
        return self.distribution.proba_distribution(logits), values

    def _network(self, obs: Observation) -> tuple[Tensor, Tensor]:
        logits, values = self.network(obs["entities"].float(), obs["mask"].bool(), obs.get("visible"))
        return logits, values

    @staticmethod
    def _select(obs: Observation, values: Tensor) -> Tensor:
        own = obs.get("own")
        return values[:, 0] if own is None else values[own]


def _log_softmax(outputs: Tensor) -> Tensor:
    """Log-probabilities (n, B, L) of logits (B, L, n).

    Along the first axis torch works on many agents at once: ten times as fast on a CPU.
    """
    return outputs.movedim(-1, 0).contiguous().log_softmax(0)


def n_outputs(action_space: spaces.Space[Any]) -> int:
    """Logits of a Discrete space, or numbers of a Box."""
    if isinstance(action_space, spaces.Discrete):
        return int(action_space.n)
    shape: Sequence[int] = action_space.shape or ()
    return int(torch.Size(shape).numel())
