"""Compiled rules and loops kept on disk, under a key that covers every rule they are made of.

numba's own `cache=True` cannot serve: a loop closes over rules, for which its key changes with every
process, and it does not see an edit of a rule in another file. Here the key is a hash of the code of all
rules that can be reached, of the constants that they read and of the types of the arguments.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core import config
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic


def keep_on_disk(compiled: Callable[..., Any], *about: object) -> None:
    """Let a compiled function load and save its machine code, where numba finds a folder to keep it in.

    Args:
        compiled: what numba's decorator returned.
        about: what else the machine code depends on, such as compiler options.
    """
    if not isinstance(compiled, Dispatcher):  # plain Python, under NUMBA_DISABLE_JIT=1
        return
    with contextlib.suppress(RuntimeError):  # no folder for code typed into an interpreter
        compiled._cache = _RuleCache(compiled, about)  # type: ignore[attr-defined]


def _number_functions_anew() -> None:
    """Let the names of compiled functions be this process's own.

    A function's name ends in numba's running number, and the linker takes the first of a name. Counted from
    1 in every process, two functions of one factory kept by two processes would be taken for each other.
    """
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(62))


_number_functions_anew()
if hasattr(os, "register_at_fork"):  # not on Windows, which never forks
    os.register_at_fork(after_in_child=_number_functions_anew)


def names_read(rule: Callable[..., Any]) -> set[str]:
    """Every name in the text of a rule, and of all rules that it may call."""
    found: set[str] = set()
    seen, todo = set(), [rule]
    while todo:
        function = todo.pop()
        function = getattr(function, "py_func", function)
        if function in seen:
            continue
        seen.add(function)
        names = _names(function.__code__)
        found.update(names)
        named = (function.__globals__[name] for name in names if name in function.__globals__)
        held = (cell.cell_contents for cell in function.__closure__ or ())
        todo += _functions([_read_of(value, names) for value in (*named, *held)])
    return found


def _functions(values: Iterable[object]) -> Iterator[Callable[..., Any]]:
    for value in values:
        if isinstance(value, Dispatcher | FunctionType):
            yield value
        elif isinstance(value, tuple | list):
            yield from _functions(value)


class Unknown(Exception):
    """A rule reads something whose changes could not be noticed."""


def fingerprint(*values: object) -> str:
    """A hash of rules and constants that is the same in every process, and changes with any of them.

    Raises:
        Unknown: a value is of a kind that has no such hash.
    """
    digest = hashlib.sha256(np.__version__.encode())
    for text in _describe(values, {}):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


class _RuleCache(FunctionCache):
    """numba's cache with a key of our own, and a file for each key, so that processes cannot mix them up."""

    def __init__(self, rule: Dispatcher, about: tuple[object, ...]) -> None:
        super().__init__(rule.py_func)
        self._rule, self._about = rule, about

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
        rules = fingerprint(self._rule, *self._about)
        switches = [getattr(config, name) for name in ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")]
        about = (*map(_describe_type, sig), codegen.magic_tuple(), switches, rules)
        return hashlib.sha256(repr(about).encode()).hexdigest()

    def _file(self, key: str) -> IndexDataCacheFile:
        return IndexDataCacheFile(self._cache_path, f"{self._py_func.__name__}-{key[:32]}", "")


def _describe_type(kind: Any) -> tuple[Any, ...]:
    """A type of an argument; the text of a NamedTuple tells neither its fields nor which class it is."""
    made_by = getattr(kind, "instance_class", tuple)
    return (repr(kind), _name_of(made_by), *map(_describe_type, getattr(kind, "types", ())))


def _describe(value: object, seen: dict[int, int]) -> Iterator[str]:
    """Texts that differ wherever the machine code made from `value` might."""
    if isinstance(value, Dispatcher):
        yield from _describe_rule(value, seen)
    elif isinstance(value, CodeType):
        yield repr((value.co_code, value.co_names, value.co_varnames, value.co_freevars))
        yield from _describe(value.co_consts, seen)
    elif isinstance(value, tuple | list):
        yield f"{_name_of(type(value))} of {len(value)}"
        for item in value:
            yield from _describe(item, seen)
    elif isinstance(value, type) and (hasattr(value, "_fields") or value.__module__ in ("builtins", "numpy")):
        yield _name_of(value)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape} {value.tobytes().hex()}"
    elif isinstance(value, BuiltinFunctionType | np.ufunc) or _is_library(value):
        yield f"{type(value).__name__} {value.__name__}"  # type: ignore[attr-defined]
    elif isinstance(value, _Intrinsic):  # the libraries that it calls go by their version
        held = [cell.cell_contents for cell in value._defn.__closure__ or ()]
        yield from _describe((value._defn.__code__, held), seen)
    elif value is None or value is ... or isinstance(value, _PLAIN):
        yield f"{type(value).__name__} {value!r}"
    else:  # a Python function too: what numba makes of it may be defined elsewhere
        raise Unknown(f"no fingerprint of {value!r}")


_PLAIN = (bool, int, float, complex, str, bytes, np.generic)


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}{getattr(kind, '_fields', '')}"


def _describe_rule(rule: Any, seen: dict[int, int]) -> Iterator[str]:
    """Its options, its code and all that it reads; once, since rules may call each other."""
    function = rule.py_func
    if id(function) in seen:
        yield f"number {seen[id(function)]}"
        return
    seen[id(function)] = len(seen)
    yield function.__qualname__
    yield repr(sorted(rule.targetoptions.items()))
    if not rule._can_compile:  # compiled for the types it was given, and no others
        yield repr(rule.signatures)
    yield from _describe((function.__code__, function.__defaults__), seen)
    names = _names(function.__code__)
    for name in names:
        if name in function.__globals__:
            yield name
            yield from _describe(_read_of(function.__globals__[name], names), seen)
    for cell in function.__closure__ or ():
        yield from _describe(_read_of(cell.cell_contents, names), seen)


def _is_library(value: object) -> bool:
    libraries = ("math", "cmath", "numpy", "numba")
    return isinstance(value, ModuleType) and value.__name__.partition(".")[0] in libraries


def _read_of(value: object, names: list[str], above: tuple[object, ...] = ()) -> object:
    """What is read of a global: of a module, the attributes named; libraries go by their version."""
    if not isinstance(value, ModuleType) or _is_library(value):
        return value
    if value in above:  # modules that import each other
        return value.__name__
    found = ((name, getattr(value, name)) for name in names if hasattr(value, name))
    return tuple((name, _read_of(inner, names, (*above, value))) for name, inner in found)


def _names(code: CodeType) -> list[str]:
    """Names that a function, or one inside it, may read from its module."""
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return sorted({*code.co_names, *(name for c in inner for name in _names(c))})
