"""Compiled functions over every field of a State: numba cannot loop over arrays of unequal types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from interact_env.engine.rule import inner


def generated(head: str, body: str, names: Iterable[str], **namespace: Any) -> Callable[..., Any]:
    """A rule whose text names fields.

    Args:
        head: "name(arguments)".
        body: the statement, with {...} around what is repeated for each of `names`, put in for FIELD.
        names: fields; none makes an empty function.
        namespace: what the text reads.
    """
    before, _, rest = body.partition("{")
    each, _, behind = rest.partition("}")
    statement = before + " ".join(each.replace("FIELD", name) for name in names) + behind
    exec(f"def {head}: {statement or 'pass'}", namespace)  # noqa: S102  # our own text and field names only
    return inner(namespace[head.partition("(")[0]])
