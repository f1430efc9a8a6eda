"""The one decorator of a world's rules."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from interact_env.engine.cache import keep_on_disk

F = TypeVar("F", bound=Callable[..., Any])

# error_model="numpy": a division by zero gives inf, as in numpy, instead of an exception inside a
# parallel loop. No fastmath: every compiled variant of a rule must give the same bits.
# _nrt=False: no reference counting of array views, which made a step 4 and a visibility mask 20 times
# slower; in return a rule cannot allocate an array (neither could it on a GPU).
# forceinline: a State is passed as some hundred words, more than most rules compute.
JIT: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False, "forceinline": True}

_INNER = {**JIT, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def rule(function: F) -> F:
    """Compile a world's rule, and keep it on disk for the next process.

    Under `NUMBA_DISABLE_JIT=1` it stays plain Python, for a debugger.
    """
    return _compiled(function, JIT)


def inner(function: F) -> F:
    """A rule that only rules call: without what a call from Python takes, it compiles in half the time."""
    return _compiled(function, _INNER)


def apart(function: F) -> F:
    """As `inner`, but code of its own: a long one is not compiled anew into each of its callers."""
    return _compiled(function, {**_INNER, "forceinline": False})


def _compiled(function: F, options: dict[str, Any]) -> F:
    compiled: F = numba.njit(**options)(function)
    keep_on_disk(compiled, str(options))
    return compiled
