"""The published result: its lines are whole, and the README's tables are made of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from train.benchmark import grid, plan, results
from train.benchmark.report.cells import SCORE, Cell, cells
from train.benchmark.report.story import reaches
from train.benchmark.results import ORACLE, Evaluated

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "assets" / "standard"
ARENA = "constant density"


@pytest.fixture(scope="module")
def found() -> list[Cell]:
    lines = results.read(FOLDER / results.FILE)
    return cells([line for line in lines if isinstance(line, Evaluated)])


def scores(found: list[Cell], world: str) -> Iterator[str]:
    """The README's table of a world: one row for each policy, as trained, of scores by number of agents."""
    mine = [cell for cell in found if (cell.world, cell.arena, cell.measure) == (world, ARENA, SCORE)]
    counts = sorted({cell.test_count for cell in mine})
    yield "| policy | trained with | " + " | ".join(f"{n:,}" for n in counts) + " |"
    yield "|---" * (2 + len(counts)) + "|"
    rows: dict[tuple[str, str], dict[int, Cell]] = {}
    for cell in mine:
        if cell.policy not in ("random", ORACLE):
            rows.setdefault((cell.policy, cell.train_count), {})[cell.test_count] = cell
    for (policy, trained), row in sorted(rows.items(), key=lambda item: -item[1][counts[-1]].mean):
        texts = [score(row[n]) for n in counts]
        yield f"| {policy} | {trained or 'scripted'} | {' | '.join(texts)} |"


def score(cell: Cell) -> str:
    return f"{cell.mean:.2f} [{cell.low:.2f}, {cell.high:.2f}]" if cell.runs > 1 else f"{cell.mean:.2f}"


def goals(found: list[Cell]) -> Iterator[str]:
    """The README's table of the goal: how far from it each architecture is, the best as trained."""
    yield "| world | agents | policy | trained with | return / oracle's | collisions / oracle's | goal |"
    yield "|---|---|---|---|---|---|---|"
    learned = {cell.policy for cell in found if cell.train_count}
    for reach in reaches(found, sorted(learned), ARENA):
        collisions = "" if reach.collisions is None else f"{reach.collisions:.2f}"
        earned = f"{reach.score:.2f} [{reach.low:.2f}, {reach.high:.2f}]"
        words = (reach.world, f"{reach.test_count:,}", reach.policy, reach.train_count, earned, collisions)
        yield f"| {' | '.join(words)} | {'met' if reach.met else 'missed'} |"


def test_nothing_of_the_grid_is_missing():
    published = grid.read(FOLDER / "grid.toml")
    assert plan.tasks(published, results.read(FOLDER / results.FILE)) == []
    assert len(published.seeds) >= 5


@pytest.mark.parametrize("world", ["colliding", "gravity", "three_body"])
def test_scores_in_the_readme_are_those_of_the_lines(world, found):
    readme = (ROOT / "README.md").read_text()
    assert "\n".join(scores(found, world)) in readme


def test_how_far_each_is_from_the_goal_is_in_the_readme(found):
    assert "\n".join(goals(found)) in (ROOT / "README.md").read_text()
