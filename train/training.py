"""One training run, from its configuration to a directory of results."""

from __future__ import annotations

import dataclasses
import json
import platform
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from interact_env.engine.batch import max_threads
from train import checkpoint
from train.config import TrainConfig
from train.policy import EntityPolicy
from train.ppo import EntityPPO
from train.vec_env import make_sb3_vec_env

CONFIG, LOG = "config.json", "progress.csv"
STOPPED = 130  # exit status of an interrupted run, as a shell's for SIGINT


@dataclasses.dataclass
class Progress:
    """How far a run is, for a progress bar."""

    env_steps: int
    total_steps: int
    agent_steps_per_second: float
    reward: float
    metrics: dict[str, float]


def train(config: TrainConfig, report: Callable[[Progress], None] = lambda _: None) -> bool:
    """Train, log and save; Ctrl-C stops after the running step, with a checkpoint.

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
        n_threads=min(config.threads, max_threads()) or None,
        **parameters,
    )
    model = EntityPPO(
        EntityPolicy,
        env,
        learning_rate=lambda remaining: config.learning_rate * remaining,
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.n_epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        ent_coef=config.ent_coef,
        seed=config.seed,
        device=device,
        policy_kwargs=config.network(),
    )
    _claim(config)
    model.set_logger(configure(str(config.out), ["csv", "tensorboard"]))
    callback = _Watch(report)
    with _interrupts(callback):
        model.learn(config.total_steps, callback=callback)
    assert isinstance(model.policy, EntityPolicy)
    meta = {
        "env": config.env,
        "parameters": parameters,
        "network": config.network(),
        "env_steps": model.num_timesteps,
    }
    checkpoint.save(config.out, model.policy, meta)
    return not callback.stop


def threads(n: int) -> None:
    """Let torch use n CPU threads; 0 leaves its own choice."""
    if n:
        torch.set_num_threads(n)


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
    """Reports after every rollout; stops when told to."""

    def __init__(self, report: Callable[[Progress], None]) -> None:
        super().__init__()
        self.stop = False
        self._report = report
        self._start = time.perf_counter()

    def _on_step(self) -> bool:
        return not self.stop

    def _on_rollout_end(self) -> None:
        model = self.model
        assert isinstance(model, EntityPPO)
        _, reward, metrics = model.totals.rates()
        self._report(
            Progress(
                env_steps=model.num_timesteps,
                total_steps=model._total_timesteps,
                agent_steps_per_second=model.agent_steps / (time.perf_counter() - self._start),
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
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "threads": torch.get_num_threads(),
        "config": dataclasses.asdict(config),
    }
    (config.out / CONFIG).write_text(json.dumps(about, indent=2, default=str) + "\n")


def read_log(run: Path) -> dict[str, list[float]]:
    """The columns of a run's log; steps without a value are left out of its column."""
    lines = (run / LOG).read_text().splitlines()
    head = lines[0].split(",")
    rows = [line.split(",") for line in lines[1:]]
    return {name: [float(row[k]) for row in rows if row[k]] for k, name in enumerate(head)}
