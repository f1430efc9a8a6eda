"""One training run, from its configuration to a directory of results."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

import interact_env
import policies
from interact_env.engine.batch import max_threads
from train import checkpoint, directory, memory, snapshot
from train.checkpoint import Checkpoint
from train.config import TrainConfig
from train.policy import EntityPolicy, n_outputs
from train.ppo import EntityPPO
from train.ranks import Ranks, together
from train.signals import Signals, Stop
from train.vec_env import AgentVecEnv, make_sb3_vec_env

_LOGGED = 1000  # rows of a run's log, at most


@dataclasses.dataclass
class Progress:
    """How far a run is, for a progress bar."""

    env_steps: int
    total_steps: int
    agent_steps_per_second: float
    episode_return: float | None  # per agent, mean of the latest episodes; None before the first ends
    reward: float  # per agent step
    metrics: dict[str, float]  # per agent step


Report = Callable[[Progress], None]


def train(config: TrainConfig, report: Report = lambda _: None) -> int:
    """Train, log and save; SIGINT and SIGTERM stop at once, with a checkpoint of the latest rollout's start.

    Args:
        config: of the run.
        report: called after every rollout.

    Returns:
        Exit status: 0, or 130 (SIGINT) or 143 (SIGTERM) if it was stopped.

    Raises:
        ValueError: a value of the configuration is not allowed, or it would not fit in memory.
        FileExistsError: the directory holds a run already.
        BlockingIOError: another process trains in it.
        FloatingPointError: loss, gradients or outputs were no longer finite; the last checkpoint stays.
    """
    with together(config.device) as ranks, contextlib.ExitStack() as held:
        with ranks.agreed():
            network, env = _checked(config, ranks)
        with ranks.agreed():  # only now is anything written
            if ranks.rank == 0:
                held.enter_context(directory.locked(config.out))
                directory.create(config)
        model = _model(config, ranks, network, env)
        about = {} if ranks.rank else _about(config, network)  # the first alone sees the disk, and saves
        return _learn(model, config, about, None, report)


def resume(
    config: TrainConfig,
    report: Report = lambda _: None,
    *,
    which: str = checkpoint.LATEST,
    note: Callable[[str], None] = lambda _: None,
) -> int:
    """Go on with a run from its latest checkpoint, or from the start if it has none; see `train`.

    Args:
        config: as `directory.started` gives it.
        report: called after every rollout.
        which: checkpoint to go on from, see `checkpoint.load`.
        note: called with what is another now than when the run was started, so that its bits may be too.

    Returns:
        Exit status, as `train`.

    Raises:
        LoadError: the checkpoint is damaged, or of another configuration.
        ValueError, BlockingIOError, FloatingPointError: as `train`.
    """
    with together(config.device) as ranks, contextlib.ExitStack() as held:
        with ranks.agreed():
            network, env = _checked(config, ranks)
            if ranks.rank == 0:
                held.enter_context(directory.locked(config.out))
            saved = _saved(config, which)
        model, about = _model(config, ranks, network, env), _about(config, network)
        with ranks.agreed():
            best = None if saved is None else _go_on(model, about, saved)
        for differs in [] if ranks.rank else directory.gone_on(config):
            note(differs)
        return _learn(model, config, about, best, report)


def _saved(config: TrainConfig, which: str) -> Checkpoint | None:
    """The checkpoint to go on from, if there is one, before anything is built as a file says."""
    kept = checkpoint.kept(config.out)
    if not kept and which == checkpoint.LATEST and not (config.out / which).exists():
        return None
    try:
        saved = checkpoint.load(config.out, which)
    except policies.LoadError as error:
        others = f" (others, for --checkpoint: {', '.join(reversed(kept))})" if kept else ""
        raise policies.LoadError(f"{error}{others}") from None
    if saved.run != directory.digest(config.out):
        there = config.out / directory.CONFIG
        raise policies.LoadError(f"{there}: is not that which {saved.path} was made with")
    here = interact_env.world(config.env).name, config.env_parameters()
    # As JSON, where tuples and lists are the same.
    if json.dumps(here) != json.dumps((saved.env, saved.parameters)):
        raise policies.LoadError(f"{saved.path}: is of another world than {directory.CONFIG} tells of")
    return saved


def _go_on(model: EntityPPO, about: dict[str, Any], saved: Checkpoint) -> float | None:
    """Put a checkpoint into the model; what the best one earned."""
    if json.dumps(about) != json.dumps(saved.about):
        raise policies.LoadError(f"{saved.path}: is of another network than {directory.CONFIG} tells of")
    best = saved.numbers.get("best_reward")
    if best is not None and not isinstance(best, float):
        raise policies.LoadError(f"{saved.path / checkpoint.META}: best_reward must be a number")
    model.policy.load_weights(saved.weights(model.policy.weights()))
    with saved.training() as tensors:
        snapshot.put(model, tensors, saved.numbers)
    return best


def _checked(config: TrainConfig, ranks: Ranks) -> tuple[dict[str, Any], AgentVecEnv]:
    """Keyword arguments of the network, and a process's share of the worlds, once all can be done."""
    config.validate()
    threads(config.threads)
    device = pick_device(config.device)
    n_worlds = ranks.share("--n-worlds", config.n_worlds)
    ranks.share("--batch-size", config.batch_size)
    one = interact_env.make_batch(config.env, **config.env_parameters())
    network = network_of(config, one)
    memory.check(one, network, dataclasses.asdict(config), ranks, device)
    where = {"device": worlds_device(device), "first_world": ranks.rank * n_worlds}
    env = make_sb3_vec_env(config.env, n_worlds, seed=config.seed, **where, **config.env_parameters())
    return network, env


