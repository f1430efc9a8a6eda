"""The charts as files of their own, for a README or a paper; the page saves the same from the browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import vl_convert

_WIDTH, _SCALE = 640, 2.0  # points, pixels a point


def figures(content: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of SVG and PNG files: charts as the page shows them first, heat maps of every world.

    Args:
        content: of the page, see `content.content`.
    """
    for kind, charts in content["charts"].items():
        for chart in charts:
            worlds = content["choices"]["worlds"] if kind == "heat" else [""]
            for world in worlds:
                drawn = _compiled(_whole(kind, chart, world, content), content["themes"]["light"])
                name = _name(kind, world, chart["name"])
                yield f"{name}.svg", vl_convert.vega_to_svg(drawn).encode()
                yield f"{name}.png", vl_convert.vega_to_png(drawn, scale=_SCALE)


def _compiled(spec: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """As Vega has it, with whole symbols in the legend: those with dashed outlines are ragged."""
    drawn: dict[str, Any] = vl_convert.vegalite_to_vega(json.dumps(spec), config=config)
    for legend in drawn.get("legends", ()):
        legend.pop("strokeDash", None)
    return drawn


def _whole(kind: str, chart: Mapping[str, Any], world: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """A chart's specification with its data, and a title that says what is chosen."""
    title = {
        "text": chart["name"],
        "subtitle": _said(kind, world, content),
        "subtitleColor": content["themes"]["light"]["axis"]["labelColor"],
    }
    spec = {**chart["spec"], "width": _WIDTH, "padding": 16, "title": title}
    if world:
        spec["params"] = [{**p, "value": world} if p["name"] == "world" else p for p in spec["params"]]
    text = json.dumps(chart["spec"])
    read = [name for name in content["data"] if json.dumps({"name": name}) in text]
    spec["datasets"] = {name: _rows(content["data"][name]) for name in read}
    del spec["config"]
    return spec


def _said(kind: str, world: str, content: Mapping[str, Any]) -> str:
    """What a chart shows, in words, as the page's script has them."""
    first = {name: values[0] for name, values in content["choices"].items()}
    measure = (
        "scores"
        if kind == "statistics"
        else content["labels"]["reward" if kind == "learning" else first["measures"]]
    )
    trained = f"trained with {first['trains']} agents" if kind != "heat" else ""
    arena = first["arenas"] if kind != "learning" else ""
    return ", ".join(filter(None, (measure, world, trained, arena)))


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `content.columns` made columns of."""
    lists = [
        [values["texts"][k] for k in values["numbers"]] if isinstance(values, dict) else values
        for values in columns.values()
    ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _name(*parts: str) -> str:
    return "-".join(filter(None, (re.sub(r"\W+", "-", part).strip("-") for part in parts)))
