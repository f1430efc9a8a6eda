"""Files written so that at any moment they are the old ones or the new ones, and no link is followed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from policies import LoadError, files

_LARGEST = 2**34  # bytes of a file


def write(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, and let it reach the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)


def replace(path: Path, data: bytes) -> None:
    """Write a file so that at any moment it is the old one or the new one."""
    aside = path.with_name(f".{path.name}")
    aside.unlink(missing_ok=True)  # left by a process that was killed, or a link to lead us astray
    try:
        write(aside, data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    flush(path.parent)


def flush(folder: Path) -> None:
    """Let the names of a folder's files reach the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def measured(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, as a manifest holds them.

    Raises:
        LoadError: it is none, or too large.
    """
    with files.opened_bytes(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _LARGEST:
            raise LoadError(f"{path}: is larger than {_LARGEST} bytes")
        return {"size": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
