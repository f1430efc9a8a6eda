"""One training run, from its configuration to a directory of results."""

from __future__ import annotations

import dataclasses
import json
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import numba
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

import interact_env
import policies
from interact_env.engine.batch import max_threads
from train import checkpoint
from train.config import TrainConfig
from train.policy import EntityPolicy, n_outputs
from train.ppo import EntityPPO
from train.vec_env import AgentVecEnv, make_sb3_vec_env

CONFIG, LOG = "config.json", "progress.csv"
STOPPED = 130  # exit status of an interrupted run, as a shell's for SIGINT


@dataclasses.dataclass
class Progress:
    """How far a run is, for a progress bar."""

    env_steps: int
    total_steps: int
    agent_steps_per_second: float
    episode_return: float | None  # per agent, mean of the latest episodes; None before the first ends
    reward: float  # per agent step
    metrics: dict[str, float]  # per agent step


def train(config: TrainConfig, report: Callable[[Progress], None] = lambda _: None) -> bool:
    """Train, log and save, at every tenth of the run too; Ctrl-C stops after the running step.

    Args:
        config: of the run.
        report: called after every rollout.

    Returns:
        True: all steps were made; False: it was stopped.

    Raises:
        ValueError: a value of the configuration is not allowed.
        FileExistsError: the directory holds a run already.
    """
    config.validate()
    threads(config.threads)
    device = pick_device(config.device)
    parameters = config.env_parameters()
    env = make_sb3_vec_env(
        config.env,
        config.n_worlds,
        seed=config.seed,
        **parameters,
    )
    network = _network(config, env)
    model = EntityPPO(
        EntityPolicy,
        env,
        # The last rollout may pass total_steps: remaining falls below 0.
        learning_rate=lambda remaining: config.learning_rate * max(0.0, remaining),
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.n_epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        ent_coef=config.ent_coef,
        seed=config.seed,
        device=device,
        policy_kwargs=network,
    )
    _claim(config)
    model.set_logger(configure(str(config.out), ["csv", "tensorboard"]))
    about = {
        "env": interact_env.world(config.env).name,
        "parameters": parameters,
        "network": network,
    }

    def save() -> None:
        assert isinstance(model.policy, EntityPolicy)
        checkpoint.save(config.out, model.policy, {**about, "env_steps": model.num_timesteps})

    callback = _Watch(report, save)
    try:
        with _interrupts(callback):
            model.learn(config.total_steps, callback=callback)
        save()
    finally:
        model.logger.close()
    return not callback.stop


def _network(config: TrainConfig, env: AgentVecEnv) -> dict[str, Any]:
    """Keyword arguments of `EntityActorCritic`, the policy by its bare name, at the width asked for."""
    network = config.network() | {"policy": policies.find(config.policy)}
    if config.match_parameters:
        sizes = env.batch.columns, n_outputs(env.action_space)
        network["d_model"] = policies.matched_width(config.match_parameters, *sizes, **network)
    return network


def threads(n: int) -> None:
    """Let torch and the batches use n CPU threads; 0 leaves each its own choice.

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"--threads must be >= 0, not {n}")
    own = torch.get_num_threads()
    # Starts numba's threads too: doing so sets OpenMP's number, which is torch's.
    numba.set_num_threads(min(n or max_threads(), max_threads()))
    torch.set_num_threads(n or own)


def pick_device(name: str) -> str:
    """The device that "auto", "cpu" or "cuda" stands for.

    Raises:
        ValueError: cuda was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no CUDA device; use --device cpu or auto")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


class _Watch(BaseCallback):
    """Reports after every rollout, saves at every tenth of the run; stops when told to."""

    def __init__(self, report: Callable[[Progress], None], save: Callable[[], None]) -> None:
        super().__init__()
        self.stop = False
        self._report, self._save = report, save
        self._tenth = 0
        self._start = 0.0

    def _on_training_start(self) -> None:
        self._start = time.perf_counter()

    def _on_rollout_start(self) -> None:
        tenth = 10 * self.num_timesteps // self.model._total_timesteps
        if tenth > self._tenth:
            self._tenth = tenth
            self._save()

    def _on_step(self) -> bool:
        return not self.stop

    def _on_rollout_end(self) -> None:
        model = self.model
        assert isinstance(model, EntityPPO)
        agent_steps, reward, metrics = model.totals.rates()
        now = time.perf_counter()
        seconds, self._start = now - self._start, now  # the update before and this rollout
        returns = [episode["r"] for episode in model.ep_info_buffer or ()]
        self._report(
            Progress(
                env_steps=model.num_timesteps,
                total_steps=model._total_timesteps,
                agent_steps_per_second=agent_steps / seconds,
                episode_return=sum(returns) / len(returns) if returns else None,
                reward=reward,
                metrics=dict(zip(model.batch.world.METRICS, metrics.tolist(), strict=True)),
            )
        )


class _interrupts:
    """While open, the first Ctrl-C asks the watch to stop; the second interrupts at once."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._ask)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self._watch.stop:
            raise KeyboardInterrupt
        self._watch.stop = True


def _claim(config: TrainConfig) -> None:
    """Make the run's directory and save how it was started."""
    if (config.out / CONFIG).exists():
        raise FileExistsError(f"--out {config.out} holds a run already: choose another directory")
    config.out.mkdir(parents=True, exist_ok=True)
    packages = ("interact-env", "torch", "numpy", "numba", "stable-baselines3", "gymnasium")
    about: dict[str, Any] = {
        "command": sys.argv,
        "revision": _revision(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "threads": torch.get_num_threads(),
        "config": dataclasses.asdict(config),
    }
    (config.out / CONFIG).write_text(json.dumps(about, indent=2, default=str) + "\n")


def _revision() -> str | None:
    """The git commit of this code, where it is a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def read_log(run: Path) -> dict[str, list[float]]:
    """The columns of a run's log; steps without a value are left out of its column."""
    lines = (run / LOG).read_text().splitlines()
    head = lines[0].split(",")
    rows = [line.split(",") for line in lines[1:]]
    return {name: [float(row[k]) for row in rows if row[k]] for k, name in enumerate(head)}
