"""Text to learn from, as numbers: byte-level byte pairs of any text, and what is held out of it."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from policies import files

HUB = "hf:"  # before the name of a data set on the Hugging Face hub
_LARGEST = 2**30  # bytes of a file
_HELD_OUT = 0.05  # of the text, its end
_NOT_PROSE = {"site-packages", "test", "tests", "idlelib", "lib2to3"}  # folders of the standard library


class Corpus(NamedTuple):
    """Tokens to learn from, and those that come after them in the text."""

    train: Tensor  # int64
    held_out: Tensor  # int64
    vocabulary: int


def read(path: Path) -> str:
    """A text file, in UTF-8.

    Raises:
        LoadError: there is no such file.
        ValueError: it is not text.
    """
    with files.opened_bytes(path) as file:
        given = file.read(_LARGEST)
    try:
        text = given.decode()
    except UnicodeDecodeError:
        raise ValueError(f"--data {path}: is not text") from None
    if "\0" in text:
        raise ValueError(f"--data {path}: is not text")
    return text


def text(source: str, most: int) -> str:
    """A text by its name.

    Args:
        source: a file; hf:NAME, a data set of the Hugging Face hub with a column text; "": the modules of
            Python's own standard library.
        most: characters that are wanted; from a file or data set, the first.

    Raises:
        LoadError: there is no such file.
        ValueError: it is not text, or the hub has no such data set.
    """
    if source.startswith(HUB):
        return _of_hub(source.removeprefix(HUB), most)
    return (read(Path(source)) if source else _standard_library())[:most]


def _standard_library() -> str:
    """In an order that is the same on every machine, but mixed: the end is held out."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    kept = [name for name in names if not _NOT_PROSE & set(name.split("/"))]
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0)).tolist()
    return "\n".join((folder / kept[k]).read_text(errors="replace") for k in order)


def _of_hub(name: str, most: int) -> str:
    try:
        import datasets
    except ImportError:
        raise ValueError(f"--data {HUB}{name} needs: pip install 'interact-env[datasets]'") from None
    try:
        rows = datasets.load_dataset(name, split="train", streaming=True)
        parts: list[str] = []
        for row in rows:
            parts.append(row["text"])
            most -= len(parts[-1]) + 1
            if most <= 0:
                break
    except KeyError:
        raise ValueError(f"--data {HUB}{name}: has no column text") from None
    except Exception as error:  # of the network, the hub or the data set's files, each of a kind of its own
        first = str(error).strip().splitlines()
        raise ValueError(f"--data {HUB}{name}: {first[0] if first else type(error).__name__}") from error
    return "\n".join(parts)


def corpus(text: str, vocabulary: int, least: int) -> Corpus:
    """Cut a text in two and encode both parts by byte pairs that the first has taught.

    Args:
        text: to be learned.
        vocabulary: tokens that there are at the most, all 256 bytes among them.
        least: tokens that the held-out part must have.

    Raises:
        ValueError: the text is too small; the tokenizers package is not installed.
    """
    try:
        from tokenizers import ByteLevelBPETokenizer
    except ImportError:
        raise ValueError("language models need: pip install 'interact-env[language]'") from None
    cut = int(len(text) * (1 - _HELD_OUT))
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        _lines(text[:cut]), vocab_size=vocabulary, min_frequency=2, show_progress=False
    )
    train, held_out = (
        torch.tensor([t for one in tokenizer.encode_batch(_lines(part)) for t in one.ids], dtype=torch.int64)
        for part in (text[:cut], text[cut:])
    )
    if len(held_out) < least:
        size = f"{len(text):,} characters ({len(train) + len(held_out):,} tokens)"
        raise ValueError(
            f"the text is too small: the last {_HELD_OUT:.0%} of its {size} are held out and must have "
            f"{least:,} tokens, not {len(held_out):,}"
        )
    return Corpus(train, held_out, tokenizer.get_vocab_size())


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
