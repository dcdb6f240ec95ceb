"""The charts of a report as inline SVG: numbers over the time, and lives as bars."""

from __future__ import annotations

from typing import Iterable, NamedTuple, Optional, Sequence

from sqmon.clock import stamp_ns
from sqmon.delivery.report.amounts import Course
from sqmon.delivery.report.html import Html, element, joined
from sqmon.delivery.report.times import Times
from sqmon.lifetimes.gaps import Gap
from sqmon.lifetimes.lines import Line

_WIDTH = 1000
_LEFT = 225
_RIGHT = 990
_LANE = 52
_ROW = 21
_AXIS = 22
_HELD_NS = 30 * 10**9  # for which a number is taken to stay, until it is seen again
_CLOSEST_NS = 5 * 10**9
_LABEL = 32  # characters beside a bar


class Lane(NamedTuple):
    """A number over the time; `metric` is that whose gaps are shown over it."""

    label: str
    kind: str
    course: Course
    metric: str
    percent: bool = False


class Bar(NamedTuple):
    """A span of time: certain from `begun_ns` to `over_ns`, and possible from `earliest_ns` to `latest_ns`."""

    kind: str
    title: str
    earliest_ns: int
    begun_ns: int
    over_ns: int
    latest_ns: int


class Row(NamedTuple):
    """Bars beside a label."""

    label: str
    bars: Sequence[Bar]


def bar_of(life: Line, kind: str, title: str, end_ns: int) -> Bar:
    """Return the bar of a lifetime; one that goes on lasts to the end of the range."""
    begun_ns = stamp_ns(life["began_before"])
    over = life["ended_before"] is not None
    return Bar(
        kind,
        title,
        begun_ns if life["began_after"] is None else stamp_ns(life["began_after"]),
        begun_ns,
        stamp_ns(life["ended_after"]) if over else end_ns,
        stamp_ns(life["ended_before"]) if over else end_ns,
    )


def lanes(times: Times, shown: Sequence[Lane], gaps: Iterable[Gap]) -> Html:
    """Return one chart with a lane for each number."""
    gaps, parts = [*gaps], [_hatch()]
    height = _LANE * len(shown)
    parts += _axis(times, height)
    for number, lane in enumerate(shown):
        base = _LANE * (number + 1) - 6
        bins = lane.course.bins()
        most = max((each.most for each in bins), default=0.0)
        scale = (_LANE - 16) / most if most else 0.0
        parts.append(element("text", lane.label, x=0, y=base - 12))
        told = (f"{most:.0%}" if lane.percent else f"{most:,.0f}") if bins else "nothing known"
        parts.append(element("text", f"at most {told}" if bins else told, x=_LEFT - 12, y=base + 2, class_="quiet end"))
        path = _steps(times, lane.course, base, scale)
        if path:
            parts.append(element("path", element("title", f"{lane.label}: at most {told}"), d=path, class_=f"{lane.kind} area"))
        parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=base, y2=base, class_="base"))
        for gap in gaps:
            if gap.target in ("", lane.metric):
                parts.append(_veil(times, gap, base - _LANE + 12, _LANE - 12))
    return _svg(height + _AXIS, "Over the time: " + ", ".join(lane.label for lane in shown), parts)


def close_up(times: Times, rows: Sequence[Row]) -> Times:
    """Return the part of the range in which the bars are, and a little around it."""
    first = min(bar.earliest_ns for row in rows for bar in row.bars)
    last = max(bar.latest_ns for row in rows for bar in row.bars)
    margin = max(_CLOSEST_NS, (last - first) // 10)
    return Times(max(times.begin_ns, first - margin), min(times.end_ns, last + margin))


def bars(times: Times, rows: Sequence[Row], label: str) -> Html:
    """Return one chart with a line for each row."""
    height = _ROW * len(rows) + 6
    parts = _axis(times, height)
    for number, row in enumerate(rows):
        top = _ROW * number + 5
        text = row.label if len(row.label) <= _LABEL else row.label[: _LABEL - 1] + "…"
        parts.append(element("text", text, element("title", row.label), x=0, y=top + 11))
        for bar in row.bars:
            parts += _drawn(times, bar, top)
    return _svg(height + _AXIS, label, parts)


def legend(*entries: tuple[str, str]) -> Html:
    """Return what the colours mean: kinds with their texts."""
    return element(
        "div",
        *(
            element(
                "span", element("svg", element("rect", width=14, height=10, class_=kind), viewBox="0 0 14 10", aria_hidden="true"), text
            )
            for kind, text in entries
        ),
        class_="legend",
    )


def _svg(height: int, label: str, parts: Sequence[Html]) -> Html:
    drawing = element("svg", element("title", label), *parts, viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=label)
    return element("div", drawing, class_="wide")


def _x(times: Times, ns: int) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * times.share(ns), 1)


def _axis(times: Times, height: int) -> list[Html]:
    parts = []
    for ns, text in times.ticks():
        x = _x(times, ns)
        parts.append(element("line", x1=x, x2=x, y1=0, y2=height, class_="grid"))
        parts.append(element("text", text, x=min(x, _RIGHT - 10), y=height + 14, class_="quiet middle"))
    return parts


def _drawn(times: Times, bar: Bar, top: int) -> list[Html]:
    title = element("title", bar.title)
    first, last = _x(times, bar.earliest_ns), _x(times, bar.latest_ns)
    begun, over = _x(times, bar.begun_ns), _x(times, bar.over_ns)
    parts = []
    if last - first > over - begun:
        parts.append(element("rect", title, x=first, y=top, width=max(2.0, last - first), height=14, rx=2, class_=f"{bar.kind} maybe"))
    if over >= begun:
        parts.append(element("rect", title, x=begun, y=top, width=max(2.0, over - begun), height=14, rx=2, class_=bar.kind))
    return parts


def _steps(times: Times, course: Course, base: int, scale: float) -> str:
    """Return the path of an area under steps, with nothing where nothing is known."""
    bins = course.bins()
    held_ns = max(_HELD_NS, 3 * course.width_ns)
    parts: list[str] = []
    open_ns: Optional[int] = None
    for number, each in enumerate(bins):
        x, y = _x(times, each.start_ns), round(base - each.most * scale, 1)
        parts.append(f"M{x},{base}V{y}" if open_ns is None else f"H{x}V{y}")
        after = bins[number + 1].start_ns if number + 1 < len(bins) else None
        open_ns = each.start_ns
        if after is None or after - each.start_ns > held_ns:
            over_ns = times.end_ns if after is None and times.end_ns - each.start_ns <= held_ns else each.start_ns + course.width_ns
            parts.append(f"H{_x(times, over_ns)}V{base}Z")
            open_ns = None
    return "".join(parts)


def _hatch() -> Html:
    line = element("line", x1=0, y1=0, x2=0, y2=6, class_="hatch")
    pattern = element("pattern", line, id="hatch", width=6, height=6, patternUnits="userSpaceOnUse", patternTransform="rotate(45)")
    return element("defs", pattern)


def _veil(times: Times, gap: Gap, top: int, height: int) -> Html:
    end_ns = times.end_ns if gap.until_ns is None else gap.until_ns
    first, last = _x(times, gap.since_ns), _x(times, end_ns)
    title = f"{gap.target or 'all metrics'} not seen from {times.text(gap.since_ns)} to {times.text(end_ns)}: {gap.reason}"
    return joined(element("rect", element("title", title), x=first, y=top, width=max(2.0, last - first), height=height, class_="veil"))
