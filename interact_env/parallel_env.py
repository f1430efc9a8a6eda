"""PettingZoo's view of a world: one agent, one observation."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from interact_env import check
from interact_env.engine import WorldBatch
from interact_env.render import METADATA, Renderer
from interact_env.spaces import entity_space, flat_space, flatten
from interact_env.world import World


class WorldParallelEnv(ParallelEnv[str, Any, Any]):
    """A batch of one world behind PettingZoo's ParallelEnv.

    An agent's observation is the set of entities it sees, its own row first, then the others, then
    zeros: Dict(entities=Box(n, F), mask=MultiBinary(n)), or with `flat=True` one Box (n * (F + 1),). An
    agent that has just left sees nothing: zeros.
    The info of an agent holds the world's metrics of the step.
    """

    def __init__(
        self,
        world: World,
        *,
        flat: bool = False,
        render_mode: str | None = None,
        seed: int | None = None,
        **parameters: Any,
    ) -> None:
        """Make the env; `seed` is that of the first reset, `parameters` are the world's (`configure`).

        Raises:
            ValueError: a value is not allowed, by name.
        """
        self.metadata = {**METADATA, "name": world.name, "is_parallelizable": True}
        self.render_mode = render_mode
        self.renderer = Renderer(render_mode)
        world.params(parameters)  # refuses the options of a batch
        self._batch = WorldBatch(world, 1, seed=seed, n_threads=1, **parameters)
        self._flat = check.flag("flat", flat)
        n, columns = self._batch.n_slots, self._batch.columns
        self.possible_agents = [f"agent_{i}" for i in range(n)]
        self.agents: list[str] = []
        self._slot = {agent: i for i, agent in enumerate(self.possible_agents)}
        make_space = flat_space if flat else entity_space
        # One space per agent, so that seeding one agent's does not move another's.
        dtype = self._batch.dtype
        self._observation_space = {a: make_space(columns, n, dtype) for a in self.possible_agents}
        self._action_space = {a: world.action_space(self._batch.params) for a in self.possible_agents}
        bounds = flat_space(columns, n, dtype)
        low, high = (bound.reshape(n, len(columns) + 1) for bound in (bounds.low, bounds.high))
        self.state_space = spaces.Box(low, high, dtype=dtype.type)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """The space of one agent's observations; the same object at every call."""
        return self._observation_space[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """The space of one agent's actions; the same object at every call."""
        return self._action_space[agent]

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start the next episode, or episode 0 of `seed`; `options` are not used."""
        self._batch.reset(seed=seed)
        alive = self._batch.alive[0]
        self.agents = [a for a, i in self._slot.items() if alive[i]]
        self.renderer.follow(self._batch)
        return self._observations(self.agents), {agent: {} for agent in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Advance by one step; needs one action for each agent in `self.agents`.

        Raises:
            ValueError: a missing or unknown agent, or a bad action, by the agent's name.
            RuntimeError: before the first reset, or when all agents have left.
        """
        joint = self._joint(actions)
        step = self._batch.advance(joint)
        acted = self.agents
        over = bool(step.truncated[0])
        reward, terminated = step.reward[0].tolist(), step.terminated[0].tolist()
        slots = [self._slot[agent] for agent in acted]
        rewards = {agent: reward[i] for agent, i in zip(acted, slots, strict=True)}
        terminations = {agent: terminated[i] for agent, i in zip(acted, slots, strict=True)}
        truncations = {agent: over and not t for agent, t in terminations.items()}
        names = self._batch.world.METRICS
        metrics = self._batch.metrics[0].tolist()
        infos = {a: dict(zip(names, metrics[i], strict=True)) for a, i in zip(acted, slots, strict=True)}
        observations = self._observations(acted)
        self.agents = [] if over else [a for a in acted if not terminations[a]]
        self.renderer.follow(self._batch)
        return observations, rewards, terminations, truncations, infos

    def state(self) -> np.ndarray:
        """All entity rows, with presence as the last column: (n, F + 1)."""
        present = self._batch.alive[0][:, None].astype(self._batch.dtype)
        return np.hstack([self._batch.rows[0], present])

    def render(self) -> np.ndarray | None:
        """An RGB frame (height, width, 3) uint8, or None in mode "human" (it draws in a window).

        Raises:
            RuntimeError: made without a render_mode, or before the first reset.
        """
        return self.renderer.render(self._batch)

    def close(self) -> None:
        """Close the window, if there is one."""
        self.renderer.close()

    @property
    def batch(self) -> WorldBatch:
        """The batch of one world behind this env, to save and restore or to look inside."""
        return self._batch

    def _observations(self, agents: list[str]) -> dict[str, Any]:
        entities, mask = self._batch.views()
        if self._flat:
            flat = flatten(entities, mask)
            return {agent: flat[self._slot[agent]] for agent in agents}
        return {
            agent: {"entities": entities[i], "mask": mask[i]}
            for agent, i in ((agent, self._slot[agent]) for agent in agents)
        }

    def _joint(self, actions: Mapping[str, Any]) -> np.ndarray:
        """Actions by agent as the batch's array."""
        if not self.agents:
            why = "all agents have left" if self._batch.episode[0] >= 0 else "step() before reset()"
            raise RuntimeError(f"{why}: call reset() first")
        if not isinstance(actions, Mapping):
            raise ValueError(f"actions must be a dict by agent, not a {type(actions).__name__}")
        if actions.keys() != set(self.agents):
            self._explain_agents(actions)
        joint = self._batch.blank_actions()
        for agent in self.agents:
            joint[0, self._slot[agent]] = self._action(agent, actions[agent])
        return joint

    def _action(self, agent: str, action: Any) -> Any:
        space = self._action_space[agent]
        if isinstance(space, spaces.Discrete):
            try:
                number = operator.index(action)
            except TypeError:
                number = -1
            if 0 <= number < space.n:
                return number
            raise ValueError(f"action of {agent!r} must be a whole number in [0, {space.n}), not {action!r}")
        assert isinstance(space, spaces.Box)
        given = np.asarray(action)
        inside = given.dtype.kind == "f" and given.shape == space.shape
        if inside and ((given >= space.low) & (given <= space.high)).all():
            return given
        raise ValueError(
            f"action of {agent!r} must be floats of shape {space.shape} "
            f"within [{space.low.min():g}, {space.high.max():g}], not {action!r}"
        )

    def _explain_agents(self, actions: Mapping[str, Any]) -> None:
        unknown = [agent for agent in actions if agent not in self._slot]
        if unknown:
            raise ValueError(f"actions has an unknown agent {unknown[0]!r}; agents: {self.agents}")
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise ValueError(f"actions lacks an action for {missing[0]!r}; agents: {self.agents}")
        left = [agent for agent in actions if agent not in self.agents]
        raise ValueError(f"actions has {left[0]!r}, which has left; agents: {self.agents}")


Makers = tuple[
    Callable[..., WorldParallelEnv],
    Callable[..., AECEnv[Any, Any, Any]],
    Callable[..., AECEnv[Any, Any, Any]],
]


def pettingzoo_makers(find: Callable[[], World]) -> Makers:
    """parallel_env, raw_env and env of a world, as a PettingZoo module offers them."""

    def parallel_env(**parameters: Any) -> WorldParallelEnv:
        """A PettingZoo ParallelEnv; parameters as in the world's `configure`."""
        return WorldParallelEnv(find(), **parameters)

    def env(**parameters: Any) -> AECEnv[Any, Any, Any]:
        """A PettingZoo AECEnv; parameters as in the world's `configure`."""
        return parallel_to_aec(parallel_env(**parameters))

    return parallel_env, env, env
