"""The work of a grid, piece by piece, and what of it is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from train.benchmark.grid import Grid
from train.benchmark.results import ORACLE, Evaluated, Line
from train.config import TrainConfig


class Run(NamedTuple):
    """A policy, and how it is trained if it is no scripted one."""

    world: str
    policy: str
    train_count: str  # "" of a scripted policy
    arena: str  # of training
    seed: int

    @property
    def name(self) -> str:
        """Of its folder, in that of all runs."""
        parts = (self.world, self.policy, self.train_count or "scripted", self.arena, str(self.seed))
        return "/".join(_folder(part) for part in parts)


class Test(NamedTuple):
    """Episodes to be watched."""

    policy: str  # as the results call it
    arena: str
    test_count: int


class Task(NamedTuple):
    """A run, and where it is tested."""

    run: Run
    trained: bool  # already, and told of
    tests: tuple[Test, ...]


def tasks(grid: Grid, done: Iterable[Line] = ()) -> list[Task]:
    """All that is not done yet; a run that failed is tried again."""
    trained, tested = set(), set()
    for line in done:
        if isinstance(line, Evaluated):
            tested.add((line.world, line.policy, line.train_count, line.arena, line.seed, line.test_count))
        elif not line.error:
            trained.add(Run(*line[:5]))
    found = []
    for run, tests in _wanted(grid):
        missing = tuple(
            t
            for t in tests
            if (run.world, t.policy, run.train_count, t.arena, run.seed, t.test_count) not in tested
        )
        already = not run.train_count or run in trained
        if missing or not already:
            found.append(Task(run, already, missing))
    return found


def _wanted(grid: Grid) -> Iterator[tuple[Run, list[Test]]]:
    """Every run once, with its tests; by seed first, so that a part of the work is a smaller benchmark."""
    for name, place in grid.worlds.items():
        for scripted in dict.fromkeys(("random", *place.scripted)):
            tests = [Test(scripted, *there) for there in grid.tests(name)]
            yield Run(name, scripted, "", "", 0), tests
    for seed in grid.seeds:
        for name in grid.worlds:
            wanted: dict[Run, list[Test]] = defaultdict(list)
            density = next(iter(grid.places(name)))
            for policy in grid.policies:
                for n in grid.train_counts:
                    run = Run(name, policy, n, density, seed)
                    wanted[run] += [Test(policy, *there) for there in grid.tests(name)]
            for arena, count in grid.tests(name):
                # The arena of so many agents is what they have at constant density.
                same = grid.arena is not None and count == grid.arena.agents
                run = Run(name, grid.oracle, str(count), density if same else arena, seed)
                wanted[run].append(Test(ORACLE, arena, count))
            yield from wanted.items()


def config(grid: Grid, run: Run) -> TrainConfig:
    """How a run is trained."""
    return grid.config(*run)


def parameters(grid: Grid, run: Run, test: Test) -> dict[str, Any]:
    """Of the world that a policy is tested in."""
    own = grid.architecture(run.policy).parameters if run.train_count else {}
    return {**grid.places(run.world)[test.arena], **own, "n_agents": test.test_count}


def _folder(text: str) -> str:
    """The name of a folder, another for each text, and never that of one above."""
    return quote_plus(text).replace(".", "%2E") or "%"
