"""The command line, `interact-env`: its commands and what they print."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from train.config import TrainConfig, assignments, counts

if TYPE_CHECKING:  # imported where they are used: torch takes seconds
    from interact_env import WorldBatch
    from train import checkpoint, evaluate, training

# Where there is no terminal, wide enough for the tables.
console = Console(width=None if sys.stdout.isatty() else 150)


@dataclasses.dataclass
class EvaluateConfig:
    """Evaluate a trained policy at other numbers of agents, beside scripted ones."""

    run: tyro.conf.Positional[Path]
    """Directory of the run; the results are saved in it."""
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


@dataclasses.dataclass
class CompareConfig:
    """Put evaluated runs that differ in their seed or policy together, as Markdown tables."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of the runs; each must have been evaluated in the same way."""
    figure: Path | None = None
    """PNG to draw the rewards in, with their intervals over runs."""


@dataclasses.dataclass
class DemoConfig:
    """Train, evaluate, draw and animate: the whole job in a few minutes."""

    out: Path = Path("runs/demo")
    """Directory of the run."""
    policy: str = "sa_linear"
    """Interaction of the policy."""
    total_steps: int = 245_760
    """Env steps to train for."""
    episodes: int = 32
    """Episodes at each number of agents."""
    seed: int = 0
    """Seed of everything."""
    threads: int = 0
    """CPU threads; 0: as many as torch takes by itself."""


@dataclasses.dataclass
class SpeedConfig:
    """Measure stepping and training, and print the figures with thread count and load."""

    threads: int = 0
    """CPU threads for batches and training; 0: all there are."""
    repeats: int = 5
    """Repetitions; medians are printed."""
    attention: bool = False
    """Measure the attention modules alone instead, against their definitions: time, growth and memory."""
    entities: str = "8,16,32,64,128,256,512,1024,2048,4096"
    """Numbers of entities for --attention, with commas between."""


@dataclasses.dataclass
class MicroTasksConfig:
    """Learn three small sums with known answers from sets of 20, and test with 2 to 1,000 entities."""

    modules: tuple[str, ...] = ()
    """Interactions to compare; by default those of `train.theory.micro_tasks`."""
    seeds: int = 5
    """Trainings of each."""
    steps: int = 2000
    """Steps of each training."""
    threads: int = 0
    """Processes, of one thread each; 0: as many as there are cores."""


@dataclasses.dataclass
class NewWorldConfig:
    """Write a world of your own: NAME.py, which runs at once, and its test."""

    name: tyro.conf.Positional[str]
    """Name of the world, such as my_world."""
    folder: Path = Path()
    """Folder to write to; by default this one."""


@dataclasses.dataclass
class ListConfig:
    """List the worlds and the policies that are known by name."""


