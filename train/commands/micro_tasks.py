"""`interact-env micro-tasks`."""

from __future__ import annotations

import dataclasses
import os

from train.commands.console import bar


@dataclasses.dataclass
class MicroTasksConfig:
    """Learn three small sums with known answers from sets of 20, and test with 2 to 1,000 entities."""

    modules: tuple[str, ...] = ()
    """Interactions to compare; by default those of `train.theory.micro_tasks`."""
    seeds: int = 5
    """Trainings of each."""
    steps: int = 2000
    """Steps of each training."""
    threads: int = 0
    """Processes, of one thread each; 0: as many as there are cores."""


def run(config: MicroTasksConfig) -> int:
    """`interact-env micro-tasks`."""
    import policies
    from train.theory import micro_tasks

    for name in ("seeds", "steps"):
        if getattr(config, name) < 1:
            raise ValueError(f"--{name} must be >= 1, not {getattr(config, name)}")
    if config.threads < 0:
        raise ValueError(f"--threads must be >= 0, not {config.threads}")
    modules = config.modules or micro_tasks.MODULES
    for name in modules:
        policies.find(name)
    workers = config.threads or os.cpu_count() or 1
    with bar("learning") as advance:
        found = micro_tasks.run(modules, config.seeds, config.steps, workers, advance)
    print(micro_tasks.markdown(found))
    return 0
