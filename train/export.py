"""Policies for use without this package: as ONNX, TorchScript, or the plain tensors of `policies.load`."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import secrets
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from policies import files
from train import disk, model_card
from train.checkpoint import Checkpoint
from train.policy import EntityPolicy

FORMATS = ("onnx", "torchscript", "safetensors")
INPUTS, OUTPUTS = ("entities", "mask"), ("action", "value")
# More than any size that is chosen by (a network's form of a sum depends on the number of entities, its value
# does not) and no size of anything else.
_SETS, _ENTITIES = 3, 41


class OneView(nn.Module):
    """A policy as a function of what agents see: each its own set, itself first."""

    def __init__(self, policy: EntityPolicy) -> None:
        """Wrap the policy's network."""
        super().__init__()
        self.network = policy.network

    def forward(self, entities: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Entities (B, n, F) and mask (B, n) bool -> logits or means (B, n_outputs), and values (B,)."""
        outputs, values = self.network(entities, mask)
        return outputs[:, 0], values[:, 0]


def export(saved: Checkpoint, formats: tuple[str, ...], out: Path, evaluation: dict[str, Any] | None) -> None:
    """Write a policy and its model card into a new folder.

    Args:
        saved: what to export.
        formats: of `FORMATS`; `policy.onnx`, `policy.pt`, or `config.json` and `model.safetensors`.
        out: the folder; it appears when all is done.
        evaluation: what `interact-env evaluate` saved, for the card; None: it has not been evaluated.

    Raises:
        FileExistsError: the folder is there already.
        ValueError: the policy is damaged, or a package that is needed is missing.
    """
    if out.exists():
        raise FileExistsError(f"--out {out} is there already: choose another folder")
    policy = saved.policy()
    made = {name: data for form in formats for name, data in _WRITERS[form](saved, policy).items()}
    made["README.md"] = model_card.text(saved, policy, formats, evaluation).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    aside.mkdir()
    try:
        for name, data in made.items():
            disk.write(aside / name, data)
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _safetensors(saved: Checkpoint, policy: EntityPolicy) -> dict[str, bytes]:
    config = json.dumps(saved.config, indent=2).encode()
    return {files.CONFIG: config, files.WEIGHTS: safetensors.torch.save(policy.weights())}


def _torchscript(_: Checkpoint, policy: EntityPolicy) -> dict[str, bytes]:
    data = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # It is deprecated, and warns of sizes that become constants: a test compares it at other sizes.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(OneView(policy).eval(), _example(policy), check_trace=False)
        torch.jit.save(traced, data)
    return {"policy.pt": data.getvalue()}


def _onnx(_: Checkpoint, policy: EntityPolicy) -> dict[str, bytes]:
    for name in ("onnx", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(f"--to onnx needs the package {name}: pip install 'interact-env[onnx]'")
    example, view = _example(policy), OneView(policy).eval()

    def real(entities: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        with _RealNumbers():
            return view(entities, mask)

    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with torch.no_grad(), _quiet():
        graph = make_fx(real, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*example)
        program = torch.export.export(graph, example, dynamic_shapes=(sizes, sizes))
        made = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=INPUTS, output_names=OUTPUTS
        )
    assert made is not None
    return {"policy.onnx": made.model_proto.SerializeToString()}


_WRITERS = {"onnx": _onnx, "torchscript": _torchscript, "safetensors": _safetensors}


def _example(policy: EntityPolicy) -> tuple[Tensor, Tensor]:
    width = policy.observation_space["entities"].shape[-1]  # type: ignore[index]
    return torch.zeros(_SETS, _ENTITIES, width), torch.ones(_SETS, _ENTITIES, dtype=torch.bool)


class _RealNumbers(TorchDispatchMode):
    """Computes with complex numbers as pairs of real ones, since ONNX has no complex ones."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch._subclasses.complex_tensor import ComplexTensor

        aten = torch.ops.aten
        if func is aten.polar.default:
            length, angle = args
            return ComplexTensor(length * angle.cos(), length * angle.sin())
        if func is aten.view_as_complex.default:
            (pairs,) = args
            return ComplexTensor(pairs[..., 0], pairs[..., 1])
        if func is aten.pow.Tensor_Scalar and isinstance(args[0], ComplexTensor):
            base, power = args  # a whole one: of an angle, as often as it is turned
            for _ in range(power - 1):
                args = (args[0] * base, power)
            return args[0]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter logs and warns of along the way."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def hub() -> Any:
    """The Hugging Face hub, to `push` to.

    Raises:
        ValueError: huggingface_hub is not installed, or there is no token.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ValueError("--push needs the package huggingface_hub: pip install 'interact-env[hub]'")
    import huggingface_hub

    if huggingface_hub.get_token() is None:
        raise ValueError("--push needs a token: set HF_TOKEN, or log in with `hf auth login`")
    return huggingface_hub.HfApi()


def push(hub: Any, folder: Path, repository: str) -> str:
    """Upload an exported folder to a hub's repository, made if there is none; its address.

    Raises:
        ValueError: the hub refuses.
    """
    try:
        hub.create_repo(repository, exist_ok=True)
        return str(hub.upload_folder(folder_path=folder, repo_id=repository))
    except Exception as error:  # of the network, the hub or the name
        raise ValueError(f"--push {repository}: {error} (what was exported stays in {folder})") from error
