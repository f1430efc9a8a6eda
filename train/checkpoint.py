"""Checkpoints: a directory of JSON and safetensors, written aside and then renamed; never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

import interact_env
from interact_env.spaces import entity_space
from train.policy import EntityPolicy

FORMAT = 1
LATEST, META, WEIGHTS = "latest", "checkpoint.json", "policy.safetensors"
KEEP = 2


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and says what is wrong."""


class Checkpoint(NamedTuple):
    """What was saved: everything that it takes to build the policy again."""

    path: Path
    env: str
    parameters: dict[str, Any]
    network: dict[str, Any]
    env_steps: int
    weights: dict[str, torch.Tensor]

    def batch(self, n_worlds: int = 1, **changes: Any) -> interact_env.WorldBatch:
        """Worlds as it was trained in, with some options or parameters changed."""
        return interact_env.make_batch(self.env, n_worlds, **{**self.parameters, **changes})

    def policy(self) -> EntityPolicy:
        """The policy with its weights.

        Raises:
            CheckpointError: the weights or settings are of another policy.
        """
        batch = self.batch()
        space = entity_space(batch.columns, batch.n_slots)
        try:
            policy = EntityPolicy(space, batch.action_space, lambda _: 0.0, **self.network)
        except TypeError as error:
            raise CheckpointError(f"{self.path / META}: 'network' has a bad entry: {error}") from None
        load_weights(policy, self.weights, self.path / WEIGHTS)
        policy.set_training_mode(False)
        return policy


def save(run: Path, policy: EntityPolicy, meta: Mapping[str, Any]) -> Path:
    """Write a checkpoint of a run, then point `latest` at it and drop all but the last two.

    Args:
        run: directory of the run.
        policy: whose weights are saved.
        meta: env, parameters, network and env_steps.

    Returns:
        The checkpoint's directory. Whatever fails, the checkpoint of the step before it stays.
    """
    name = f"step_{meta['env_steps']:012d}"
    final, aside, replaced = run / name, run / f".{name}.{os.getpid()}", run / f".{name}.replaced"
    tensors = {k: v.detach().cpu().contiguous() for k, v in policy.state_dict().items()}
    data = safetensors.torch.save(tensors)
    digest = hashlib.sha256(data).hexdigest()
    text = json.dumps({"format": FORMAT, **meta, "sha256": digest}, indent=2)
    aside.mkdir(parents=True)
    try:
        _write(aside / WEIGHTS, data)
        _write(aside / META, text.encode())
        if final.exists():  # the same step once more
            final.rename(replaced)
        aside.rename(final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
    pointer = run / f".{LATEST}.{os.getpid()}"
    _write(pointer, name.encode())
    pointer.replace(run / LATEST)
    for old in sorted(set(run.glob("step_*")) - {final})[: 1 - KEEP]:
        shutil.rmtree(old)
    return final


def load(run: Path) -> Checkpoint:
    """The latest checkpoint of a run.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    name = _read(run / LATEST, f"{run} holds no checkpoint").decode(errors="replace").strip()
    if not (name.startswith("step_") and name[5:].isdigit()):
        raise CheckpointError(f"{run / LATEST}: names no checkpoint: {name[:40]!r}")
    path = run / name
    meta = _meta(path / META)
    data = _read(path / WEIGHTS)
    if hashlib.sha256(data).hexdigest() != meta["sha256"]:
        raise CheckpointError(f"{path / WEIGHTS}: is damaged (its SHA-256 is not the one in {META})")
    try:
        weights = safetensors.torch.load(data)
    except Exception as error:  # safetensors raises its own and others for bad bytes
        raise CheckpointError(f"{path / WEIGHTS}: is not a safetensors file: {error}") from None
    return Checkpoint(path, meta["env"], meta["parameters"], meta["network"], meta["env_steps"], weights)


def load_weights(policy: EntityPolicy, weights: Mapping[str, torch.Tensor], source: Path) -> None:
    """Put weights into a policy of the same architecture.

    Raises:
        CheckpointError: names or shapes differ; nothing has been changed.
    """
    own = policy.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights:
            raise CheckpointError(f"{source}: is of another policy: it has no {name}")
        if name not in own:
            raise CheckpointError(f"{source}: is of another policy: {name} has no place in this one")
        if own[name].shape != weights[name].shape:
            raise CheckpointError(
                f"{source}: is of another policy: {name} is {tuple(weights[name].shape)}, "
                f"this one's is {tuple(own[name].shape)}"
            )
    policy.load_state_dict(dict(weights))


_FIELDS = {"env": str, "parameters": dict, "network": dict, "env_steps": int, "sha256": str}


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not JSON: {error}") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise CheckpointError(f"{path}: is not a checkpoint of format {FORMAT}")
    for name, kind in _FIELDS.items():
        if not isinstance(meta.get(name), kind):
            raise CheckpointError(f"{path}: {name!r} must be of type {kind.__name__}")
    if "n_agents" not in meta["parameters"] or not isinstance(meta["network"].get("policy"), str):
        raise CheckpointError(f"{path}: lacks parameters.n_agents or network.policy")
    if ":" in meta["env"]:
        raise CheckpointError(f"{path}: env {meta['env']!r} names a module to import; a file may not")
    # JSON has no tuples; ranges were given as such.
    pairs = meta["parameters"].items()
    meta["parameters"] = {k: tuple(v) if isinstance(v, list) else v for k, v in pairs}
    return meta


def _read(path: Path, otherwise: str | None = None) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(otherwise or f"{path}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
