"""How decoders learn a text, and how well they tell what they have not seen."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.speed.measure import peak
from train.theory.corpus import Tokens
from train.theory.decoder import Decoder, Size, matched
from train.theory.learning import n_learned

PARTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of a training, which a learning curve tells
_WARM_UP, _DECAY, _CLIP = 0.1, 0.1, 1.0


class Preset(NamedTuple):
    """How large the models are, and how long they learn."""

    vocabulary: int  # at the most
    window: int
    width: int
    layers: int
    heads: int
    batch: int  # windows of a step
    tokens: int  # that are learned from
    tested: int  # that are told
    rate: float  # of AdamW at the most
    kinds: Sequence[str] = ("ha", "hfa", "sa_hfa", "sa")  # the slowest first
    device: str = "cpu"


class Job(NamedTuple):
    """A training."""

    kind: str
    module: str
    preset: Preset
    data: Tokens
    seed: int


def learned(job: Job) -> dict[str, Any]:
    """Train one model: perplexity, learning curve, parameters, tokens a second and bytes held."""
    torch.manual_seed(job.seed)
    preset, data = job.preset, job.data
    size = Size(data.vocabulary, preset.window, preset.width, preset.layers, preset.heads)
    model = Decoder(job.module, size, matched(job.module, size)).to(preset.device)
    with peak(preset.device) as held:
        start = time.perf_counter()
        losses = train(model, job)
        seconds = time.perf_counter() - start
    return {
        "perplexity": perplexity(model, held_out(data, preset), preset),
        "curve": _curve(losses),
        "parameters": n_learned(model),
        "speed": len(losses) * preset.batch * preset.window / seconds,
        "memory": held(),
    }


def _curve(losses: Sequence[float]) -> list[float]:
    """Perplexities of the text while it is learned, of one part of the training after the other."""
    ends = [0, *(round(part * len(losses)) for part in PARTS)]
    return [math.exp(np.mean(losses[a:b])) for a, b in itertools.pairwise(ends)]


def train(model: nn.Module, job: Job) -> list[float]:
    """AdamW on random windows, the same for all models of a seed; the rate rises and falls as a cosine."""
    preset, draw = job.preset, np.random.default_rng(job.seed)
    steps = math.ceil(preset.tokens / (preset.batch * preset.window))
    weights = [part.weight for part in model.modules() if isinstance(part, nn.Linear)]
    # Only these decay: the factors of HFA and HA start at biases of 1.
    others = [p for p in model.parameters() if all(p is not weight for weight in weights)]
    groups = [{"params": weights, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=preset.rate, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, preset.rate, steps, pct_start=_WARM_UP, cycle_momentum=False
    )
    losses = []
    for _ in range(steps):
        at = draw.integers(len(job.data.train) - preset.window, size=preset.batch)
        loss = _loss(model, windows(job.data.train, at, preset.window), preset)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())  # a tensor kept for each would fragment the memory
    return losses


def windows(tokens: np.ndarray, at: np.ndarray, length: int) -> np.ndarray:
    """Pieces of length + 1 from those places, (B, length + 1) int64."""
    return tokens[at[:, None] + np.arange(length + 1)].astype(np.int64)


def held_out(data: Tokens, preset: Preset) -> np.ndarray:
    """Windows that are told, evenly from what is held out."""
    n = preset.tested // preset.window
    at = np.linspace(0, len(data.held_out) - preset.window - 1, n).astype(int)
    return windows(data.held_out, at, preset.window)


@torch.no_grad()
def perplexity(model: nn.Module, given: np.ndarray, preset: Preset) -> float:
    """Of windows (B, L + 1)."""
    parts = np.array_split(given, math.ceil(len(given) / preset.batch))
    total = sum(float(_loss(model, part, preset)) * len(part) for part in parts)
    return math.exp(total / len(given))


def _loss(model: nn.Module, given: np.ndarray, preset: Preset) -> Tensor:
    """Mean of -log p of every token but the windows' first."""
    tokens = torch.from_numpy(given).to(preset.device)
    with torch.autocast(preset.device, torch.bfloat16, enabled=preset.device == "cuda"):
        logits = model(tokens[:, :-1])
    return F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
