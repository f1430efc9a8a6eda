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
JIT: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}


def rule(function: F) -> F:
    """Compile a world's rule, and keep it on disk for the next process.

    Under `NUMBA_DISABLE_JIT=1` it stays plain Python, for a debugger.
    """
    compiled: F = numba.njit(**JIT)(function)
    keep_on_disk(compiled, str(JIT))
    return compiled
