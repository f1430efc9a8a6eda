"""Networks on disk, as JSON and safetensors: data that nothing in it can turn into a program.

A folder holds `config.json` (what `EntityActorCritic` is built from) and `model.safetensors` (its tensors).
Files are read as they lie there, never through a link, and never larger than what they are read for.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from policies.actor_critic import EntityActorCritic
from policies.embedding import Column

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SPREAD = "log_std"  # tensor (n_outputs,) beside the network's: of a Gaussian's actions, log of the deviation
_LARGEST_JSON = 2**20  # bytes
_LARGEST = {"n_outputs": 2**14, "d_model": 2**14, "n_layers": 2**8, "n_heads": 2**10}


class LoadError(ValueError):
    """A file that cannot be used; the message names it and says what is wrong."""


class Field(NamedTuple):
    """A column of the entity row as config.json holds it; the names are `Column`'s."""

    name: str
    kind: str
    low: float
    high: float
    unit: str
    size: int


def load(folder: str | os.PathLike[str]) -> EntityActorCritic:
    """The network in a folder, such as a checkpoint's or an exported one, in eval mode on the CPU.

    Its policy must be known by name: import the module that registers one of your own first.

    Raises:
        LoadError: a file is missing, damaged or not allowed.
    """
    path = Path(folder)
    if not path.is_dir():
        raise LoadError(f"{path}: is no folder with {CONFIG} and {WEIGHTS}")
    if not (path / WEIGHTS).exists() and (path / "latest").exists():
        raise LoadError(f"{path}: is a run; give one of its checkpoints, {path}/step_...")
    config = read_json(path / CONFIG)
    with torch.device("meta"):  # allocates nothing, whatever sizes the file gives
        like = _network(path / CONFIG, config)
    with opened(path / WEIGHTS) as tensors:
        weights = tensors.read_all(like.state_dict(), but={SPREAD})
    network = _network(path / CONFIG, config)
    network.load_state_dict(weights)
    return network.eval()


def config(columns: Sequence[Column], n_outputs: int, network: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says of `EntityActorCritic(columns, n_outputs, **network)`."""
    fields = [{name: getattr(c, name, "") for name in Field._fields} for c in columns]
    return {"columns": fields, "n_outputs": n_outputs, "network": dict(network)}


def _network(path: Path, config: dict[str, Any]) -> EntityActorCritic:
    """A new network as a configuration says.

    Raises:
        LoadError: it says something else than it may.
    """
    check_sizes(path, config)
    try:
        columns = [Field(**column) for column in config["columns"]]
        return EntityActorCritic(columns, config["n_outputs"], **config["network"])
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise LoadError(f"{path}: is of no network: {error}") from None


def check_sizes(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse what `config` did not write, and networks that no memory holds.

    Raises:
        LoadError: it is such.
    """
    for name, kind in (("columns", list), ("n_outputs", int), ("network", dict)):
        if not isinstance(config.get(name), kind):
            raise LoadError(f"{path}: {name!r} must be of type {kind.__name__}")
    given = {**config["network"], "n_outputs": config["n_outputs"]}
    for name, largest in _LARGEST.items():
        size = given.get(name, 1)
        if not isinstance(size, int) or not 1 <= size <= largest:
            raise LoadError(f"{path}: {name} must be a whole number in [1, {largest}], not {size!r:.20}")


class Tensors:
    """An open safetensors file, of which only what is asked for is read, if it is as expected."""

    def __init__(self, path: Path, file: Any) -> None:
        """Use `opened`."""
        self.path, self._file = path, file
        self.names = frozenset(file.keys())

    def read(self, name: str, like: Tensor) -> Tensor:
        """A tensor of the shape and dtype of `like`.

        Raises:
            LoadError: there is none.
        """
        if name not in self.names:
            raise LoadError(f"{self.path}: has no {name}")
        shape = tuple(self._file.get_slice(name).get_shape())
        if shape != tuple(like.shape):
            raise LoadError(f"{self.path}: {name} is {shape}, and must be {tuple(like.shape)}")
        tensor = self._file.get_tensor(name)
        if tensor.dtype != like.dtype:
            raise LoadError(f"{self.path}: {name} is {tensor.dtype}, and must be {like.dtype}")
        return tensor

    def read_all(
        self, like: Mapping[str, Tensor], but: frozenset[str] | set[str] = frozenset()
    ) -> dict[str, Tensor]:
        """Tensors of these names, shapes and dtypes, which are all that there are, `but` a few.

        Raises:
            LoadError: others, or one that is not finite.
        """
        for name in sorted(self.names - like.keys() - but):
            raise LoadError(f"{self.path}: {name} has no place in this policy")
        found = {name: self.read(name, tensor) for name, tensor in like.items()}
        for name, tensor in found.items():
            if not torch.isfinite(tensor).all():
                raise LoadError(f"{self.path}: {name} is not finite")
        return found


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Tensors]:
    """Open a safetensors file.

    Raises:
        LoadError: it is none.
    """
    with opened_bytes(path):  # is a file, and no link
        pass
    try:
        file = safe_open(path, "pt")
    except Exception as error:  # safetensors raises its own and others for bad bytes
        raise LoadError(f"{path}: is not a safetensors file: {error}") from None
    with file:
        yield Tensors(path, file)


@contextlib.contextmanager
def opened_bytes(path: Path) -> Iterator[BufferedReader]:
    """Open a file that is one: not a link, folder or pipe.

    Raises:
        LoadError: it is not, or cannot be read.
    """
    try:
        # Not blocking, as a pipe would.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = "is a link" if path.is_symlink() else error.strerror
        raise LoadError(f"{path}: {reason}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise LoadError(f"{path}: is no file")
    with os.fdopen(handle, "rb") as file:
        yield file


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object whose numbers are neither NaN nor larger than 2^53 (but may be Infinity by name).

    Raises:
        LoadError: the file holds something else.
    """
    with opened_bytes(path) as file:
        data = file.read(_LARGEST_JSON + 1)
    if len(data) > _LARGEST_JSON:
        raise LoadError(f"{path}: is larger than {_LARGEST_JSON} bytes")
    return parsed(path, data)


def parsed(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON object that a file's bytes are, as `read_json`."""
    try:
        found = json.loads(data, parse_int=_whole, parse_float=_real, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{path}: is not JSON that is read here: {error}") from None
    if not isinstance(found, dict):
        raise LoadError(f"{path}: is not a JSON object")
    return found


def _whole(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > 2**53:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"a number that is not finite: {text:.20}")
    return float(text)


def _constant(text: str) -> float:
    if text == "NaN":
        raise ValueError("NaN")
    return float(text)
