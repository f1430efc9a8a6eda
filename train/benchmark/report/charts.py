"""The report's charts, as Vega-Lite.

A chart reads named data and a few parameters, which the page sets, and which exported figures have at their
first values: `arena`, `train` (the number of agents of training), `measure`, `world`, and `focus`, a policy
to set off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from train.benchmark.report.cells import SCORE
from train.benchmark.report.theme import LIGHT, Series

FLOOR, CEILING = -0.5, 2.0  # what is beyond is drawn there, and told exactly in the tooltip
_PALE = 0.12
_INTERVAL = ("mean", "low", "high")
_FOCUS = "focus == '' || datum.policy == focus"
_HERE = "datum.arena == arena || datum.arena == 'as trained'"
_TRAINED = "datum.train == train || datum.train == ''"


class Choices(NamedTuple):
    """What a reader can choose from; the first of each is shown at first."""

    worlds: Sequence[str]
    arenas: Sequence[str]
    trains: Sequence[str]
    measures: Sequence[str]
    counts: Sequence[int]  # that were tested


def transfer(world: str, choices: Choices, looks: Sequence[Series]) -> dict[str, Any]:
    """A measure against the number of agents that it was tested with."""
    base = (
        _data("cells")
        .transform_filter(alt.FieldEqualPredicate(field="world", equal=world))
        .transform_filter(f"({_HERE}) && ({_TRAINED}) && datum.measure == measure")
        .transform_calculate(
            **{f"y_{name}": f"measure == '{SCORE}' ? {_clamped(name)} : datum.{name}" for name in _INTERVAL}
        )
        .encode(x=_counts("test", choices), color=_color(looks))
    )
    point = base.mark_point().encode(
        y=alt.Y("y_mean:Q"), opacity=_emphasis(), shape=_shape(looks), tooltip=_told()
    )
    return _finished(alt.layer(_trained(choices), _goal(), *_lines(base, looks, "y_"), point), choices)


def heat(policy: str, trains: Sequence[str], choices: Choices) -> dict[str, Any]:
    """Score of one architecture by the numbers of agents that it was trained and tested with."""
    measure = choices.measures[0]
    base = (
        _data("cells", height=34 * len(trains))
        .transform_filter(alt.FieldEqualPredicate(field="policy", equal=policy))
        .transform_filter(f"({_HERE}) && datum.world == world && datum.measure == '{measure}'")
        .encode(
            x=alt.X("test:O").title("agents tested").axis(labelAngle=0, ticks=False, domain=False),
            y=alt.Y("train:N").title("trained with").sort(list(trains)).axis(domain=False, ticks=False),
        )
    )
    scale = alt.Scale(domain=[0, 1], clamp=True) if measure == SCORE else alt.Scale(zero=False)
    box = base.mark_rect(cornerRadius=4, strokeWidth=2).encode(
        color=alt.Color("mean:Q").scale(scale).title(measure).legend(None),
        stroke=alt.value(alt.ExprRef("paper")),
        tooltip=_told(),
    )
    text = base.mark_text(fontSize=12).encode(
        text=alt.Text("mean:Q", format=".2f"), color=_over(0.55 if measure == SCORE else 1e9)
    )
    return _finished((box + text).properties(title=alt.TitleParams(policy)), choices)


def learning(world: str, choices: Choices, looks: Sequence[Series]) -> dict[str, Any]:
    """Reward against agent steps of training; the band spans all seeds."""
    steps = alt.Axis(tickCount=5, labelExpr="datum.value ? format(datum.value, '~s') : '0'")
    base = (
        _data("curves", height=240)
        .transform_filter(alt.FieldEqualPredicate(field="world", equal=world))
        .transform_filter("datum.train == train")
        .encode(x=alt.X("steps:Q").title("agent steps of training").axis(steps))
    )
    return _finished(alt.layer(*_lines(base, _learned(looks))), choices)


def overall(choices: Choices, looks: Sequence[Series]) -> dict[str, Any]:
    """Score over all worlds and runs against the number of agents."""
    base = (
        _data("overall", height=240)
        .transform_filter(f"({_HERE}) && datum.train == train")
        .transform_calculate(**{f"y_{name}": _clamped(name) for name in _INTERVAL})
        .encode(x=_counts("test", choices))
    )
    lines = _lines(base, _learned(looks), "y_")
    return _finished(alt.layer(_trained(choices), _goal(), *lines), choices)


def profiles(choices: Choices, looks: Sequence[Series]) -> dict[str, Any]:
    """The share of runs above each score."""
    base = (
        _data("profiles", height=240)
        .transform_filter(f"({_HERE}) && datum.train == train")
        .encode(x=alt.X("score:Q").title("score"))
    )
    y = alt.Y().axis(format="%").scale(domain=[0, 1])
    return _finished(alt.layer(*_lines(base, _learned(looks), y=y, interpolate="step-after")), choices)


def improvements(choices: Choices, policies: Sequence[str]) -> dict[str, Any]:
    """How probable it is that the policy of a row is better than that of a column."""
    bare = alt.Axis(title=None, domain=False, ticks=False, labelLimit=120)
    slanted = alt.Axis(title=None, domain=False, ticks=False, labelLimit=120, labelAngle=-35)
    base = (
        _data("improvements", height=34 * len(policies))
        .transform_filter(f"({_HERE}) && datum.train == train")
        .encode(
            x=alt.X("other:N", sort=list(policies), axis=slanted),
            y=alt.Y("policy:N", sort=list(policies), axis=bare),
        )
    )
    box = base.mark_rect(cornerRadius=4, strokeWidth=2).encode(
        color=alt.Color("mean:Q").scale(domain=[0, 1]).legend(None),
        stroke=alt.value(alt.ExprRef("paper")),
        tooltip=[
            alt.Tooltip("policy:N", title="better"),
            alt.Tooltip("other:N", title="than"),
            alt.Tooltip("mean:Q", title="probability", format=".2f"),
            alt.Tooltip("interval:N", title="95% interval"),
        ],
    )
    text = base.mark_text(fontSize=12).encode(text=alt.Text("mean:Q", format=".2f"), color=_over(0.55))
    return _finished(box + text, choices)


def _data(name: str, height: int = 300) -> alt.Chart:
    chart = alt.Chart(alt.NamedData(name=name), width="container", height=height)
    return chart.transform_calculate(interval="format(datum.low, '.3f') + ' to ' + format(datum.high, '.3f')")


def _lines(
    base: alt.Chart,
    looks: Sequence[Series],
    prefix: str = "",
    y: alt.Y | None = None,
    interpolate: Any = "linear",
) -> list[alt.Chart]:
    """Bands of intervals, and lines of what is in their middle."""
    mean, low, high = (prefix + name for name in _INTERVAL)
    base = base.encode(color=_color(looks))
    y = (alt.Y().scale(zero=False) if y is None else y).title(None)
    band = base.mark_area(interpolate=interpolate).encode(
        y=alt.Y(f"{low}:Q").title(None), y2=f"{high}:Q", opacity=_emphasis(0.14, 0.03)
    )
    line = base.mark_line(interpolate=interpolate).encode(
        y=y.field(mean).type("quantitative"), opacity=_emphasis(), strokeDash=_dash(looks)
    )
    return [band, line]


def _learned(looks: Sequence[Series]) -> list[Series]:
    """The first ones, so that colours stay the same."""
    return [look for look in looks if look.learned]


def _color(looks: Sequence[Series]) -> alt.Color:
    legend = alt.Legend(orient="right", title=None, offset=44)  # beside the name of the goal
    return alt.Color("policy:N").scale(domain=[look.name for look in looks]).legend(legend).title("policy")


def _dash(looks: Sequence[Series]) -> alt.StrokeDash:
    scale = alt.Scale(domain=[look.name for look in looks], range=[look.dash for look in looks])
    return alt.StrokeDash("policy:N").scale(scale).title("policy")


def _shape(looks: Sequence[Series]) -> alt.Shape:
    scale = alt.Scale(domain=[look.name for look in looks], range=[look.shape for look in looks])
    return alt.Shape("policy:N").scale(scale).title("policy")


def _emphasis(strong: float = 1.0, pale: float = _PALE) -> Any:
    return alt.condition(_FOCUS, alt.value(strong), alt.value(pale))


def _counts(field: str, choices: Choices) -> alt.X:
    span = [min(choices.counts), max(choices.counts)]
    x = alt.X(f"{field}:Q").scale(type="log", base=2, domain=span, nice=False)
    axis = alt.Axis(values=list(choices.counts), format=",d", labelOverlap=True)
    return x.axis(axis).title("agents tested, log scale")


def _told() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("policy:N"),
        alt.Tooltip("train:N", title="trained with"),
        alt.Tooltip("test:Q", title="tested with", format=",d"),
        alt.Tooltip("mean:Q", title="value", format=".3f"),
        alt.Tooltip("interval:N", title="95% interval"),
        alt.Tooltip("runs:Q"),
    ]


def _goal() -> alt.LayerChart:
    """A line across, and its name."""
    base = alt.Chart(alt.NamedData(name="goals")).transform_filter("datum.measure == measure").encode(y="y:Q")
    rule = base.mark_rule(strokeDash=[3, 3], opacity=0.45).encode(color=_ink())
    text = base.mark_text(align="left", dx=6, opacity=0.7)
    return rule + text.encode(x=alt.value("width"), text="name:N", color=_ink())


def _trained(choices: Choices) -> alt.Chart:
    """A band over the numbers of agents of training."""
    base = alt.Chart(alt.NamedData(name="trains")).transform_filter("datum.train == train")
    return base.mark_rect(opacity=0.07, clip=True).encode(
        x=_counts("low", choices), x2="high:Q", color=_ink()
    )


def _clamped(name: str) -> str:
    return f"clamp(datum.{name}, {FLOOR}, {CEILING})"


def _over(value: float) -> Any:
    """A colour that can be read on a heat map, light or dark."""
    return alt.condition(f"datum.mean > {value}", alt.value(alt.ExprRef("paper")), _ink())


def _ink() -> Any:
    return alt.value(alt.ExprRef("ink"))


def _finished(chart: Any, choices: Choices) -> dict[str, Any]:
    first = {
        "world": choices.worlds[0],
        "arena": choices.arenas[0],
        "train": choices.trains[0],
        "measure": choices.measures[0],
        "focus": "",
        "ink": LIGHT.ink,
        "paper": LIGHT.paper,
    }
    params = [alt.param(name=name, value=value) for name, value in first.items()]
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    return dict(chart.add_params(*params).properties(autosize=fit).to_dict())
