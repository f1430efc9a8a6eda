r"""T8, small language models: self-, hyperfeature and hyperattention at equal parameters and equal tokens.

Every kind of attention learns the same windows of a text in the same order, in a decoder of the same depth
and width; what it spends on itself is taken off the mlp's, and all learn at one rate. What counts is the
perplexity of what is held out, \(\exp(-\frac{1}{n} \sum_t \log p(x_t | x_{<t}))\), t within its window. All
have to be better than what the last token alone tells; and the order of the source, HA below HFA below SA,
has to show in 95% intervals over the seeds that do not overlap. With `quick` the order is only told: so
short a training does not settle it.

At so small a size the order need not show. In trials of a fifth of the tokens of `small`, of one seed each,
SA was 3% below HFA and HA; at half the rate, where all were worse, HFA was 1% below SA and HA 4% above it. Of
`small` itself, five seeds, HFA was 2% below SA and HA 1%, in intervals that overlap.

HA's softmax over pairs costs the cube of the window. So the window of `small` is short, and `gpt2-small` is
without HA: a window of 1,024 has 10^9 scores in each of its 12 heads of 12 layers.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179, whose perplexities are reported for OpenWebText, at the
size of GPT-3 small, and of mixed heads for 3 layers; pre-LN blocks, learned positions and the size of
`gpt2-small`: Radford et al. 2019 (GPT-2); up to four times over the same text: Muennighoff et al. 2023, arXiv
2305.16264. The text, the sizes of `small`, and all bounds are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter

from train.compare import interval
from train.figures import COLORS
from train.theory import corpus, plots
from train.theory.corpus import Tokens
from train.theory.experiment import Effort, Finding, Outcome, Report, side_by_side
from train.theory.next_token import PARTS, Job, Preset, held_out, learned

TITLE = "T8 small language models"
KINDS = {"ha": "HA of order 3", "hfa": "HFA", "sa_hfa": "SA and HFA heads", "sa": "SA"}  # the slowest first
_REPORTED = {"ha": "51.26; 48.50 unshared", "hfa": "60.22", "sa": "62.28", "sa_hfa": "27.75; SA 28.70"}
_ORDER = (("ha", "hfa"), ("hfa", "sa"))  # the better one first
_ALIKE = 2.0  # percent that parameters may differ
_TIMES = 4  # over the same text
_LONGEST = 8  # characters of a token, on average, at the most
Runs = dict[str, list[dict[str, Any]]]  # what `learned` found, by kind


QUICK = Preset(256, 32, 64, 2, 4, 8, 150_000, 30_000, 6e-3)  # plain bytes, soon learned
PRESETS = {
    "small": Preset(1024, 32, 96, 3, 4, 16, 3_000_000, 50_000, 6e-3),
    "gpt2-small": Preset(
        50_257, 1024, 768, 12, 12, 8, 100_000_000, 500_000, 6e-4, ("hfa", "sa_hfa", "sa"), "cuda"
    ),
}


def run(effort: Effort, report: Report) -> Outcome:
    """The experiment."""
    preset = _preset(effort)
    data = _tokens(effort.data, preset)
    jobs = [
        Job(kind, effort.module(kind), preset, data, seed)
        for kind in preset.kinds
        for seed in range(effort.seeds)
    ]
    workers = 1 if preset.device == "cuda" else effort.workers  # there is one GPU
    found = side_by_side(learned, jobs, workers, report, lambda job: f"{KINDS[job.kind]}, seed {job.seed}")
    runs = {
        kind: [one for job, one in zip(jobs, found, strict=True) if job.kind == kind] for kind in preset.kinds
    }
    asked = held_out(data, preset)
    bound = corpus.bigram(data, asked[:, :-1], asked[:, 1:])
    findings = list(_findings(runs, bound, judged=not effort.quick and effort.seeds > 1))
    about = {**preset._asdict(), "text": effort.data or "standard library", "text_tokens": len(data.train)}
    return Outcome(
        findings, {"perplexity": _figure(runs, preset, bound)}, {**about, "bigram": bound, "runs": runs}
    )


def _preset(effort: Effort) -> Preset:
    name = effort.preset or "small"
    if name not in PRESETS:
        raise ValueError(f"--preset must be one of {', '.join(PRESETS)}, not {name!r}")
    if effort.quick and effort.preset:
        raise ValueError("give --quick or --preset, not both")
    preset = QUICK if effort.quick else PRESETS[name]
    if preset.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--preset {name} needs a GPU that torch can use; small does without")
    return preset


def _tokens(source: str, preset: Preset) -> Tokens:
    text = corpus.text(source, _LONGEST * preset.tokens)
    data = corpus.tokens(text, preset.vocabulary)
    n, least = (len(data.train), len(data.held_out)), (preset.tokens // _TIMES, preset.tested)
    if n[0] < least[0] or n[1] < least[1]:
        raise ValueError(
            f"{text.name}: is too small, {n[0]:,} tokens to learn and {n[1]:,} held out, of {least[0]:,} and "
            f"{least[1]:,} that are needed; give another --data"
        )
    return data


def _findings(runs: Runs, bound: float, judged: bool) -> Iterator[Finding]:
    for kind, of in runs.items():
        quantity = f"perplexity, {KINDS[kind]} (at most a bigram's)"
        values = [one["perplexity"] for one in of]
        yield Finding(quantity, values, high=bound, reported=_REPORTED[kind], ours=True, log=True)
    for better, worse in _ORDER:
        if not {better, worse} <= set(runs):
            continue
        names = f"{KINDS[better]} below {KINDS[worse]}"
        low = 0.0 if judged else -math.inf
        gap = apart(*([math.log(one["perplexity"]) for one in runs[kind]] for kind in (better, worse)))
        yield Finding(f"{names}: gap between the intervals of log perplexity", [gap], low, ours=True)
    sizes = [of[0]["parameters"] for of in runs.values()]
    yield Finding(
        "parameters, largest difference in %", [100 * (max(sizes) / min(sizes) - 1)], high=_ALIKE, ours=True
    )
    for kind, of in runs.items():
        yield Finding(f"parameters, {KINDS[kind]}", [of[0]["parameters"]])
        yield Finding(f"tokens a second of training, {KINDS[kind]}", [one["speed"] for one in of], log=True)
        held = [one["memory"] / 2**20 for one in of if one["memory"] is not None]
        if held:
            yield Finding(f"MiB held in training, {KINDS[kind]}", held, log=True)


def apart(lower: Sequence[float], higher: Sequence[float]) -> float:
    """How far the 95% interval of the one lies below that of the other; negative where they overlap."""
    return interval(list(higher))[1] - interval(list(lower))[2]


def _figure(runs: Runs, preset: Preset, bound: float) -> Figure:
    figure, (left, right) = plots.panels(2)
    xs = [round(part * preset.tokens) for part in PARTS]
    lines = {
        KINDS[kind]: [list(of) for of in zip(*(one["curve"] for one in runs[kind]), strict=True)]
        for kind in runs
    }
    plots.draw_errors(left, xs, lines)
    left.set(xlabel="tokens learned", ylabel="perplexity of what is learned")
    left.legend(frameon=False)
    for at, of in enumerate(runs.values()):
        logs = [math.log(one["perplexity"]) for one in of]
        mean, low, high = (math.exp(value) for value in interval(logs))
        right.errorbar(at, mean, [[mean - low], [high - mean]], fmt="o", ms=4, capsize=4, color=COLORS[at])
    right.axhline(bound, color="0.4", lw=1, ls=":")
    right.annotate("bigram", (0, bound), xytext=(0, 3), textcoords="offset points", color="0.4")
    right.set(ylabel="perplexity of what is held out", yscale="log")
    right.set_xticks(range(len(runs)), [KINDS[kind] for kind in runs], fontsize=8)
    right.grid(alpha=0.3)
    for axis in (left, right):
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.minorticks_off()
    return figure
