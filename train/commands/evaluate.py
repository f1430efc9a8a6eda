"""`interact-env evaluate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.table import Table

from train.commands import runs
from train.commands.console import bar, console
from train.config import assignments, counts

if TYPE_CHECKING:  # imported where they are used: torch takes seconds
    from train import evaluate


@dataclasses.dataclass
class EvaluateConfig:
    """Evaluate a trained policy at other numbers of agents, beside scripted ones."""

    run: tyro.conf.Positional[Path]
    """Directory of the run; the results are saved in it."""
    checkpoint: str = "latest"
    """Which checkpoint of the run: latest, best, or one by its name, as step_000000100000."""
    n_agents: str = "2,4,8,16,32,64,128"
    """Numbers of agents, with commas between."""
    episodes: int = 64
    """Episodes at each number."""
    seed: int = 1_000_000
    """Seed of the episodes."""
    deterministic: bool = False
    """Take the likeliest action instead of sampling one."""
    baselines: tuple[str, ...] | None = None
    """Scripted policies to compare with; by default random and the first of the world's own."""
    env_params: tuple[str, ...] = ()
    """Parameters of the world to change, as NAME=VALUE."""
    env: str = ""
    """The run's world, if it is one of your own, as my_module:my_world_v0: no module is imported because a
    run says so."""
    policy: str = ""
    """The run's policy, if it is one of your own, as my_module:my_name."""
    threads: int = 0
    """CPU threads; 0: as many as torch takes by itself."""


def run(config: EvaluateConfig) -> int:
    """`interact-env evaluate`."""
    import interact_env
    from train import evaluate, figures, training

    if config.episodes < 1:
        raise ValueError(f"--episodes must be >= 1, not {config.episodes}")
    n_agents = counts(config.n_agents)
    training.threads(config.threads)
    saved = runs.load(config.run, config.env, config.policy, config.checkpoint)
    world = interact_env.world(saved.env)
    scripted = ("random", *world.POLICIES)
    baselines = scripted[:2] if config.baselines is None else config.baselines
    for name in baselines:
        if name not in scripted:
            raise ValueError(f"--baselines must be among {', '.join(scripted)}, not {name!r}")
    changes = assignments(config.env_params, taken=("n_agents", "size", "density"))
    runs.same_columns(saved, changes)
    name = saved.network["policy"]
    policy = saved.policy()
    actors = {name: evaluate.learned(policy, deterministic=config.deterministic)}
    actors |= {baseline: evaluate.scripted(baseline) for baseline in baselines}
    arenas = evaluate.arenas(saved.env, saved.parameters)
    arenas = {arena: {**parameters, **changes} for arena, parameters in arenas.items()}
    total = len(n_agents) * len(actors) * len(arenas)
    with bar("evaluating") as advance:
        finished: list[str] = []

        def report(result: evaluate.Result) -> None:
            finished.append(result.policy)
            advance(len(finished), total, f"{result.policy}, {result.n_agents} agents, {result.arena}")

        results = evaluate.across_counts(
            actors, saved.env, arenas, n_agents, config.episodes, config.seed, report
        )
    _print_results(results, world.METRICS, config.episodes)
    about = {
        "policy": name,
        "network": saved.network,
        "env_steps": saved.env_steps,
        "env": saved.env,
        "parameters": {**saved.parameters, **changes},
        "episodes": config.episodes,
        "seed": config.seed,
        "deterministic": config.deterministic,
    }
    evaluate.save(config.run / evaluate.FILE, results, **about)
    trained_at = str(saved.parameters["n_agents"])
    figures.count_transfer(results, config.run / "count_transfer.png", f"{name} on {saved.env}", trained_at)
    console.print(f"saved evaluation.json and count_transfer.png in {config.run}", highlight=False)
    return 0


def _print_results(results: Sequence[evaluate.Result], metrics: Sequence[str], episodes: int) -> None:
    table = Table(
        "arena",
        "agents",
        "size",
        "policy",
        "reward",
        "return",
        *metrics,
        title=f"Per agent step (return: per episode), mean and 95% interval over {episodes} episodes",
        title_justify="left",
    )
    before = None
    for r in results:
        if before not in (None, (r.arena, r.n_agents)):
            table.add_section()
        before = (r.arena, r.n_agents)
        cells = [
            f"{e.mean:.{digits}f} [{e.low:.{digits}f}, {e.high:.{digits}f}]"
            for e, digits in (
                (r.estimates[k], 1 if k == "return" else 3)
                for k in ("reward", "return", *metrics)
                if r.estimates
            )
        ]
        table.add_row(r.arena, str(r.n_agents), f"{r.size:.4g}", r.policy, *(cells or ["does not fit"]))
    console.print(table)
