"""Experiments of the theory: supervised tasks whose answers are known."""

from __future__ import annotations

# What `interact-env theory` takes, and the module that does it: a TITLE and run(effort, report) -> Outcome.
EXPERIMENTS = {
    "length": "train.theory.length",
    "convergence": "train.theory.convergence",
    "versatility": "train.theory.versatility",
    "coupling": "train.theory.coupling",
    "three-way": "train.theory.three_way",
    "genotype": "train.theory.genotype",
    "language": "train.theory.language",
}
