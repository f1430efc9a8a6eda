"""Compiled rules and loops kept on disk, under a key that covers every rule they are made of.

numba's own `cache=True` cannot serve: a loop closes over rules, for which its key changes with every
process, and it does not see an edit of a rule in another file. Here the key is a hash of the code of all
rules that can be reached, of the constants that they read and of the types of the arguments.
"""

from __future__ import annotations

import contextlib
import hashlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher


def keep_on_disk(compiled: Callable[..., Any], *about: object) -> None:
    """Let a compiled function load and save its machine code, where numba finds a folder to keep it in.

    Args:
        compiled: what numba's decorator returned.
        about: what else the machine code depends on, such as compiler options.
    """
    if not isinstance(compiled, Dispatcher):  # plain Python, under NUMBA_DISABLE_JIT=1
        return
    with contextlib.suppress(RuntimeError):  # no folder for code typed into an interpreter
        compiled._cache = _RuleCache(compiled.py_func, about)  # type: ignore[attr-defined]


class Unknown(Exception):
    """A rule reads something whose changes could not be noticed."""


def fingerprint(*values: object) -> str:
    """A hash of rules and constants that is the same in every process, and changes with any of them.

    Raises:
        Unknown: a value is of a kind that has no such hash.
    """
    digest = hashlib.sha256(np.__version__.encode())
    for text in _describe(values, set()):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


class _RuleCache(FunctionCache):
    """numba's cache with a key of our own, and a file for each key, so that processes cannot mix them up."""

    def __init__(self, function: Callable[..., Any], about: tuple[object, ...]) -> None:
        super().__init__(function)
        self._about = about

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            key = self._index_key(sig, target_context.codegen())
            data = self._file(key).load(key)
            return None if data is None else self._impl.rebuild(target_context, data)
        except Exception:  # a damaged file, one of a class that is gone, no safe key: compile anew
            return None

    def _save_overload(self, sig: Any, data: Any) -> None:
        if not self._impl.check_cachable(data):
            return
        with contextlib.suppress(OSError, Unknown):  # a full or read-only disk costs time, not the run
            self._impl.locator.ensure_cache_path()
            key = self._index_key(sig, data.codegen)
            file = self._file(key)
            file.flush()  # or a damaged index would be read first
            file.save(key, self._impl.reduce(data))

    def _index_key(self, sig: Any, codegen: Any) -> str:
        # At the first call, not before: rules may read names that come after them in their file.
        rules = fingerprint(self._py_func, *self._about)
        # A type's text does not tell the names of a NamedTuple's fields, by which rules find them.
        argument_types = [(repr(t), getattr(t, "fields", ())) for t in sig]
        return hashlib.sha256(repr((argument_types, codegen.magic_tuple(), rules)).encode()).hexdigest()

    def _file(self, key: str) -> IndexDataCacheFile:
        return IndexDataCacheFile(self._cache_path, f"{self._py_func.__name__}-{key[:32]}", "")


def _describe(value: object, seen: set[int]) -> Iterator[str]:
    """Texts that differ wherever the machine code made from `value` might."""
    if isinstance(value, Dispatcher):
        value = value.py_func
    if isinstance(value, types.FunctionType):
        yield from _describe_function(value, seen)
    elif isinstance(value, types.CodeType):
        yield repr((value.co_code, value.co_names, value.co_varnames, value.co_freevars))
        yield from _describe(value.co_consts, seen)
    elif isinstance(value, tuple | list):
        yield f"{type(value).__name__} of {len(value)}"
        for item in value:
            yield from _describe(item, seen)
    elif isinstance(value, type) and (hasattr(value, "_fields") or value.__module__ in ("builtins", "numpy")):
        yield f"{value.__module__}.{value.__qualname__}{getattr(value, '_fields', '')}"
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape} {value.tobytes().hex()}"
    elif isinstance(value, types.ModuleType | types.BuiltinFunctionType | np.ufunc):
        yield f"{type(value).__name__} {value.__name__}"
    elif (
        value is None
        or value is ...
        or isinstance(value, bool | int | float | complex | str | bytes | np.generic)
    ):
        yield f"{type(value).__name__} {value!r}"
    else:
        raise Unknown(f"no fingerprint of {value!r}")


def _describe_function(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    """Its code, and all that it reads outside of itself; once, since rules may call each other."""
    yield function.__qualname__
    if id(function) in seen:
        return
    seen.add(id(function))
    yield from _describe((function.__code__, function.__defaults__), seen)
    names = _names(function.__code__)
    for name in names:
        if name in function.__globals__:
            yield name
            yield from _describe(_read_of(function.__globals__[name], names), seen)
    for cell in function.__closure__ or ():
        yield from _describe(_read_of(cell.cell_contents, names), seen)


def _read_of(value: object, names: list[str]) -> object:
    """What is read of a global: of a module, the attributes named; libraries go by their version."""
    if not isinstance(value, types.ModuleType) or value.__name__ in ("math", "cmath", "numpy", "numba"):
        return value
    return tuple((name, getattr(value, name)) for name in names if hasattr(value, name))


def _names(code: types.CodeType) -> list[str]:
    """Names that a function, or one inside it, may read from its module."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return sorted({*code.co_names, *(name for c in inner for name in _names(c))})
