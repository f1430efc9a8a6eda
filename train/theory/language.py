r"""T8, small language models: whether a richer attention predicts text better, at equal size and data.

Decoders that differ in nothing but their attention (self-attention, HyperFeatureAttention, HyperAttention of
order 3, and half of the heads SA and half HFA; all softmax) learn the next token of a text: byte pairs of
Python's own standard library, or of any text. The networks between the attention make up for what an
attention has more in parameters, so all have equally many, and all see the same windows in the same order.
`none`, which looks at no token but the last, says what there is to be gained.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179, whose perplexities on OpenWebText, as third-party notes
tell of them, stand beside ours; model sizes, corpus and what counts as a difference are ours.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from train.speed.attention import peak_bytes
from train.theory import plots
from train.theory.corpus import Corpus, corpus, text
from train.theory.decoder import Decoder, Shape, equal_hidden, n_parameters
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side

TITLE = "T8 language models"
# Of a model of the size of GPT-3's smallest on OpenWebText, window 1024: THEORY's notes.
KINDS = {"ha": ("HA", "51.26"), "hfa": ("HFA", "60.22"), "sa_hfa": ("SA and HFA", ""), "sa": ("SA", "62.28")}
_BASE = "none"
_ORDER = ("ha", "hfa", "sa")  # the best first
_HELPS = 0.95  # of the perplexity without attention
_SEEDS = 3
_RATE, _WARM_UP, _DECAY = 2e-3, 0.05, 0.1
_TOLD = 200  # points of a learning curve
_TESTED = 512  # windows of the held-out text at the most


class Size(NamedTuple):
    """What is learned: the model, the text and how long."""

    shape: Shape
    vocabulary: int
    characters: int  # of the text, at the most
    batch: int  # windows of a step
    steps: int
    rate: float = _RATE
    device: str = "cpu"


QUICK = Size(Shape(32, 48, 4, 2), 512, 1_000_000, 16, 500, 6e-3)
FULL = Size(Shape(64, 96, 4, 3), 1024, 8_000_000, 32, 2500)
PRESETS = {"gpt2-small": Size(Shape(1024, 768, 12, 12), 32768, 2**31, 32, 20_000, 6e-4, "cuda")}


class Job(NamedTuple):
    """A training."""

    name: str
    module: str
    size: Size
    source: str
    seed: int


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment.

    Raises:
        ValueError: no such preset, or no GPU for it; a text that cannot be had or is too small.
    """
    size = _size(effort)
    seeds = effort.seeds if effort.quick else max(effort.seeds, _SEEDS)
    prepared(effort.text, size)  # what is wrong with the text is told before anything runs
    jobs = [
        Job(name, effort.module(name), size, effort.text, seed)
        for seed in range(seeds)
        for name in (*KINDS, _BASE)
    ]
    workers = effort.workers if size.device == "cpu" else 1
    found = side_by_side(learned, jobs, workers, report, lambda job: f"{job.name}, seed {job.seed}")
    runs: dict[str, list[dict[str, Any]]] = {}
    for job, one in zip(jobs, found, strict=True):
        runs.setdefault(job.name, []).append(one)
    findings = list(_findings(runs, in_order=not effort.quick))
    data = {"size": size._asdict(), "text": effort.text or "Python's standard library", "runs": runs}
    return Outcome(findings, {"learning": _figure(runs)}, data)


def _size(effort: Effort) -> Size:
    if not effort.preset:
        return QUICK if effort.quick else FULL
    if effort.preset not in PRESETS:
        raise ValueError(f"--preset must be one of {', '.join(PRESETS)}, not {effort.preset!r}")
    if not torch.cuda.is_available():
        raise ValueError(f"--preset {effort.preset} needs a GPU, and torch sees none")
    return PRESETS[effort.preset]


@functools.lru_cache(maxsize=1)
def prepared(source: str, size: Size) -> Corpus:
    """The text as tokens."""
    return corpus(text(source, size.characters), size.vocabulary, least=8 * (size.shape.window + 1))


def learned(job: Job) -> dict[str, Any]:
    """Train one model: the perplexity of the held-out text, the way there, parameters, speed and memory."""
    size, read = job.size, prepared(job.source, job.size)
    torch.manual_seed(job.seed)
    target = n_parameters("sa", size.shape, read.vocabulary, 4 * size.shape.d_model)
    hidden = equal_hidden(job.module, size.shape, read.vocabulary, target)
    model = Decoder(job.module, size.shape, read.vocabulary, hidden).to(size.device)
    windows = batches(read.train, size, torch.Generator().manual_seed(job.seed))
    first = next(windows).to(size.device)
    peak = _peak(model, first)
    start = time.perf_counter()
    curve = fit(model, itertools.chain([first], windows), size)
    seconds = time.perf_counter() - start
    return {
        "perplexity": perplexity(model, read.held_out, size),
        "curve": curve,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens per second": size.steps * size.batch * size.shape.window / seconds,
        "peak MB": peak / 1e6,
    }


