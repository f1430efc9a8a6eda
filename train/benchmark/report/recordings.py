"""Which episodes the report replays, and their recording."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import interact_env
from train import checkpoint, evaluate
from train.benchmark.report import replay
from train.benchmark.results import Evaluated, Trained
from train.checkpoint import Checkpoint

ROOM = 2_600_000  # characters of all recordings together
WANTED = (8, 32, 128)  # agents; the nearest that were tested are shown
_SEED = 0  # of the episodes
Report = Callable[[str], None]


class Recording(NamedTuple):
    """An episode of a policy, or why there is none."""

    world: str
    policy: str
    train_count: str  # "" of a scripted policy
    run_seed: int
    n_agents: int
    command: str  # that shows the same in a window
    record: replay.Record | None
    reason: str = ""


class _Subject(NamedTuple):
    """A policy to show."""

    world: str
    policy: str
    train_count: str
    seed: int


def recordings(
    folder: Path, trained: Sequence[Trained], evaluated: Sequence[Evaluated], report: Report = lambda _: None
) -> list[Recording]:
    """One episode of each policy at some numbers of agents, in worlds as dense as that of training.

    Args:
        folder: of the benchmark; a run that is not there, or is damaged, gives a reason instead of a record.
        trained: the runs; the first seed of each policy is shown, of the training count that most have.
        evaluated: tells the numbers of agents, and the scripted policies.
        report: called with what is being recorded.
    """
    shown = [
        (subject, n) for subject in _subjects(trained, evaluated) for n in _counts(subject.world, evaluated)
    ]
    made = []
    for subject, n in shown:
        report(f"{subject.policy}, {subject.world}, {n} agents")
        made.append(_played(folder, subject, n, trained))
    episodes = [episode for _, episode in made if episode is not None]
    records = iter(replay.fitted(episodes, ROOM))
    return [one if episode is None else one._replace(record=next(records)) for one, episode in made]


def run_folder(folder: Path, world: str, policy: str, train_count: str, seed: int) -> Path:
    """Where a benchmark keeps a run."""
    return folder / "runs" / world / policy / train_count / str(seed)


def _subjects(trained: Sequence[Trained], evaluated: Sequence[Evaluated]) -> list[_Subject]:
    """Every policy of every world once, in the order of the results."""
    good = [run for run in trained if not run.error]
    found: dict[tuple[str, str], _Subject] = {}
    for world in dict.fromkeys(run.world for run in good):
        here = [run for run in good if run.world == world]
        policies: dict[str, set[str]] = {}
        for run in here:
            policies.setdefault(run.train_count, set()).add(run.policy)
        usual = max(policies, key=lambda count: (len(policies[count]), count.isdecimal()))
        for run in sorted(here, key=lambda run: (run.train_count != usual, run.seed)):
            found.setdefault((world, run.policy), _Subject(world, run.policy, run.train_count, run.seed))
        for line in evaluated:
            if line.world == world and not line.train_count:
                found.setdefault((world, line.policy), _Subject(world, line.policy, "", 0))
    order = {key: k for k, key in enumerate(dict.fromkeys((run.world, run.policy) for run in good))}
    return sorted(found.values(), key=lambda s: order.get((s.world, s.policy), len(order)))


def _counts(world: str, evaluated: Sequence[Evaluated]) -> list[int]:
    tested = {line.test_count for line in evaluated if line.world == world and line.test_count <= max(WANTED)}
    return sorted({min(tested, key=lambda n: (abs(n - wanted), n)) for wanted in WANTED}) if tested else []


def _played(
    folder: Path, subject: _Subject, n: int, trained: Sequence[Trained]
) -> tuple[Recording, replay.Episode | None]:
    """An episode, and what it is of; None: it could not be played."""
    made = Recording(*subject, n, "", None)
    try:
        saved = _saved(folder, subject, trained)
        arena = next(iter(evaluate.arenas(saved.env, saved.parameters).values()))
        batch = interact_env.make_batch(saved.env, 1, **{**arena, "n_agents": n})
        policy = saved.policy() if subject.train_count else None
    except (ValueError, OSError) as error:  # a world that is not registered here, a run that was removed
        return made._replace(reason=str(error).replace(f"{folder}/", "")), None
    act = evaluate.scripted(subject.policy) if policy is None else evaluate.learned(policy)
    command = ["interact-env", "watch", str(folder.name / _run(saved, folder)), "--n-agents", str(n)]
    command += ["--seed", str(_SEED), *(["--policy", subject.policy] if policy is None else [])]
    return made._replace(command=shlex.join(command)), replay.play(batch, act, policy, _SEED)


def _saved(folder: Path, subject: _Subject, trained: Sequence[Trained]) -> Checkpoint:
    """The subject's run; of a scripted policy any of its world, which tells the world's parameters."""
    if subject.train_count:
        return checkpoint.load(run_folder(folder, *subject))
    runs = [run for run in trained if run.world == subject.world and not run.error]
    return checkpoint.load(run_folder(folder, *_Subject(*_key(runs[0]))))


def _key(run: Trained) -> tuple[str, str, str, int]:
    return run.world, run.policy, run.train_count, run.seed


def _run(saved: Checkpoint, folder: Path) -> Path:
    return saved.path.parent.relative_to(folder)
