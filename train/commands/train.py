"""`interact-env train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from train.commands.console import bar, console
from train.config import TrainConfig

if TYPE_CHECKING:  # imported where it is used: torch takes seconds
    from train import training


def run(config: TrainConfig) -> int:
    """`interact-env train`."""
    from train import figures, training

    with bar("training") as advance:
        done = training.train(config, lambda p: advance(p.env_steps, p.total_steps, _describe(p)))
    log = training.read_log(config.out)
    if log.get("rollout/reward_per_agent_step"):
        title = f"{config.policy} on {config.env}, {config.n_agents} agents"
        figures.learning_curve(log, config.out / "learning_curve.png", title)
    console.print(f"{'saved' if done else 'stopped; saved'} in {config.out}", highlight=False)
    return 0 if done else training.STOPPED


def _describe(p: training.Progress) -> str:
    earned = "" if p.episode_return is None else f"return {p.episode_return:.1f}  "
    metrics = "  ".join(f"{name} {value:.2f}" for name, value in p.metrics.items())
    return f"{earned}{metrics}  {p.agent_steps_per_second:,.0f} agent steps/s"
