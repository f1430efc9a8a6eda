"""Text for language models: where it comes from, its split into learned and held out, and its tokens."""

from __future__ import annotations

import io
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from policies import files

if TYPE_CHECKING:  # an extra
    from tokenizers import Tokenizer

HUGGING_FACE = "hf:"
_HELD_OUT = 10  # one part of so many
# What is not the library's own, tests, which repeat what they test, and tables that are copies of each other.
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data"}
_PIECE = 2**20  # characters that are handled at once


class Text(NamedTuple):
    """What is learned from, and what is not."""

    name: str  # where it comes from
    train: str
    held_out: str


class Tokens(NamedTuple):
    """A text as numbers below `vocabulary`, both parts (n,) int32."""

    train: np.ndarray
    held_out: np.ndarray
    vocabulary: int


def text(source: str, most: int) -> Text:
    """The text of a source.

    Args:
        source: a file's path, or "hf:NAME" or "hf:NAME:CONFIGURATION" for a data set of Hugging Face;
            "": the standard library of this Python.
        most: characters; what is beyond them is not used.

    Returns:
        The last tenth of a file or data set is held out, and every tenth file of the standard library.

    Raises:
        ValueError: there is none, or it is no text.
    """
    if not source:
        return standard_library(Path(sysconfig.get_paths()["stdlib"]), most)
    name = f"--data {source}"
    return Text(
        name, *_parts(_hugging_face(source, most) if source.startswith(HUGGING_FACE) else _file(source, most))
    )


def standard_library(root: Path, most: int) -> Text:
    """The *.py of a folder, sorted, without tests and what was installed; every tenth file is held out."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in _modules(root)]
    held_out = texts[_HELD_OUT - 1 :: _HELD_OUT]
    train = [one for k, one in enumerate(texts) if (k + 1) % _HELD_OUT]
    cut = most // _HELD_OUT
    return Text("Python's standard library", "\n".join(train)[: most - cut], "\n".join(held_out)[:cut])


def _modules(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]  # those are not entered
        found += [Path(folder) / name for name in names if name.endswith(".py")]
    return sorted(found)


def _file(source: str, most: int) -> str:
    with files.opened_bytes(Path(source)) as file:
        try:
            with io.TextIOWrapper(file, encoding="utf-8", newline="") as lines:
                found = lines.read(most)
        except UnicodeDecodeError:
            raise ValueError(f"--data {source}: is not text in UTF-8") from None
    if "\0" in found:
        raise ValueError(f"--data {source}: is not text, it holds NUL characters")
    return found


def _hugging_face(source: str, most: int) -> str:
    """The column text of the part train, as far as it is needed."""
    try:
        import datasets
    except ImportError:
        raise ValueError(
            f"--data {source} needs the package datasets: pip install 'interact-env[datasets]'"
        ) from None
    name, _, configuration = source.removeprefix(HUGGING_FACE).partition(":")
    found, size = [], 0
    try:
        for row in datasets.load_dataset(name, configuration or None, split="train", streaming=True):
            found.append(_column(row))
            size += len(found[-1]) + 1
            if size >= most:
                break
    except Exception as error:  # of the network, the data set or its reader: there is no common one
        raise ValueError(f"--data {source}: {error}") from error
    return "\n".join(found)


def _column(row: dict[str, Any]) -> str:
    if not isinstance(row.get("text"), str):
        raise ValueError(f"must have a column text of strings, not {', '.join(row)}")
    return row["text"]


def _parts(whole: str) -> tuple[str, str]:
    """All but the last tenth, up to the end of a line, and the rest."""
    most = len(whole) - len(whole) // _HELD_OUT
    at = whole.rfind("\n", 0, most) + 1 or most
    return whole[:at], whole[at:]


def tokenizer(learned: str, vocabulary: int) -> Tokenizer:
    """Byte pairs merged until there are `vocabulary` tokens, or no pair comes twice; any text can be told.

    Source: Sennrich et al. 2016, arXiv 1508.07909; of bytes: Radford et al. 2019 (GPT-2).

    Raises:
        ValueError: the package tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise ValueError(
            "language needs the package tokenizers: pip install 'interact-env[language]'"
        ) from None
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(_pieces(learned), trainer)
    return made


def encoded(made: Tokenizer, given: str) -> np.ndarray:
    """A text's tokens, (n,) int32."""
    parts = [np.array(made.encode(piece).ids, np.int32) for piece in _pieces(given)]
    return np.concatenate([np.zeros(0, np.int32), *parts])


def _pieces(given: str) -> Iterator[str]:
    return (given[at : at + _PIECE] for at in range(0, len(given), _PIECE))


def tokens(given: Text, vocabulary: int) -> Tokens:
    """A text's tokens, made for what is learned, not for what is held out."""
    made = tokenizer(given.train, vocabulary)
    return Tokens(encoded(made, given.train), encoded(made, given.held_out), made.get_vocab_size())


def bigram(given: Tokens, before: np.ndarray, after: np.ndarray) -> float:
    r"""Perplexity of what follows a token, told from that token alone.

    \(p(b | a) = (n_{ab} + m\, p(b)) / (n_a + m)\) with the counts n of what is learned; the m that suits the
    answers best, so that it is no straw man.

    Source: MacKay and Peto 1995, A hierarchical Dirichlet language model.

    Args:
        given: what is learned.
        before: tokens of any shape.
        after: those that follow them.
    """
    n, train = given.vocabulary, given.train.astype(np.int64)
    alone = (np.bincount(train, minlength=n) + 1) / (len(train) + n)
    pairs, counts = np.unique(train[:-1] * n + train[1:], return_counts=True)
    asked = before.astype(np.int64).ravel() * n + after.ravel()
    at = np.searchsorted(pairs, asked).clip(max=len(pairs) - 1)
    both = np.where(pairs[at] == asked, counts[at], 0)
    first = np.bincount(train[:-1], minlength=n)[before.ravel()]
    prior = alone[after.ravel()]
    logs = [np.log((both + m * prior) / (first + m)).mean() for m in 2.0 ** np.arange(14)]
    return float(np.exp(-max(logs)))
