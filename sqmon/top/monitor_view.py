"""The view of the monitor itself: how each metric is polled, and what went wrong last."""

from __future__ import annotations

from sqmon.clock import stamp_ns
from sqmon.config import thresholds
from sqmon.lifetimes.polls import text_of
from sqmon.top.lines import DIM, HEADING, Line, Span, line
from sqmon.top.moment import Event, Known, Moment
from sqmon.top.picture import Picture
from sqmon.top.table import Cell, Column, Detail, Fact, Level, Row, Table, level_of

_COLUMNS = (
    Column("metric", most=32),
    Column("status", rank=1),
    Column("last good", right=True),
    Column("rows", right=True, rank=2),
    Column("took", right=True, rank=3),
    Column("late", right=True, rank=5),
    Column("every", right=True, rank=4),
    Column("trouble", rank=6, grows=True),
)
_STATUS = {"ok": Level.FINE, "empty": Level.FINE, "skipped": Level.WARNING}
_UNTOLD = ("ts", "seq", "metric", "run_id", "level", "event", "target", "target_run_id", "traceback", "cluster")


def monitor(picture: Picture) -> Table:
    """Return how each metric was polled last, and the newest warnings and errors."""
    moment = picture.moment
    rows = [_row(moment, name, known) for name, known in moment.metrics.items()]
    events = [_event(moment, event) for event in reversed(moment.events)]
    after = [line(Span("the last warnings and errors", HEADING)), *events] if events else []
    return Table(_COLUMNS, [[row] for row in rows], "Nothing has been polled yet.", after=[*map(_problem, moment.problems), *after])


def _row(moment: Moment, name: str, known: Known) -> Row:
    last, poll = known.last or {}, known.poll
    status = text_of(last.get("status")) or "waiting"
    level = Level.WARNING if moment.is_stale(name) else Level.FINE
    cells = (
        Cell(name),
        Cell(status, _STATUS.get(status, Level.WARNING if last else Level.FINE)),
        Cell("") if poll is None else Cell(moment.time(poll.ended_ns), level, poll.ended_ns),
        _number(last.get("rows"), ",d"),
        _number(last.get("duration_ms"), ".0f", " ms"),
        _number(last.get("late_ms"), ".0f", " ms", warning=thresholds.LATE_MS),
        Cell("") if known.interval_s is None else Cell(f"{known.interval_s:g} s", by=known.interval_s),
        Cell(known.trouble, Level.WARNING if known.trouble else Level.FINE),
    )
    return Row(f"metric {name}", cells, copy=name, detail=lambda: _detail(name, cells, known))


def _detail(name: str, cells: tuple[Cell, ...], known: Known) -> Detail:
    facts = [Fact(column.name, cell) for column, cell in zip(_COLUMNS[1:], cells[1:]) if cell.text]
    told = [Fact(key, Cell(text_of(value))) for key, value in (known.last or {}).items() if value is not None and key not in _UNTOLD]
    return Detail(f"metric {name}", [*facts, Fact("", Cell("")), *told])


def _number(value: object, form: str, unit: str = "", *, warning: float = float("inf")) -> Cell:
    if not isinstance(value, (int, float)):
        return Cell("")
    return Cell(f"{value:{form}}{unit}", level_of(value, warning), value)


def _event(moment: Moment, event: Event) -> Line:
    said = {name: value for name, value in event.items() if name not in _UNTOLD and value is not None}
    text = text_of(said.pop("error", None) or said.pop("reason", None) or said.pop("text", None) or said.pop("problems", None))
    level = Level.CRITICAL if event.get("level") == "error" else Level.WARNING
    what = " ".join(filter(None, (text_of(event.get("event")), text_of(event.get("target")), text_of(said.get("status")))))
    return line(
        Span(f"{level.mark:3}", level.style), Span(f"{moment.time(stamp_ns(str(event['ts'])))}  ", DIM), f"{what}: {text}" if text else what
    )


def _problem(text: str) -> Line:
    return line(Span(f"{Level.WARNING.mark:3}{text}", Level.WARNING.style))
