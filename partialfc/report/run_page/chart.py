"""What a chart is: numbers with names, ready for the page's script, and the same as words and as a table."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from partialfc.report.page import Html, plain, table
from partialfc.report.run_page.quantiles import Floats
from partialfc.report.run_page.thinning import kept_points
from partialfc.report.run_page.view import View

Look = Literal["line", "steps", "points", "whiskers"]
ROWS = 12  # of the table below a chart
DIGITS = 6  # of a number on the page


@dataclass(frozen=True)
class Axis:
    """label: what it shows, with the unit. log: whether it is logarithmic. percent: whether it shows shares.

    least, most: its ends, where they are not those of the numbers. either: whether a reader may choose `log`.
    """

    label: str
    log: bool = False
    percent: bool = False
    least: float | None = None
    most: float | None = None
    either: bool = False


@dataclass(frozen=True, eq=False)
class Series:
    """One line: x [n], rising, and y [n]; low, high [n]: the ends of a band around it, or of its whiskers.

    colour: its number, the same for all that belongs together on a page. dash: 0 for a line without gaps, a
    higher number to tell lines of one colour. shade: whether the ground below it is filled. run, kind: on a
    page of several runs whose it is, by its place, and which of that run's lines.
    """

    name: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    look: Look = "line"
    colour: int = 0
    dash: int = 0
    shade: bool = False
    run: int | None = None
    kind: str = ""

    def thinned(self) -> "Series":
        """With as many points as a page takes; its least and greatest values are among them."""
        kept = kept_points(self.y)
        return replace(
            self,
            x=self.x[kept],
            y=self.y[kept],
            low=None if self.low is None else self.low[kept],
            high=None if self.high is None else self.high[kept],
        )


@dataclass(frozen=True)
class Mark:
    """A line across a chart at a place of its x axis, with a name."""

    at: float
    name: str


@dataclass(frozen=True, eq=False)
class Chart:
    """key: a name of letters, digits and `-`, once on a page. note: a sentence below the title.

    view: what of the y axis is shown at first. points: of a map, of each series what its points show. run:
    the place of the run that it is about alone, on a page of several.
    """

    key: str
    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    marks: Sequence[Mark] = ()
    note: str = ""
    view: View | None = None
    points: Sequence[Sequence[Mapping[str, str | int]]] = ()
    run: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no number to draw."""
        return not any(np.isfinite(each.y).any() for each in self.series)


def chart(shown: Chart) -> Html:
    """The chart with its words, its table, and its numbers for the script; without the script, the table."""
    series = [each.thinned() for each in shown.series if np.isfinite(each.y).any()]
    said = " ".join(each for each in (shown.note, _out_of_view(shown)) if each)
    note = f"<p>{plain(said)}</p>" if said else ""
    words = plain(spoken(shown))
    whose = "" if shown.run is None else f' data-run="{shown.run}"'
    return Html(
        f'<figure class="chart" id="chart-{shown.key}"{whose}><figcaption><h3>{plain(shown.title)}</h3>{note}'
        f'</figcaption><div class="plot" role="img" tabindex="0" aria-label="{words}"></div>'
        f'<div class="keys"></div><p class="reading"></p>'
        f"<details><summary>Numbers</summary>{_numbers(shown, series)}</details>"
        f'<script type="application/json">{as_json(_values(shown, series))}</script></figure>'
    )


def charts(several: Sequence[Chart]) -> Html:
    """Charts side by side where there is room; those without a number are left out."""
    drawn = [chart(each) for each in several if not each.is_empty]
    return Html(f'<div class="charts{" alone" if len(drawn) == 1 else ""}">{"".join(drawn)}</div>')


def _out_of_view(shown: Chart) -> str:
    """Which values the axis does not reach at first."""
    if shown.view is None:
        return ""
    low, high = shown.view
    told = []
    for each in shown.series:
        out = each.y[np.isfinite(each.y) & ((each.y < low) | (each.y > high))]
        ends = dict.fromkeys(_told(value, shown.y) for value in (out.min(), out.max())) if len(out) else {}
        told += [f"{each.name} ({' to '.join(ends)})"] if ends else []
    return f"Outside the axis: {', '.join(told)}." if told else ""


def spoken(shown: Chart) -> str:
    """The chart in words, for those who do not see it."""
    told = [_spoken(each, shown) for each in shown.series if np.isfinite(each.y).any()]
    more = f"; and {len(told) - 6} more lines" if len(told) > 6 else ""
    return f"{shown.title}. {shown.y.label} by {shown.x.label}: {'; '.join(told[:6])}{more}."


def _spoken(series: Series, shown: Chart) -> str:
    there = np.flatnonzero(np.isfinite(series.y))
    x, y = series.x[there], series.y[there]
    ends = f"{_told(y[0], shown.y)} at {_told(x[0], shown.x)}"
    if len(y) == 1:
        return f"{series.name} is {ends}"
    low, high = int(y.argmin()), int(y.argmax())
    return (
        f"{series.name} goes from {ends} to {_told(y[-1], shown.y)} at {_told(x[-1], shown.x)}, least "
        f"{_told(y[low], shown.y)} at {_told(x[low], shown.x)}, greatest {_told(y[high], shown.y)} at "
        f"{_told(x[high], shown.x)}"
    )


def _told(value: float, axis: Axis) -> str:
    if axis.percent:
        return f"{value:.4%}" if 0 < abs(value) < 1e-3 else f"{value:.2%}"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.4g}"


def _numbers(shown: Chart, series: Sequence[Series]) -> Html:
    """Some of the chart's numbers, at places that are evenly spread over those it has."""
    places = np.unique(np.concatenate([each.x for each in series] or [np.zeros(0)]))
    chosen = places[np.unique(np.linspace(0, len(places) - 1, ROWS).astype(int))] if len(places) else places
    at = [dict(zip(each.x.tolist(), zip(*_columns(each), strict=True), strict=True)) for each in series]
    rows = [
        [_told(place, shown.x), *(_cell(each.get(place), shown.y) for each in at)]
        for place in chosen.tolist()
    ]
    return table([shown.x.label, *(each.name for each in series)], rows)


def _columns(series: Series) -> list[list[float]]:
    return [each.tolist() for each in (series.y, series.low, series.high) if each is not None]


def _cell(found: tuple[float, ...] | None, axis: Axis) -> str:
    if found is None or not math.isfinite(found[0]):
        return ""
    value = _told(found[0], axis)
    if len(found) == 3 and all(map(math.isfinite, found)):
        return f"{value} [{_told(found[1], axis)}, {_told(found[2], axis)}]"
    return value


def _values(shown: Chart, series: Sequence[Series]) -> dict[str, Any]:
    return {
        "x": vars(shown.x),
        "y": vars(shown.y),
        "series": [
            {
                "name": plain(each.name, escaped=False),
                "look": each.look,
                "colour": each.colour,
                "dash": each.dash,
                "shade": each.shade,
                "run": each.run,
                "kind": plain(each.kind, escaped=False),
                **{key: _rounded(getattr(each, key)) for key in ("x", "y", "low", "high")},
            }
            for each in series
        ],
        "view": shown.view,
        "marks": [vars(each) for each in shown.marks],
        "points": list(shown.points),
    }


def _rounded(values: Floats | None) -> list[float | int | None] | None:
    if values is None:
        return None
    return [_short(value) if math.isfinite(value) else None for value in values.tolist()]


def _short(value: float) -> float | int:
    if value == round(value) and abs(value) < 2**53:
        return int(value)
    return float(f"{value:.{DIGITS}g}")


def as_json(values: Any) -> str:
    """JSON that may stand within a script element, whatever text it holds."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
