"""`interact-env watch`."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from train.commands import runs
from train.commands.console import bar, console
from train.config import TrainConfig, assignments

if TYPE_CHECKING:  # imported where they are used: torch and pygame take seconds
    from train.player import Player


@dataclasses.dataclass
class WatchConfig:
    """Watch trained or scripted policies in a window, or record them in a file."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Directories of one run, or of two to see side by side with the same seed; none: see --policy."""
    checkpoint: str = "latest"
    """Which checkpoint of the runs: latest, best, or one by its name, as step_000000100000."""
    n_agents: int = 0
    """Number of agents, at the density of training; 0: as many as in training."""
    seed: int = 0
    """Seed of the episodes."""
    policy: str = ""
    """A scripted policy to watch instead of the runs': random, or one of the world's; or the runs' policy, if
    it is one of your own, as my_module:my_name."""
    env: str = ""
    """World to watch a scripted policy in, without a run; or the runs' world, if it is one of your own, as
    my_module:my_world_v0."""
    env_params: tuple[str, ...] = ()
    """Parameters of the world to change, as NAME=VALUE."""
    deterministic: bool = False
    """Take the likeliest action instead of sampling one."""
    record: Path | None = None
    """File to record an episode in, without a window: .mp4, .gif, or .png for its last picture."""
    size: str = "800x800"
    """Width and height of the window or the recording, pixels."""
    fps: float = 30.0
    """Frames a second of a recording."""
    speed: float = 10.0
    """Steps a second."""
    steps: int = 0
    """Steps to record; 0: to the end of the episode."""
    select: int = -1
    """Agent to mark, and to look into: its attention to the others, value and actions; -1: none."""
    follow: bool = False
    """Let the camera stay with the selected agent."""
    layer: int = 0
    """Layer whose attention is shown, from 1; 0: the last."""
    head: int = 0
    """Head whose attention is shown, from 1; 0: the mean of all."""
    zoom: float = 1.0
    """How near the camera is; 1: the whole arena."""
    color: Literal["label", "return"] = "label"
    """What agents are coloured by."""
    numbers: bool = False
    """Show the numbers of the agents."""
    threads: int = 0
    """CPU threads; 0: as many as torch takes by itself."""


def run(config: WatchConfig) -> int:
    """`interact-env watch`."""
    from interact_env.render import Look
    from interact_env.render.camera import ZOOM_MAX
    from train import record, training

    size = pixels(config.size)
    _in_range("--fps", config.fps, 1, 240)
    _in_range("--zoom", config.zoom, 1, ZOOM_MAX)
    speed(config.speed)
    if config.steps < 0:
        raise ValueError(f"--steps must be >= 0, not {config.steps}")
    if config.record is not None:
        record.check(config.record)
    training.threads(config.threads)
    shown = players(config)
    _check_inside(config, shown)
    look = Look(
        zoom=config.zoom,
        selected=config.select,
        follow=config.select if config.follow else -1,
        color=config.color,
        numbers=config.numbers,
    )
    from train.stage import Stage

    stage = Stage(shown, look, layer=config.layer - 1, head=config.head - 1)
    if config.record is None:
        from train.session import Session

        Session(stage, config.speed).run(size, "interact-env watch")
        return 0
    with bar("recording") as advance:
        record.record(stage, config.record, size, config.fps, config.speed, config.steps, advance)
    console.print(f"recorded {config.record}", highlight=False, soft_wrap=True)
    return 0


def players(config: WatchConfig) -> list[Player]:
    """What is watched: the runs' policies, or a scripted one.

    Raises:
        ValueError: no or too many runs, an unknown policy or world, or parameters that are not allowed.
    """
    shown = _players(config)
    # What is loaded by now stays. Else the thousands of shapes of a picture would make the garbage collector
    # go through all of torch's objects with every frame.
    gc.freeze()
    return shown


