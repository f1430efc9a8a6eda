"""An agent that a person steers with the keyboard."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

if TYPE_CHECKING:
    from interact_env.parallel_env import WorldParallelEnv

# For each axis of a Box, the keys that push along it and against it.
_AXES = (("right", "left"), ("up", "down"), ("page up", "page down"))


def keys_of(space: spaces.Space[Any], named: Mapping[str, int]) -> dict[str, Any]:
    """The action of each key, by the key's name.

    Args:
        space: of the actions; a Box is pushed along its first three axes by the arrows and page keys.
        named: the world's KEYS, for a Discrete space; empty: the digits.

    Returns:
        key name -> number of an action, or a vector as long as the Box's.
    """
    if isinstance(space, spaces.Discrete):
        return dict(named) or {str(k): k for k in range(min(10, int(space.n)))}
    assert isinstance(space, spaces.Box)
    pushes: dict[str, Any] = {}
    for axis, (along, against) in enumerate(_AXES[: space.shape[0]]):
        for key, bound in ((along, space.high), (against, space.low)):
            pushes[key] = np.where(np.arange(space.shape[0]) == axis, bound, 0).astype(np.float32)
    return pushes


def steered(space: spaces.Space[Any], keys: Mapping[str, Any], down: Collection[str]) -> Any:
    """The action while these keys are down: of a Discrete space that of the last, of a Box their sum.

    With none of them down it is 0: all worlds here rest then.
    """
    chosen = [keys[key] for key in down if key in keys]
    if isinstance(space, spaces.Discrete):
        return chosen[-1] if chosen else 0
    assert isinstance(space, spaces.Box)
    return np.clip(np.sum([np.zeros(space.shape, np.float32), *chosen], axis=0), space.low, space.high)


def held(keys: Collection[str]) -> list[str]:
    """Which of the keys of these names are down now; needs a window."""
    import pygame

    pressed = pygame.key.get_pressed()
    return [key for key in keys if pressed[pygame.key.key_code(key)]]


class ManualPolicy:
    """PettingZoo's manual play: `action = manual_policy(observation, agent)` for the agent that is steered.

    Keys count while they are down, or since the last call. Escape ends the program, as in PettingZoo.
    """

    def __init__(self, env: Any, agent_id: int = 0, show_obs: bool = False) -> None:
        """Steer an agent of a PettingZoo env (parallel or AEC) with render_mode="human".

        Args:
            env: the env.
            agent_id: which of its agents.
            show_obs: print the observation of every step.

        Raises:
            ValueError: there is no such agent, or the env has no window whose keys could be read.
        """
        parallel: WorldParallelEnv = getattr(env.unwrapped, "env", env.unwrapped)
        agents = parallel.possible_agents
        if not 0 <= agent_id < len(agents):
            raise ValueError(f"agent_id must be in [0, {len(agents)}), not {agent_id!r}")
        if parallel.render_mode != "human":
            raise ValueError(f"env must have render_mode='human' to be steered, not {parallel.render_mode!r}")
        self.agent, self.show_obs = agents[agent_id], show_obs
        self.space = parallel.action_space(self.agent)
        self.keys = keys_of(self.space, parallel.batch.world.KEYS)
        self._renderer = parallel.renderer
        self._names = {agent: k for k, agent in enumerate(agents)}

    @property
    def available_agents(self) -> dict[str, int]:
        """Every agent with its `agent_id`."""
        return self._names

    def __call__(self, observation: Any, agent: str) -> Any:
        """The action of the agent that is steered.

        Raises:
            ValueError: another agent.
            SystemExit: escape was pressed, or the window closed.
            RuntimeError: before the first reset.
        """
        if agent != self.agent:
            raise ValueError(f"agent must be {self.agent!r}, which is steered, not {agent!r}")
        if self.show_obs:
            print(observation)
        import pygame

        if self._renderer.closed:
            raise SystemExit
        if not pygame.display.get_init():
            raise RuntimeError("there is no window yet: reset the env before an action is asked for")
        tapped = []
        for event in pygame.event.get():
            if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
                raise SystemExit
            if event.type == pygame.KEYDOWN:
                tapped.append(pygame.key.name(event.key))
        return steered(self.space, self.keys, [*dict.fromkeys([*held(self.keys), *tapped])])