Command = (
    Annotated[TrainConfig, tyro.conf.subcommand("train")]
    | Annotated[EvaluateConfig, tyro.conf.subcommand("evaluate")]
    | Annotated[CompareConfig, tyro.conf.subcommand("compare")]
    | Annotated[DemoConfig, tyro.conf.subcommand("demo")]
    | Annotated[SpeedConfig, tyro.conf.subcommand("speed")]
    | Annotated[MicroTasksConfig, tyro.conf.subcommand("micro-tasks")]
    | Annotated[NewWorldConfig, tyro.conf.subcommand("new-world")]
    | Annotated[ListConfig, tyro.conf.subcommand("list")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input ends in one line and status 1."""
    command = tyro.cli(
        Command,
        args=arguments,
        prog="interact-env",
        description="Train attention policies in multi-agent worlds, and run them with any number of agents.",
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    actions: dict[type, Callable[..., int]] = {
        TrainConfig: run_train,
        EvaluateConfig: run_evaluate,
        CompareConfig: run_compare,
        DemoConfig: run_demo,
        SpeedConfig: run_speed,
        MicroTasksConfig: run_micro_tasks,
        NewWorldConfig: run_new_world,
        ListConfig: run_list,
    }
    sys.path.append(os.getcwd())  # where my_module of --env my_module:my_world_v0 may lie; shadows nothing
    try:
        return actions[type(command)](command)
    except BrokenPipeError:  # as in `interact-env compare ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interact-env: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"interact-env: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def run_train(config: TrainConfig) -> int:
    """`interact-env train`."""
    from train import figures, training

    with _bar("training") as advance:
        done = training.train(config, lambda p: advance(p.env_steps, p.total_steps, _describe(p)))
    log = training.read_log(config.out)
    if log.get("rollout/reward_per_agent_step"):
        title = f"{config.policy} on {config.env}, {config.n_agents} agents"
        figures.learning_curve(log, config.out / "learning_curve.png", title)
    console.print(f"{'saved' if done else 'stopped; saved'} in {config.out}", highlight=False)
    return 0 if done else training.STOPPED


def run_evaluate(config: EvaluateConfig) -> int:
    """`interact-env evaluate`."""
    import interact_env
    import policies
    from train import checkpoint, evaluate, figures, training

    if config.episodes < 1:
        raise ValueError(f"--episodes must be >= 1, not {config.episodes}")
    n_agents = counts(config.n_agents)
    training.threads(config.threads)
    saved = checkpoint.load(config.run)
    if config.env and interact_env.world(config.env).name != saved.env:
        raise ValueError(f"--env {config.env} is not the world of the run: {saved.env}")
    if config.policy and policies.find(config.policy) != saved.network["policy"]:
        raise ValueError(f"--policy {config.policy} is not the policy of the run: {saved.network['policy']}")
    world = interact_env.world(saved.env)
    scripted = ("random", *world.POLICIES)
    baselines = scripted[:2] if config.baselines is None else config.baselines
    for name in baselines:
        if name not in scripted:
            raise ValueError(f"--baselines must be among {', '.join(scripted)}, not {name!r}")
    changes = assignments(config.env_params, taken=("n_agents", "size", "density"))
    _same_columns(saved, changes)
    name = saved.network["policy"]
    policy = saved.policy()
    actors = {name: evaluate.learned(policy, deterministic=config.deterministic)}
    actors |= {baseline: evaluate.scripted(baseline) for baseline in baselines}
    arenas = evaluate.arenas(saved.env, saved.parameters)
    arenas = {arena: {**parameters, **changes} for arena, parameters in arenas.items()}
    total = len(n_agents) * len(actors) * len(arenas)
    with _bar("evaluating") as advance:
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
    evaluate.save(config.run / "evaluation.json", results, **about)
    trained_at = str(saved.parameters["n_agents"])
    figures.count_transfer(results, config.run / "count_transfer.png", f"{name} on {saved.env}", trained_at)
    console.print(f"saved evaluation.json and count_transfer.png in {config.run}", highlight=False)
    return 0


def _same_columns(saved: checkpoint.Checkpoint, changes: dict[str, Any]) -> None:
    """Refuse a world whose entity rows mean something else than those that the policy was trained on."""

    def meaning(batch: WorldBatch) -> list[tuple[str, str, int]]:
        return [(column.name, column.kind, column.size) for column in batch.columns]

    trained, given = meaning(saved.batch()), meaning(saved.batch(**changes))
    if trained != given:
        raise ValueError(f"--env-params changes the entity row from {trained} to {given}")


def run_compare(config: CompareConfig) -> int:
    """`interact-env compare`."""
    from train import compare, figures

    study = compare.read(config.runs)
    metrics = next(v for v in study.values[study.learned[0]].values() if v is not None)
    for metric in metrics:
        print(compare.markdown(study, metric), end="\n\n")
    print(compare.differences(study))
    if config.figure is not None:
        title = f"{', '.join(study.learned)}: mean and 95% interval over runs"
        figures.count_transfer(compare.estimates(study), config.figure, title, study.trained_at)
    return 0


def run_demo(config: DemoConfig) -> int:
    """`interact-env demo`."""
    from train import animate, checkpoint, evaluate

    start = time.perf_counter()
    status = run_train(
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
    run_evaluate(EvaluateConfig(config.out, episodes=config.episodes, threads=config.threads))
    saved = checkpoint.load(config.out)
    actor = evaluate.learned(saved.policy())
    with console.status("animating an episode of 32 agents"):
        parameters = {**saved.parameters, "n_agents": 32}
        animate.animate(actor, saved.env, parameters, config.out / "episode.gif")
    minutes = (time.perf_counter() - start) / 60
    console.print(f"demo: {minutes:.1f} minutes; everything is in {config.out}", highlight=False)
    return 0


def run_speed(config: SpeedConfig) -> int:
    """`interact-env speed`."""
    from train import attention_speed, speed, training

    training.threads(config.threads)
    entities = counts(config.entities, "--entities")
    if config.repeats < 1:
        raise ValueError(f"--repeats must be >= 1, not {config.repeats}")
    if config.attention:
        with _bar("measuring") as advance:
            table = attention_speed.measure(entities, config.repeats, advance)
        console.print(table)
        return 0
    with _bar("measuring") as advance:
        table = speed.measure(config.threads, config.repeats, advance)
    console.print(table)
    with _bar("measuring") as advance:
        table = speed.costs(config.repeats, advance)
    console.print(table)
    return 0


def run_micro_tasks(config: MicroTasksConfig) -> int:
    """`interact-env micro-tasks`."""
    import policies
    from train.theory import micro_tasks

    for name in ("seeds", "steps"):
        if getattr(config, name) < 1:
            raise ValueError(f"--{name} must be >= 1, not {getattr(config, name)}")
    if config.threads < 0:
        raise ValueError(f"--threads must be >= 0, not {config.threads}")
    modules = config.modules or micro_tasks.MODULES
    for name in modules:
        policies.find(name)
    workers = config.threads or os.cpu_count() or 1
    with _bar("learning") as advance:
        found = micro_tasks.run(modules, config.seeds, config.steps, workers, advance)
    print(micro_tasks.markdown(found))
    return 0


def run_new_world(config: NewWorldConfig) -> int:
    """`interact-env new-world`."""
    from train import new_world

    world, test = new_world.write(config.name, config.folder)
    console.print(f"wrote {world} and {test}", highlight=False, soft_wrap=True)
    steps = [] if config.folder == Path() else [f"cd {config.folder}"]
    steps.append(f"pytest {test.name}")
    steps.append(f"interact-env train --env {config.name}:{config.name}_v0 --out runs/{config.name}")
    for step in steps:
        console.print(f"try: {step}", highlight=False, soft_wrap=True)
    return 0


def run_list(_: ListConfig) -> int:
    """`interact-env list`."""
    import interact_env
    import policies
    from train import policy

    table = Table("world", "", "scripted policies", title="Worlds (--env)", title_justify="left")
    for name, world in interact_env.registered().items():
        table.add_row(name, world.summary, ", ".join(("random", *world.POLICIES)))
    console.print(table)
    batch = interact_env.make_batch(TrainConfig.env, 1, seed=0)
    sizes = batch.columns, policy.n_outputs(batch.action_space)
    title = f"Policies (--policy), at the defaults of train on {TrainConfig.env}"
    table = Table("policy", "", "parameters", title=title, title_justify="left")
    for name, summary in policies.names().items():
        table.add_row(name, summary, f"{policies.n_parameters(*sizes, policy=name):,}")
    console.print(table)
    return 0


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Callable[[float, float, str], None]]:
    """A progress bar; where there is no terminal, a line at every tenth instead."""
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        tenth = 0

        def advance(done: float, total: float, text: str) -> None:
            nonlocal tenth
            progress.update(task, completed=min(1.0, done / total), description=text)
            if not console.is_terminal and int(10 * done / total) > tenth:
                tenth = int(10 * done / total)
                console.print(f"{what} {min(1.0, done / total):.0%}  {text}", highlight=False)

        yield advance


def _describe(p: training.Progress) -> str:
    earned = "" if p.episode_return is None else f"return {p.episode_return:.1f}  "
    metrics = "  ".join(f"{name} {value:.2f}" for name, value in p.metrics.items())
    return f"{earned}{metrics}  {p.agent_steps_per_second:,.0f} agent steps/s"


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


if __name__ == "__main__":
    sys.exit(main())
