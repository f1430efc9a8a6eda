"""`interact-env demo`."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from train.commands import evaluate, train
from train.commands.console import console
from train.commands.evaluate import EvaluateConfig
from train.commands.watch import WatchConfig
from train.commands.watch import run as watch
from train.config import TrainConfig


@dataclasses.dataclass
class DemoConfig:
    """Train, evaluate, draw and animate: the whole job in a few minutes."""

    out: Path = Path("runs/demo")
    """Directory of the run."""
    policy: str = "sa_linear"
    """Interaction of the policy."""
    total_steps: int = 102_400
    """Env steps to train for."""
    episodes: int = 32
    """Episodes at each number of agents."""
    seed: int = 0
    """Seed of everything."""
    threads: int = 0
    """CPU threads; 0: as many as torch takes by itself."""


def run(config: DemoConfig) -> int:
    """`interact-env demo`."""
    start = time.perf_counter()
    status = train.start(
        TrainConfig(
            out=config.out,
            policy=config.policy,
            env_params=("shape=square",),
            seed=config.seed,
            total_steps=config.total_steps,
            threads=config.threads,
        )
    )
    if status:
        return status
    evaluate.run(EvaluateConfig(config.out, episodes=config.episodes, threads=config.threads))
    animation = config.out / "episode.gif"
    watch(
        WatchConfig((config.out,), n_agents=32, record=animation, size="480x480", fps=20, steps=60, select=0)
    )
    minutes = (time.perf_counter() - start) / 60
    console.print(f"demo: {minutes:.1f} minutes; everything is in {config.out}", highlight=False)
    return 0
