"""`interact-env compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass
class CompareConfig:
    """Put evaluated runs that differ in their seed or policy together, as Markdown tables."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of the runs; each must have been evaluated in the same way."""
    figure: Path | None = None
    """PNG to draw the rewards in, with their intervals over runs."""


def run(config: CompareConfig) -> int:
    """`interact-env compare`."""
    from train import compare, figures

    study = compare.read(config.runs)
    metrics: dict[str, list[float]] = next((v for v in study.values[study.learned[0]].values() if v), {})
    for metric in metrics:
        print(compare.markdown(study, metric), end="\n\n")
    print(compare.differences(study))
    if config.figure is not None:
        title = f"{', '.join(study.learned)}: mean and 95% interval over runs"
        figures.count_transfer(compare.estimates(study), config.figure, title, study.trained_at)
    return 0