def _model(config: TrainConfig, ranks: Ranks, network: dict[str, Any], env: AgentVecEnv) -> EntityPPO:
    """The model at its start."""
    memory.keep_freed()
    device = pick_device(config.device)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS asks for, before its start
        torch.use_deterministic_algorithms(True)
    elif device == "cuda":
        torch.set_float32_matmul_precision("high")  # products of TF32: 10 bits of each factor, sums of 24
    return EntityPPO(
        EntityPolicy,
        env,
        ranks=ranks,
        # The last rollout may pass total_steps: remaining falls below 0.
        learning_rate=lambda remaining: config.learning_rate * max(0.0, remaining),
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        restart_below=config.restart_below,
        n_epochs=config.n_epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        ent_coef=config.ent_coef,
        seed=config.seed,
        device=device,
        policy_kwargs=network,
    )


def _about(config: TrainConfig, network: dict[str, Any]) -> dict[str, Any]:
    """What checkpoints say of the model, and of how the run was started."""
    about = checkpoint.setup(interact_env.world(config.env).name, config.env_parameters(), network)
    return about | {"run": directory.digest(config.out)}


def _learn(
    model: EntityPPO, config: TrainConfig, about: dict[str, Any], best: float | None, report: Report
) -> int:
    done = model.num_timesteps
    if done >= config.total_steps:
        return 0
    # The first process writes, and tells how far they are; the others only take part.
    first = model.ranks.rank == 0
    model.set_logger(directory.logger(config.out, done) if first else Logger(None, []))
    report = report if first else lambda _: None
    try:
        with Signals() as signals:
            model.before_minibatch = signals.check
            keeper = _Keeper(config, about, best, report, signals)
            try:
                model.learn(
                    config.total_steps - done,
                    callback=keeper,
                    log_interval=None,  # the keeper logs: at the same steps whenever the run was stopped
                    reset_num_timesteps=done == 0,
                )
                keeper.take()
                keeper.save()
            except Stop as stop:
                keeper.save()
                return stop.status
    except FloatingPointError as error:
        raise FloatingPointError(
            f"{error}, at env step {model.num_timesteps}; {_last(config.out)}"
        ) from error
    finally:
        model.logger.close()
    return 0


def _last(run: Path) -> str:
    if not (run / checkpoint.LATEST).exists():
        return "there is no checkpoint yet"
    return f"the last checkpoint is {checkpoint.load(run).path}"


def network_of(config: TrainConfig, batch: interact_env.WorldBatch) -> dict[str, Any]:
    """Keyword arguments of `EntityActorCritic`, the policy by its bare name, at the width asked for."""
    network = config.network() | {"policy": policies.find(config.policy)}
    if config.match_parameters:
        sizes = batch.columns, n_outputs(batch.action_space)
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
    share = max(1, max_threads() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # of torchrun's processes
    numba.set_num_threads(min(n or share, max_threads()))
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


def worlds_device(device: str) -> str:
    """Worlds are stepped where the policy is, if numba-cuda is there to do it and the driver lets it."""
    if device != "cuda" or not importlib.util.find_spec("numba_cuda"):
        return "cpu"
    try:
        interact_env.make_batch("colliding_agents_v0", device="cuda")
    except ValueError:
        return "cpu"
    return "cuda"


class _Keeper(BaseCallback):
    """Keeps what the training was at the start of the rollout, saves it now and then, and reports."""

    def __init__(
        self,
        config: TrainConfig,
        about: dict[str, Any],
        best: float | None,
        report: Report,
        signals: Signals,
    ) -> None:
        super().__init__()
        self._config, self._about, self._best = config, about, best
        self._report, self._signals = report, signals
        self._rollout = config.n_worlds * config.n_steps  # env steps
        self._log_every = 1 + config.total_steps // self._rollout // _LOGGED
        self._every, self._in_minutes = config.saving()
        self._kept: checkpoint.Snapshot | None = None
        self._saved_steps = -1
        self._rewards: list[float] = []  # of the rollouts since the last save
        self._saved_time = self._start = time.monotonic()

    def take(self) -> None:
        """Keep the state of now; the first process keeps that of all."""
        kept = snapshot.take(self._ppo)
        self._kept = None if self._ppo.ranks.rank else kept

    def save(self) -> None:
        """Save the state that was kept, unless it is; the best is that of the best rollouts before it."""
        if self._kept is None or self._kept.numbers["env_steps"] == self._saved_steps:
            return
        self._ppo.look_at_update()  # that the state is good
        mean = sum(self._rewards) / len(self._rewards) if self._rewards else None
        best = mean is not None and (self._best is None or mean > self._best)
        self._best = mean if best else self._best
        kept = self._kept._replace(numbers={**self._kept.numbers, "best_reward": self._best})
        checkpoint.save(self._config.out, self._about, kept, best=best)
        self._saved_steps, self._saved_time = kept.numbers["env_steps"], time.monotonic()
        self._rewards.clear()

    @property
    def _ppo(self) -> EntityPPO:
        assert isinstance(self.model, EntityPPO)
        return self.model

    def _on_training_start(self) -> None:
        self._saved_steps = self.num_timesteps or -1

    def _on_rollout_start(self) -> None:
        self.take()
        since = (time.monotonic() - self._saved_time) / 60
        if not self._in_minutes:
            since = self.num_timesteps - max(0, self._saved_steps)
        if since >= self._every:
            self.save()

    def _on_step(self) -> bool:
        self._signals.check()
        return True

    def _on_rollout_end(self) -> None:
        model = self._ppo
        agent_steps, reward, metrics = model.totals.rates()
        self._rewards.append(reward)
        now = time.monotonic()
        seconds, self._start = now - self._start, now  # the update before and this rollout
        iteration = model.num_timesteps // self._rollout
        if iteration % self._log_every == 0:
            model.dump_logs(iteration)
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
