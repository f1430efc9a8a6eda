"""Figures of a run: what was learned, and how it carries over to other numbers of agents."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np

from train import disk
from train.evaluate import Result

matplotlib.use("Agg")
from matplotlib import figure
from matplotlib import pyplot as plt  # after the choice of a backend without a display

# Okabe and Ito's palette.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")


def learning_curve(log: dict[str, list[float]], path: Path, title: str) -> None:
    """Reward and metrics per agent step against agent steps, from a run's log."""
    prefix, suffix = "rollout/", "_per_agent_step"
    shown = [name for name in log if name.startswith(prefix) and name.endswith(suffix)]
    fig, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for color, name in zip(COLORS, sorted(shown, key=lambda n: "reward" not in n), strict=False):
        label = name.removeprefix(prefix).removesuffix(suffix)
        x = np.array(log["time/agent_steps"][: len(log[name])]) / 1e6
        axis.plot(x, log[name], color=color, label=label, lw=2 if label == "reward" else 1)
    axis.set(xlabel="agent steps (millions)", ylabel="per agent step", title=title)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    save(fig, path)


def count_transfer(results: list[Result], path: Path, title: str, trained_at: str) -> None:
    """Reward per agent step against the number of agents, one panel per arena, with 95% intervals."""
    arenas = list(dict.fromkeys(r.arena for r in results))
    policies = list(dict.fromkeys(r.policy for r in results))
    fig, axes = plt.subplots(
        1, len(arenas), figsize=(4.6 * len(arenas) + 1, 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, arena in zip(axes[0], arenas, strict=True):
        for color, policy in zip(COLORS, policies, strict=False):
            done = [r for r in results if (r.arena, r.policy) == (arena, policy) and r.estimates]
            reward = [r.estimates["reward"] for r in done]
            n = [r.n_agents for r in done]
            axis.plot(n, [e.mean for e in reward], "o-", ms=4, color=color, label=policy)
            axis.fill_between(
                n, [e.low for e in reward], [e.high for e in reward], color=color, alpha=0.2, lw=0
            )
        counts = sorted({r.n_agents for r in results if r.arena == arena})
        axis.set_xscale("log", base=2)
        full = [r.n_agents for r in results if r.arena == arena and not r.estimates]
        if full:
            axis.axvspan(min(full) / 2**0.5, max(full) * 2**0.5, color="0.92", lw=0)
            axis.text(min(full) / 2**0.3, 0.05, "do not fit", transform=axis.get_xaxis_transform())
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.minorticks_off()
        axis.set(xlabel="number of agents", title=arena)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("reward per agent step")
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    fig.suptitle(f"{title}, trained with {trained_at} agents")
    save(fig, path)


def save(fig: figure.Figure, path: Path) -> None:
    """Write a figure in the format that its file's name ends with."""
    data = BytesIO()
    fig.savefig(data, dpi=150, format=path.suffix.removeprefix(".") or "png")
    plt.close(fig)
    disk.replace(path, data.getvalue())