def batches(tokens: Tensor, size: Size, generator: torch.Generator) -> Iterator[Tensor]:
    """Windows from anywhere in a text, and the token after each: (batch, window + 1), without end."""
    at = torch.arange(size.shape.window + 1)
    while True:
        starts = torch.randint(len(tokens) - size.shape.window, (size.batch, 1), generator=generator)
        yield tokens[starts + at]


def fit(model: nn.Module, windows: Iterator[Tensor], size: Size) -> list[float]:
    """AdamW on the cross-entropy; the rate warms up and falls to 0 as a cosine; losses along the way."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=size.rate, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, size.rate, total_steps=size.steps, pct_start=_WARM_UP, cycle_momentum=False
    )
    losses = []
    for window in itertools.islice(windows, size.steps):
        loss = _loss(model, window.to(size.device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    each = max(1, size.steps // _TOLD)
    means = torch.stack(losses)[: len(losses) // each * each].reshape(-1, each).mean(1)
    return means.tolist()


def _loss(model: nn.Module, window: Tensor) -> Tensor:
    with torch.autocast("cuda", torch.bfloat16, enabled=window.is_cuda):
        logits = model(window[:, :-1])
    return nn.functional.cross_entropy(logits.float().flatten(0, 1), window[:, 1:].flatten())


def _peak(model: nn.Module, window: Tensor) -> float:
    """Bytes that a step's pass forward and back holds at the most."""

    def there_and_back() -> None:
        _loss(model, window).backward()

    if not window.is_cuda:
        return peak_bytes(there_and_back)
    torch.cuda.reset_peak_memory_stats()
    there_and_back()
    return torch.cuda.max_memory_allocated()


@torch.no_grad()
def perplexity(model: nn.Module, tokens: Tensor, size: Size) -> float:
    """Of the first windows of a text, side by side: the exponential of the mean cross-entropy."""
    length = size.shape.window
    n = min(_TESTED, (len(tokens) - 1) // length)
    windows = torch.stack([tokens[k * length : (k + 1) * length + 1] for k in range(n)])
    parts = windows.split(size.batch)
    losses = [float(_loss(model, part.to(size.device))) * len(part) for part in parts]
    return math.exp(sum(losses) / n)


def _findings(runs: dict[str, list[dict[str, Any]]], in_order: bool) -> Iterator[Finding]:
    found = {name: _perplexity(runs, name) for name in runs}
    yield from found.values()
    base = np.array(found[_BASE].values)
    for name, (title, _) in KINDS.items():
        share = (np.array(found[name].values) / base).tolist()
        yield Finding(f"perplexity of {title} over that of none", share, high=_HELPS, ours=True)
    for better, worse in itertools.pairwise(_ORDER):
        apart = found[worse].estimate[1] - found[better].estimate[2]
        quantity = f"between the intervals of {KINDS[better][0]} and {KINDS[worse][0]}"
        # Of two seeds an interval is as good as none.
        low = 1e-9 if in_order else -math.inf
        yield Finding(quantity, [apart], low, reported="above 0", ours=True)
    for what in ("parameters", "tokens per second", "peak MB"):
        for name, of in runs.items():
            values = [one[what] for one in of]
            yield Finding(
                f"{what}, {_title(name)}", values if what != "parameters" else values[:1], ours=True
            )


def _perplexity(runs: dict[str, list[dict[str, Any]]], name: str) -> Finding:
    values = [one["perplexity"] for one in runs[name]]
    reported = KINDS[name][1] if name in KINDS else ""
    return Finding(f"perplexity, {_title(name)}", values, reported=reported)


def _title(name: str) -> str:
    return KINDS[name][0] if name in KINDS else name


def _figure(runs: dict[str, list[dict[str, Any]]]) -> Figure:
    figure, (left, right) = plots.panels(2)
    for shade, (name, of) in zip(plots.COLORS, runs.items(), strict=False):
        curves: Sequence[Any] = [one["curve"] for one in of]
        mean = np.exp(np.mean(curves, axis=0))
        steps = np.linspace(0, 100, len(mean))
        left.plot(steps, mean, color=shade, lw=1, label=_title(name))
        middle, low, high = _perplexity(runs, name).estimate
        right.errorbar(
            _title(name), middle, [[middle - low], [high - middle]], fmt="o", color=shade, capsize=4
        )
    left.set(xlabel="% of training", ylabel="perplexity", yscale="log", title="while it learns")
    left.legend(frameon=False)
    left.grid(alpha=0.3)
    right.set(title="held-out text, 95% interval over seeds")
    right.grid(alpha=0.3)
    return figure
