"""A new world and its test, copied from the template."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib.resources import files
from pathlib import Path

import interact_env

TEMPLATE, NAME = "train.template", "my_world"


def write(name: str, folder: Path) -> list[Path]:
    """Write NAME.py and test_NAME.py.

    Args:
        name: of the world, a Python name in small letters; its first version is NAME_v0.
        folder: where to; made if it is not there.

    Returns:
        The two files.

    Raises:
        ValueError: a name that cannot be a module's.
        FileExistsError: one of the files is there; nothing is written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or re.search(r"_v\d+$", name):
        raise ValueError(
            f"name must be small letters, digits and _, as in 'my_world', without a version, not {name!r}"
        )
    if name == "conftest" or any(known.startswith(f"{name}_v") for known in interact_env.registered()):
        raise ValueError(f"name {name!r} has a meaning already: choose another")
    if importlib.util.find_spec(name) is not None and not (folder / f"{name}.py").exists():
        raise ValueError(f"name {name!r} is that of a module that is there already: choose another")
    texts = {
        folder / source.replace(NAME, name): (files(TEMPLATE) / source).read_text().replace(NAME, name)
        for source in (f"{NAME}.py", f"test_{NAME}.py")
    }
    for path in texts:
        if path.exists():
            raise FileExistsError(f"{path} is there already: choose another name or folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text)
    return list(texts)