def _players(config: WatchConfig) -> list[Player]:
    if len(config.runs) > 2:
        raise ValueError(f"give one run, or two to see side by side, not {len(config.runs)}")
    if config.runs:
        return [_of_run(config, path) for path in config.runs]
    if not config.policy:
        raise ValueError("give a run's directory, or a scripted policy to watch: --policy random")
    env = config.env or TrainConfig.env
    changes = assignments(config.env_params, taken=("n_agents",))
    given = {"n_agents": config.n_agents} if config.n_agents else {}
    return [_scripted(f"{config.policy}, {env}", env, {**changes, **given}, config.policy, config.seed)]


def _of_run(config: WatchConfig, path: Path) -> Player:
    import interact_env
    from train import evaluate
    from train.player import Player

    own = config.policy if ":" in config.policy else ""
    saved = runs.load(path, config.env, own, config.checkpoint)
    changes = assignments(config.env_params, taken=("n_agents",))
    runs.same_columns(saved, changes)
    parameters = saved.parameters
    if config.n_agents:
        parameters = next(iter(evaluate.arenas(saved.env, parameters).values()))
        parameters = {**parameters, "n_agents": config.n_agents}
    parameters = {**parameters, **changes}
    if config.policy and not own:
        return _scripted(f"{config.policy}, {path.name}", saved.env, parameters, config.policy, config.seed)
    policy = saved.policy()
    act = evaluate.learned(policy, deterministic=config.deterministic)
    title = f"{path.name}: {saved.network['policy']}"
    return Player(title, interact_env.make_batch(saved.env, 1, **parameters), act, policy, config.seed)


def _scripted(title: str, env: str, parameters: dict[str, Any], name: str, seed: int) -> Player:
    import interact_env
    from train import evaluate
    from train.player import Player

    known = ("random", *interact_env.world(env).POLICIES)
    if name not in known:
        raise ValueError(f"--policy must be one of {', '.join(known)}, not {name!r}")
    return Player(title, interact_env.make_batch(env, 1, **parameters), evaluate.scripted(name), None, seed)


def _check_inside(config: WatchConfig, shown: list[Player]) -> None:
    n_agents = min(player.batch.n_slots for player in shown)
    if not -1 <= config.select < n_agents:
        raise ValueError(f"--select must be an agent in [0, {n_agents}), or -1, not {config.select}")
    if config.select < 0 and (config.layer or config.head):
        raise ValueError("--layer and --head are of the agent that --select chooses: give it too")
    for player in shown:
        n_layers, n_heads = player.inspect(config.select).attention
        for name, given, allowed in (("layer", config.layer, n_layers), ("head", config.head, n_heads)):
            if given and not 0 < given <= allowed:
                raise ValueError(f"--{name} must be in [0, {allowed}] for {player.title!r}, not {given}")
    endless = any(not player.batch.params.max_cycles for player in shown)
    if config.record is not None and not config.steps and endless:
        raise ValueError("--steps must be above 0 for a world whose episodes have no end")


def pixels(text: str) -> tuple[int, int]:
    """Width and height of "800x600".

    Raises:
        ValueError: it is something else, or too small or large.
    """
    width, x, height = text.partition("x")
    if not (x and width.isdecimal() and height.isdecimal()):
        raise ValueError(f"--size must be WIDTHxHEIGHT, as 800x600, not {text!r}")
    size = int(width), int(height)
    if not all(32 <= side <= 8192 for side in size):
        raise ValueError(f"--size must be within 32 and 8192 pixels, not {text!r}")
    return size


def speed(given: float) -> None:
    """Refuse a speed that is not allowed.

    Raises:
        ValueError: it is not.
    """
    from train.session import FASTEST, SLOWEST

    _in_range("--speed", given, SLOWEST, FASTEST)


def _in_range(name: str, given: float, low: float, high: float) -> None:
    if not low <= given <= high:
        raise ValueError(f"{name} must be within {low:g} and {high:g}, not {given:g}")
