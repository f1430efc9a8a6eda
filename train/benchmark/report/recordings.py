"""Which episodes the report replays, and their recording."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import interact_env
from train import checkpoint, evaluate
from train.benchmark.plan import Run
from train.benchmark.report import replay
from train.benchmark.results import Evaluated, Trained
from train.benchmark.work import RUNS

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
    """A policy to show, and a run of it; of a scripted one any of its world, which tells the parameters."""

    policy: str
    run: Trained
    learned: bool


def recordings(
    folder: Path,
    trained: Sequence[Trained],
    evaluated: Sequence[Evaluated],
    report: Report = lambda _: None,
) -> list[Recording]:
    """One episode of each policy at some numbers of agents, in worlds as dense as that of training.

    Args:
        folder: of the benchmark; a run that is not there, or is damaged, gives a reason instead of a record.
        trained: the runs, see `own`; the first seed of each policy is shown, at the usual training count.
        evaluated: tells the numbers of agents, and the scripted policies.
        report: called with what is being recorded.
    """
    subjects = _subjects(trained, evaluated)
    shown = [(subject, n) for subject in subjects for n in _counts(subject.run.world, evaluated)]
    made = []
    for subject, n in shown:
        report(f"{subject.policy}, {subject.run.world}, {n} agents")
        made.append(_played(folder, subject, n))
    return _small([one for one, _ in made], [episode for _, episode in made])


def _small(found: Sequence[Recording], episodes: Sequence[replay.Episode | None]) -> list[Recording]:
    """Recordings with their records; where not even the scenes have room, those of most agents go first."""
    records = iter(replay.fitted([episode for episode in episodes if episode is not None], ROOM))
    made = [
        one if episode is None else one._replace(record=next(records))
        for one, episode in zip(found, episodes, strict=True)
    ]
    while sum(replay.size(one.record) for one in made if one.record) > ROOM:
        most = max(one.n_agents for one in made if one.record)
        why = f"{most} agents would make the page too large"
        made = [
            one._replace(record=None, reason=why) if one.record and one.n_agents == most else one
            for one in made
        ]
    return made


def run_folder(folder: Path, run: Trained) -> Path:
    """Where a benchmark keeps a run."""
    return folder / RUNS / Run(*run[:5]).name


def _subjects(trained: Sequence[Trained], evaluated: Sequence[Evaluated]) -> list[_Subject]:
    """Every policy of every world once, learned ones first, in the order of the results."""
    learned, scripted = [], []
    for world in dict.fromkeys(run.world for run in trained):
        here = [run for run in trained if run.world == world]
        policies: dict[str, set[str]] = {}
        for run in here:
            policies.setdefault(run.train_count, set()).add(run.policy)
        usual = max(policies, key=lambda count: (len(policies[count]), count.isdecimal()))
        here.sort(key=lambda run: (run.train_count != usual, run.seed))
        for policy in dict.fromkeys(run.policy for run in trained):
            learned += [_Subject(policy, run, True) for run in here if run.policy == policy][:1]
        names = [line.policy for line in evaluated if line.world == world and not line.train_count]
        scripted += [_Subject(policy, here[0], False) for policy in dict.fromkeys(names)]
    return learned + scripted


def _counts(world: str, evaluated: Sequence[Evaluated]) -> list[int]:
    tested = {line.test_count for line in evaluated if line.world == world and line.test_count <= max(WANTED)}
    return sorted({min(tested, key=lambda n: (abs(n - wanted), n)) for wanted in WANTED}) if tested else []


def _played(folder: Path, subject: _Subject, n: int) -> tuple[Recording, replay.Episode | None]:
    """An episode, and what it is of; None: it could not be played."""
    run = subject.run
    train_count = run.train_count if subject.learned else ""
    made = Recording(run.world, subject.policy, train_count, run.seed, n, "", None)
    where = run_folder(folder, run)
    try:
        saved = checkpoint.load(where)
        arena = next(iter(evaluate.arenas(saved.env, saved.parameters).values()))
        batch = interact_env.make_batch(saved.env, 1, **{**arena, "n_agents": n})
        policy = saved.policy() if subject.learned else None
        act = evaluate.scripted(subject.policy) if policy is None else evaluate.learned(policy)
        played = replay.play(batch, act, policy, _SEED)
    # A world that is not registered here, a run that was removed, a policy that fails at this number.
    except (ValueError, OSError, ArithmeticError, RuntimeError) as error:
        return made._replace(reason=str(error).replace(f"{folder}/", "")), None
    command = ["interact-env", "watch", str(folder.name / where.relative_to(folder)), "--n-agents", str(n)]
    command += ["--seed", str(_SEED), *(["--policy", subject.policy] if policy is None else [])]
    return made._replace(command=shlex.join(command)), played
