"""Checkpoints: a folder of JSON and safetensors with a manifest, written aside and renamed; never a pickle.

A run holds `latest` and `best`, which name a checkpoint and the SHA-256 of its manifest, which holds the
sizes and SHA-256 of its files: a flipped byte anywhere is found. A checkpoint is a network's folder (see
`policies.load`) with the world it was trained in, and all that it takes to go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

import interact_env
from interact_env.spaces import entity_space
from policies import LoadError, files
from train import disk
from train.policy import EntityPolicy, n_outputs

FORMAT = 2
LATEST, BEST = "latest", "best"
META, TRAINING, MANIFEST = "checkpoint.json", "training.safetensors", "manifest.json"
FILES = (files.CONFIG, files.WEIGHTS, META, TRAINING)
KEEP = 2
_NAME = r"step_\d{12,16}(?:_\d{1,4})?"
_POINTER = re.compile(rf"({_NAME}) ([0-9a-f]{{64}})\n")


class Snapshot(NamedTuple):
    """What changes while a policy is trained, at one moment between two rollouts."""

    weights: Mapping[str, Tensor]  # of the policy
    tensors: Mapping[str, Tensor]  # optimiser, worlds, running episodes, random generators
    numbers: Mapping[str, Any]  # counters, "env_steps" among them, as JSON holds them


class Checkpoint(NamedTuple):
    """What was saved and found to be whole; the tensors are read when they are asked for."""

    path: Path
    env: str
    parameters: dict[str, Any]
    config: dict[str, Any]  # of the network, see `policies.files.config`
    run: str  # SHA-256 of how the run was started
    numbers: dict[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What `setup` gave."""
        return {"env": self.env, "parameters": self.parameters, "config": self.config, "run": self.run}

    @property
    def network(self) -> dict[str, Any]:
        """Keyword arguments of `EntityActorCritic`."""
        return dict(self.config["network"])

    @property
    def env_steps(self) -> int:
        """Env steps that the policy was trained for."""
        return int(self.numbers["env_steps"])

    def batch(self, n_worlds: int = 1, **changes: Any) -> interact_env.WorldBatch:
        """Worlds as it was trained in, with some options or parameters changed.

        Raises:
            ValueError: an option or parameter is not allowed.
        """
        return interact_env.make_batch(self.env, n_worlds, **{**self.parameters, **changes})

    def policy(self) -> EntityPolicy:
        """The policy with its weights.

        Raises:
            LoadError: the weights or settings are of another policy or world.
        """
        try:
            batch = self.batch()
        except (TypeError, ValueError, OverflowError) as error:
            raise LoadError(f"{self.path / META}: is of no world: {error}") from None
        if files.config(batch.columns, n_outputs(batch.action_space), self.network) != self.config:
            raise LoadError(f"{self.path / files.CONFIG}: is not of {self.env} with its parameters")
        space = entity_space(batch.columns, batch.n_slots)

        def build() -> EntityPolicy:
            return EntityPolicy(space, batch.action_space, lambda _: 0.0, **self.network)

        try:
            with torch.device("meta"):  # nothing is allocated before the weights are known to fit
                like = build().weights()
        except (TypeError, ValueError) as error:
            raise LoadError(f"{self.path / files.CONFIG}: is of no network: {error}") from None
        weights = self.weights(like)
        policy = build()
        policy.load_weights(weights)
        policy.set_training_mode(False)
        return policy

    def weights(self, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The policy's weights, of these names, shapes and dtypes.

        Raises:
            LoadError: they are of another policy.
        """
        with files.opened(self.path / files.WEIGHTS) as tensors:
            return tensors.read_all(like)

    @contextlib.contextmanager
    def training(self) -> Iterator[files.Tensors]:
        """What it takes to go on training, to read from.

        Raises:
            LoadError: it was saved without.
        """
        with files.opened(self.path / TRAINING) as tensors:
            yield tensors


def setup(
    env: str, parameters: Mapping[str, Any], network: Mapping[str, Any], run: str = ""
) -> dict[str, Any]:
    """What stays the same while a policy is trained.

    Args:
        env: name of a registered world.
        parameters: of the world.
        network: keyword arguments of `EntityActorCritic`.
        run: SHA-256 of how the run was started.
    """
    batch = interact_env.make_batch(env, **{**parameters})
    config = files.config(batch.columns, n_outputs(batch.action_space), network)
    return {"env": env, "parameters": dict(parameters), "config": config, "run": run}


def save(
    run: Path, about: Mapping[str, Any], snapshot: Snapshot, *, best: bool = False, keep: int = KEEP
) -> Path:
    """Write a checkpoint of a run, then point `latest` at it, and drop the oldest.

    Args:
        run: directory of the run, which nobody else writes to.
        about: see `setup`.
        snapshot: of the training; without tensors it can be used and not gone on with.
        best: point `best` at it too.
        keep: checkpoints that stay, beside the best.

    Returns:
        The checkpoint's directory. Whatever fails, and whenever the process is killed, the one before stays.

    Raises:
        FloatingPointError: a weight or another number is not finite; nothing has been written.
    """
    weights, tensors = (
        {k: v.cpu() for k, v in part.items()} for part in (snapshot.weights, snapshot.tensors)
    )
    for name, tensor in {**tensors, **weights}.items():
        if not torch.isfinite(tensor).all():
            raise FloatingPointError(f"{name} is not finite: not saved")
    run.mkdir(parents=True, exist_ok=True)
    for left in _folders(run, "."):  # by a process that was killed
        shutil.rmtree(left)
    final = _unused(run, f"step_{snapshot.numbers['env_steps']:012d}")
    meta = {name: about[name] for name in ("env", "parameters", "run")} | {"numbers": dict(snapshot.numbers)}
    contents = {
        files.CONFIG: _json(about["config"]),
        files.WEIGHTS: _safetensors(weights),
        META: _json(meta),
        TRAINING: _safetensors(tensors),
    }
    listed = {name: {"size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for name, d in contents.items()}
    manifest = _json({"format": FORMAT, "files": listed})
    aside = run / f".{final.name}"
    aside.mkdir()
    try:
        for name, data in {**contents, MANIFEST: manifest}.items():
            disk.write(aside / name, data)
        disk.flush(aside)
        aside.rename(final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    disk.flush(run)
    text = f"{final.name} {hashlib.sha256(manifest).hexdigest()}\n"
    for pointer in (BEST, LATEST) if best else (LATEST,):
        disk.replace(run / pointer, text.encode())
    _prune(run, final, keep)
    return final


def load(run: Path, which: str = LATEST) -> Checkpoint:
    """A checkpoint of a run, after a check of every byte.

    Args:
        run: directory of the run.
        which: "latest", "best", or the name of one that is there, as step_000000100000.

    Raises:
        LoadError: there is none, or it is damaged.
    """
    if re.fullmatch(_NAME, which):
        name, digest = which, None
    elif which not in (LATEST, BEST):
        raise LoadError(f"checkpoint must be {LATEST}, {BEST} or the name of one, step_..., not {which!r}")
    elif not (run / which).exists():
        raise LoadError(f"{run} holds no {'best ' if which == BEST else ''}checkpoint")
    else:
        name, digest = _pointed(run / which)
    path = run / name
    if path.is_symlink():
        raise LoadError(f"{path}: is a link")
    _check_files(path, digest)
    config, meta = files.read_json(path / files.CONFIG), files.read_json(path / META)
    files.check_sizes(path / files.CONFIG, config)
    _check(path / files.CONFIG, config["network"], {"policy": str})
    _check(path / META, meta, {"env": str, "parameters": dict, "run": str, "numbers": dict})
    _check(path / META, meta["numbers"], {"env_steps": int})
    if ":" in meta["env"]:
        raise LoadError(f"{path / META}: env {meta['env']!r} names a module to import; a file may not")
    if "n_agents" not in meta["parameters"]:
        raise LoadError(f"{path / META}: lacks n_agents")
    # JSON has no tuples; ranges were given as such.
    pairs = meta["parameters"].items()
    parameters = {k: tuple(v) if isinstance(v, list) else v for k, v in pairs}
    return Checkpoint(path, meta["env"], parameters, config, meta["run"], meta["numbers"])


def _check(path: Path, found: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if not isinstance(found.get(name), kind):
            raise LoadError(f"{path}: {name!r} must be of type {kind.__name__}")


def _pointed(path: Path) -> tuple[str, str]:
    """The name of a checkpoint and the SHA-256 of its manifest."""
    with files.opened_bytes(path) as file:
        found = _POINTER.fullmatch(file.read(200).decode(errors="replace"))
    if found is None:
        raise LoadError(f"{path}: names no checkpoint")
    return found[1], found[2]


def _check_files(path: Path, digest: str | None) -> None:
    """Whether a checkpoint's files are what its manifest says, and that what the pointer said, if one did."""
    found = disk.measured(path / MANIFEST)["sha256"]
    if digest not in (None, found):
        raise LoadError(f"{path / MANIFEST}: is damaged (its SHA-256 is not the one that the run points to)")
    manifest = files.read_json(path / MANIFEST)
    listed = manifest.get("files")
    if manifest.get("format") != FORMAT:
        raise LoadError(f"{path / MANIFEST}: is not of format {FORMAT}")
    if not isinstance(listed, dict) or listed.keys() != set(FILES):
        raise LoadError(f"{path / MANIFEST}: does not list the files of a checkpoint")
    for name in FILES:
        if disk.measured(path / name) != listed[name]:
            raise LoadError(f"{path / name}: is damaged (its size or SHA-256 is not the one in {MANIFEST})")


def _folders(run: Path, before: str = "") -> list[Path]:
    """Folders in a run that are checkpoints by their name, perhaps with something before it."""
    name = re.compile(re.escape(before) + _NAME)
    return [path for path in run.iterdir() if name.fullmatch(path.name) and _is_folder(path)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _unused(run: Path, name: str) -> Path:
    """A directory of this name, or with a number behind it where there is one already."""
    taken = {path.name for path in run.iterdir()}
    return run / next(n for n in (name, *(f"{name}_{k}" for k in range(1, 10_000))) if n not in taken)


def kept(run: Path) -> list[str]:
    """Names of a run's checkpoints, the oldest first."""
    return [path.name for path in sorted(_folders(run), key=lambda path: path.stat().st_mtime_ns)]


def _prune(run: Path, final: Path, keep: int) -> None:
    """Drop all checkpoints but the last ones and the best."""
    stay = {final.name}
    if (run / BEST).exists():
        stay.add(_pointed(run / BEST)[0])
    others = [name for name in kept(run) if name not in stay]
    for old in others[: max(0, len(others) - (keep - 1))]:
        shutil.rmtree(run / old)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()


def _safetensors(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
