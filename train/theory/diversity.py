r"""Whether data tell all entities apart, so that what is learned from them holds for others.

An entity of kind m that meets n_1 of the first kind, n_2 of the second, ... tells the sum of
\(n_\nu f(m, \nu)\). All that entities of kind m have met are the rows of a matrix \(S_m\). If its rank is the
number of kinds, every f(m, .) follows; otherwise some kinds are never met, or only in fixed proportions, and
nothing can tell which of them does what.

Source: Ustaomeroglu and Qu 2025, arXiv 2506.06179, Assumption 4.2 (training data versatility), as third-party
notes tell of it; the diagnosis by null vectors and the kinds of a world's agents are ours.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import interact_env
from interact_env.engine import WorldBatch
from policies import files

COLUMNS = ("set", "entity")
MOST_KINDS = 3000  # a matrix of them squared is held
_LARGEST = 2**30  # bytes of a file
_ZERO = 1e-9  # of the largest singular value, squared: what is smaller is none
_BINS, _HALVES = 6, 2  # of a position that is no cell, and of other numbers
_WORLDS, _STEPS, _SEED = 64, 64, 0
Met = dict[Hashable, list[Counter[Hashable]]]  # by kind: for each entity of it, how many of each it has met


class Diagnosis(NamedTuple):
    """What is known of one kind of entity."""

    kind: str
    samples: int
    rank: int
    kinds: int  # that there are: what the rank should be
    smallest: float  # singular value of S_m over the root of the number of samples
    confused: tuple[str, ...]  # kinds that cannot be told apart, or one that is never met

    @property
    def versatile(self) -> bool:
        """Whether what entities of this kind do follows from the data."""
        return self.rank == self.kinds


def diagnose(met: Met) -> list[Diagnosis]:
    """One for each kind, the worst first.

    Raises:
        ValueError: there are no data, or too many kinds.
    """
    kinds = sorted({kind for rows in met.values() for row in rows for kind in row}, key=str)
    if len(kinds) < 2:
        raise ValueError("the data must hold entities of two kinds at least that meet others")
    if len(kinds) > MOST_KINDS:
        raise ValueError(
            f"the data hold {len(kinds)} kinds of entities; at most {MOST_KINDS} can be told apart"
        )
    number = {kind: k for k, kind in enumerate(kinds)}
    found = [
        _diagnosis(str(kind), _counts(rows, number), [str(kind) for kind in kinds])
        for kind, rows in met.items()
    ]
    return sorted(found, key=lambda one: (one.rank, one.smallest))


def _counts(rows: Sequence[Counter[Hashable]], number: dict[Hashable, int]) -> np.ndarray:
    """S_m, (samples, kinds)."""
    counts = np.zeros((len(rows), len(number)))
    for k, row in enumerate(rows):
        for kind, n in row.items():
            counts[k, number[kind]] = n
    return counts


def _diagnosis(kind: str, counts: np.ndarray, names: Sequence[str]) -> Diagnosis:
    squares, vectors = np.linalg.eigh(counts.T @ counts / len(counts))
    none = squares <= _ZERO * max(squares[-1], _ZERO)
    rank = int((~none).sum())
    smallest = float(np.sqrt(max(squares[0], 0.0)))
    confused = _confused(vectors[:, none], counts) if none.any() else ()
    return Diagnosis(kind, len(counts), rank, len(names), smallest, tuple(names[k] for k in confused))


def _confused(null: np.ndarray, counts: np.ndarray) -> tuple[int, ...]:
    """Kinds that nothing tells apart: two of the same counts; or one never met; or the most mixed."""
    seen = np.flatnonzero(counts.any(axis=0))
    _, first, same = np.unique(counts[:, seen], axis=1, return_index=True, return_inverse=True)
    for k, one in enumerate(first[same.ravel()]):
        if one != k:
            return int(seen[one]), int(seen[k])
    if len(seen) < counts.shape[1]:
        return (int(np.setdiff1d(np.arange(counts.shape[1]), seen)[0]),)
    weight = np.linalg.norm(null, axis=1)
    first_two = np.argsort(-weight)[:2]
    return tuple(int(k) for k in sorted(first_two))


def of_sets(sets: Iterable[Sequence[Hashable]]) -> Met:
    """Everybody meets the others of the set."""
    met: Met = defaultdict(list)
    for entities in sets:
        all_of = Counter(entities)
        for kind in entities:
            others = all_of.copy()
            others[kind] -= 1
            met[kind].append(+others)
    return met


def of_file(path: Path) -> Met:
    """Of a CSV file with the columns set (any name; rows of one name belong together) and entity (its kind).

    Raises:
        LoadError: there is no such file.
        ValueError: it is not text, has other columns, or holds no set of two.
    """
    with files.opened_bytes(path) as file:
        given = file.read(_LARGEST)
    try:
        text = given.decode()
    except UnicodeDecodeError:
        raise ValueError(f"--data {path}: is not text") from None
    rows = csv.DictReader(io.StringIO(text))
    if not set(COLUMNS) <= set(rows.fieldnames or ()):
        raise ValueError(f"--data {path}: must have the columns {', '.join(COLUMNS)}, not {rows.fieldnames}")
    sets: dict[str, list[Hashable]] = defaultdict(list)
    for row in rows:
        sets[row["set"]].append(row["entity"])
    together = [entities for entities in sets.values() if len(entities) > 1]
    if not together:
        raise ValueError(f"--data {path}: is too small, no set has two entities")
    return of_sets(together)


def of_world(env: str) -> Met:
    """Of agents of random actions, as they see each other in a registered world.

    An agent's kind is its categories; another's also its displacement, in cells or in six parts of the
    range, and whether its other numbers are above their medians.
    """
    batch = interact_env.make_batch(env, _WORLDS, seed=_SEED)
    batch.reset()
    seen = []
    for _ in range(_STEPS):
        seen.append(_seen(batch))
        batch.step(batch.scripted("random"))
        batch.reset(batch.over)
    own, others = (np.concatenate([one[k] for one in seen]) for k in range(2))
    who = np.concatenate([one[2] + sum(len(s[0]) for s in seen[:t]) for t, one in enumerate(seen)])
    categories = [k for k, column in enumerate(batch.columns) if column.kind == "category"]
    binned = np.stack([_binned(others[:, k], column.kind) for k, column in enumerate(batch.columns)], axis=1)
    names = [column.name for column in batch.columns]
    met: Met = defaultdict(list)
    rows = [Counter[Hashable]() for _ in own]
    for viewer, parts in zip(who.tolist(), binned.tolist(), strict=True):
        rows[viewer][" ".join(f"{name}={part:g}" for name, part in zip(names, parts, strict=True))] += 1
    for mine, row in zip(own[:, categories].tolist(), rows, strict=True):
        kind = " ".join(f"{names[k]}={part:g}" for k, part in zip(categories, mine, strict=True)) or "agent"
        met[kind].append(row)
    return met


def _seen(batch: WorldBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of viewers (V, F), of those they see (P, F), with displacements, and each one's viewer (P,)."""
    rows, there = np.asarray(batch.rows, float), np.asarray(batch.alive)
    sees = there[:, :, None] & there[:, None, :] & ~np.eye(there.shape[1], dtype=bool)
    visible = batch.visible()
    if visible is not None:
        sees &= np.asarray(visible)
    worlds, viewers, others = np.nonzero(sees)
    one, of = np.unique(np.stack([worlds, viewers]), axis=1, return_inverse=True)
    found = rows[worlds, others]
    for k, column in enumerate(batch.columns):
        if column.kind == "position":
            apart = found[:, k] - rows[worlds, viewers, k]
            found[:, k] = (apart + column.size / 2) % column.size - column.size / 2 if column.size else apart
    return rows[one[0], one[1]], found, of.ravel()


def _binned(values: np.ndarray, kind: str) -> np.ndarray:
    if kind == "category" or (kind == "position" and (values == np.round(values)).all()):
        return values
    n = _BINS if kind == "position" else _HALVES
    return np.searchsorted(np.quantile(values, np.arange(1, n) / n), values)
