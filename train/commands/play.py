"""`interact-env play`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from train.commands import watch
from train.config import TrainConfig


@dataclasses.dataclass
class PlayConfig:
    """Steer one agent with the keyboard, among agents that a policy drives."""

    env: str = ""
    """World to play in; by default that of the run, or colliding_agents_v0."""
    run: Path | None = None
    """Directory of a run whose policy drives the others."""
    policy: str = ""
    """Scripted policy that drives the others: random, or one of the world's; by default its first."""
    n_agents: int = 0
    """Number of agents; 0: as many as the world, or the run, has."""
    agent: int = 0
    """Agent to steer."""
    seed: int = 0
    """Seed of the episodes."""
    env_params: tuple[str, ...] = ()
    """Parameters of the world to change, as NAME=VALUE."""
    size: str = "800x800"
    """Width and height of the window, pixels."""
    speed: float = 4.0
    """Steps a second."""
    threads: int = 0
    """CPU threads; 0: as many as torch takes by itself."""


def run(config: PlayConfig) -> int:
    """`interact-env play`."""
    import interact_env
    from interact_env.render import Look
    from interact_env.render.steering import keys_of
    from train import training
    from train.session import Session
    from train.stage import Stage

    size = watch.pixels(config.size)
    watch.speed(config.speed)
    training.threads(config.threads)
    env = config.env or TrainConfig.env
    policy = config.policy
    if config.run is None and not policy:
        policy = next(iter(interact_env.world(env).POLICIES), "random")
    (player,) = watch.players(
        watch.WatchConfig(
            runs=() if config.run is None else (config.run,),
            n_agents=config.n_agents,
            seed=config.seed,
            policy=policy,
            env=config.env,
            env_params=config.env_params,
        )
    )
    batch = player.batch
    if not 0 <= config.agent < batch.n_slots:
        raise ValueError(f"--agent must be in [0, {batch.n_slots}), not {config.agent}")
    keys = keys_of(batch.action_space, batch.world.KEYS)
    stage = Stage([player], Look(selected=config.agent))
    session = Session(stage, config.speed, steering=frozenset(keys))
    player.steer(config.agent, lambda: session.steer(keys))
    session.run(size, "interact-env play")
    return 0
