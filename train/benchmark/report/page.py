"""The page: one HTML file that holds its styles, scripts, chart library and data, and asks for no more."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

import vl_convert

SCRIPTS = ("dom.js", "state.js", "charts.js", "table.js", "replay.js", "scene.js", "page.js")


@functools.cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which Altair's `vl_convert` carries."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def page(content: Mapping[str, Any]) -> str:
    """The page that shows `content`."""
    here = files(__package__)
    style = (here / "page.css").read_text()
    scripts = [library(), "\n".join((here / name).read_text() for name in SCRIPTS)]
    if any("</script" in script.lower() or "<!--" in script for script in scripts):
        raise AssertionError("a script would end the element it stands in")
    return Template((here / "page.html").read_text()).substitute(
        policy=_policy(scripts, style),
        style=style,
        library=scripts[0],
        script=scripts[1],
        content=embedded(content),
    )


def embedded(content: Mapping[str, Any]) -> str:
    """JSON that nothing in it can break out of: there is no < in it. Numbers that are none become null."""
    text = json.dumps(_finite(content), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _policy(scripts: list[str], style: str) -> str:
    """A content security policy: these scripts and this style, and no request."""
    return (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src {_hash(style)};"
        " img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
