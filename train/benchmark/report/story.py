"""What the results say, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from train.benchmark.report.cells import RETURN, SCORE, Cell
from train.benchmark.results import ORACLE

GOAL_RETURN, GOAL_COLLISIONS = 0.95, 1.1  # of the oracle's return at least, of its collisions at most


class Reach(NamedTuple):
    """How far a policy is from the goal, at the largest number of agents that there is an oracle for."""

    world: str
    policy: str
    train_count: str
    test_count: int
    score: float
    low: float
    high: float
    collisions: float | None  # over the oracle's; None: the world counts none, or the oracle has none

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.score >= GOAL_RETURN and (self.collisions is None or self.collisions <= GOAL_COLLISIONS)


def reaches(cells: Sequence[Cell], learned: Sequence[str], arena: str) -> list[Reach]:
    """One Reach for each learned policy of each world, the best of those it was trained as; best first.

    Better is who reaches the goal, and then who scores more.
    """
    here = [cell for cell in cells if cell.arena in (arena, "as trained")]
    scores = [cell for cell in here if cell.measure == SCORE and cell.policy in learned]
    found: list[Reach] = []
    for world in dict.fromkeys(cell.world for cell in scores):
        ours = [cell for cell in scores if cell.world == world]
        largest = max(cell.test_count for cell in ours)
        # An oracle is no transfer.
        ours = [cell for cell in ours if cell.test_count == largest and cell.train_count != str(largest)]
        all_of = [
            Reach(world, *cell[2:5], cell.mean, cell.low, cell.high, _ratio(here, cell)) for cell in ours
        ]
        best: dict[str, Reach] = {}
        for reach in sorted(all_of, key=lambda reach: (not reach.met, -reach.score)):
            best.setdefault(reach.policy, reach)
        found += best.values()
    return found


def _ratio(cells: Sequence[Cell], score: Cell) -> float | None:
    """Collisions over those of the oracle."""
    at = {
        (cell.policy, cell.train_count): cell.mean
        for cell in cells
        if (cell.world, cell.test_count, cell.measure) == (score.world, score.test_count, "collisions")
    }
    ours, theirs = at.get((score.policy, score.train_count)), at.get((ORACLE, ""))
    return None if ours is None or not theirs else ours / theirs


def headline(cells: Sequence[Cell], train: str) -> str:
    """What was measured, in a line."""
    counts = [cell.test_count for cell in cells]
    return f"Trained with {_dashed(train)} agents, tested with {_span(counts)}"


def lead(cells: Sequence[Cell], learned: Sequence[str], oracle: str) -> str:
    """What was measured, in a paragraph."""
    worlds = len({cell.world for cell in cells})
    runs = [cell.runs for cell in cells if cell.policy in learned]
    seeds = f"{max(runs, default=0)} seeds" if max(runs, default=0) != 1 else "one seed"
    text = f"{_count(len(learned), 'architecture')} in {_count(worlds, 'world')}, {seeds} each."
    if any(cell.measure == SCORE for cell in cells):
        text += (
            " A score of 0 is what random actions earn, 1 what the oracle does:"
            f" {oracle}, trained with just as many agents as it is tested with. The goal among the"
            f" most agents: {_percent(GOAL_RETURN)} of the oracle's return at no more than {GOAL_COLLISIONS}"
            " times its collisions."
        )
    return text


def findings(found: Sequence[Reach]) -> list[tuple[str, str]]:
    """The main result of each world: its name, and a sentence or two."""
    texts = []
    for world in dict.fromkeys(reach.world for reach in found):
        best, *rest = [reach for reach in found if reach.world == world]
        text = (
            f"Among {best.test_count:,} agents {best.policy}, trained with {_dashed(best.train_count)}, earns"
            f" {_percent(best.score)} of the oracle's return (95% interval {_percent(best.low)} to"
            f" {_percent(best.high)})"
        )
        if best.collisions is not None:
            text += f" and collides {best.collisions:.2f} times as often"
        text += ". "
        met = [reach for reach in (best, *rest) if reach.met]
        text += _verdict(met, 1 + len(rest))
        if rest:
            least = min(rest, key=lambda reach: reach.score)
            text += f" Least carries over with {least.policy}: {_percent(least.score)}."
        texts.append((world, text))
    return texts


def best_by_return(cells: Sequence[Cell], learned: Sequence[str], arena: str) -> list[tuple[str, str]]:
    """What can be said where no oracle was trained."""
    texts = []
    returns = [
        c for c in cells if c.measure == RETURN and c.policy in learned and c.arena in (arena, "as trained")
    ]
    for world in dict.fromkeys(cell.world for cell in returns):
        ours = [cell for cell in returns if cell.world == world]
        most = max(cell.test_count for cell in ours)
        best = max((cell for cell in ours if cell.test_count == most), key=lambda cell: cell.mean)
        text = (
            f"{best.policy}, trained with {_dashed(best.train_count)}, earns most among {most:,} agents:"
            f" {best.mean:.4g} per agent and episode (95% interval {best.low:.4g} to {best.high:.4g})."
            " No oracle was trained at that number."
        )
        texts.append((world, text))
    return texts


def _verdict(met: Sequence[Reach], of: int) -> str:
    if not met:
        return "The goal is reached by none."
    if len(met) == of:
        return "The goal is reached by all."
    return f"The goal is reached by {_listed([reach.policy for reach in met])}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _dashed(train: str) -> str:
    return train.replace("-", "\u2013")


def _percent(part: float) -> str:
    return f"{100 * part:.0f}%"


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


_WORDS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def _count(n: int, what: str) -> str:
    number = _WORDS[n] if n < len(_WORDS) else str(n)
    return f"{number.capitalize() if what == 'architecture' else number} {what}{'' if n == 1 else 's'}"
