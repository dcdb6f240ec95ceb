"""The reading behind `sqmon history`: as much of a source as a range of time needs.

What was going on at the beginning of a range began before it, and what was going on at its end has ended since. So the reading begins
somewhat earlier and ends somewhat later than the range, and goes on to more and more until nothing that is shown could be told better.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Callable, Iterator, NamedTuple, Optional, Sequence

from sqmon.clock import stamp_ns, utc_stamp
from sqmon.config.typed_time import nanoseconds
from sqmon.errors import SqmonError, reason_of
from sqmon.lifetimes.directory import Directory
from sqmon.lifetimes.gaps import Gap, Gaps
from sqmon.lifetimes.history import History, Range
from sqmon.lifetimes.lifetimes import Lifetimes
from sqmon.lifetimes.lines import Line
from sqmon.storage.directory_lock import is_locked
from sqmon.storage.file_sources import DirectorySource
from sqmon.storage.reader import StreamReader
from sqmon.storage.seek import ALWAYS, Window
from sqmon.storage.source import MIXED, Source
from sqmon.storage.stream_lines import StreamLines

_EVENTS = "sqmon"
_MARGINS_S = (600, 3600, 6 * 3600, 36 * 3600)
_SILENT_NS = 60 * 10**9
"""After which a service that has no lock to be asked for counts as ended: it writes an event for each poll."""

Kept = Callable[[str, Line], bool]
"""Whether a lifetime of a kind is to be shown."""


class Asked(NamedTuple):
    """What is asked about."""

    kind: str
    """locks, statements, nodes or gaps."""
    metrics: Sequence[str]
    since: Optional[dt.datetime]
    """None is since the oldest event."""
    until: dt.datetime
    kept: Kept


class Found(NamedTuple):
    """What a source says about a range of time."""

    since: dt.datetime
    until: dt.datetime
    history: History
    gaps: list[Gap]


def look(source: Source, asked: Asked, *, now: dt.datetime) -> Found:
    """Return what a source says of the range; raises SqmonError when it has no events, or can't be read."""
    if source.streams() != [MIXED] and not source.segments(_EVENTS):
        raise SqmonError(f"{source.name}: has no events of a service, without which nobody knows when it was polled")
    try:
        first_ns, last_ns = _ends(source)
        running = _is_running(source, last_ns, now)
        until = asked.until if running or source.grows else min(asked.until, _moment(last_ns))
        for window in _windows(asked.since, until):
            reading = _Reading(source, asked, window)
            whole = Window(
                window.since_ns if window.since_ns is not None and window.since_ns > first_ns else None,
                window.until_ns if window.until_ns is not None and window.until_ns < last_ns else None,
            )
            if reading.suffices(whole):
                break
        return reading.found(first_ns, until, running=running or whole.until_ns is not None, now=now)
    except OSError as error:
        raise SqmonError(f"{error.filename or source.name}: {reason_of(error)}; the files must be readable") from None


def _windows(since: Optional[dt.datetime], until: dt.datetime) -> Iterator[Window]:
    if since is None:
        yield ALWAYS
        return
    for margin in _MARGINS_S:
        yield Window(nanoseconds(since) - margin * 10**9, nanoseconds(until) + margin * 10**9)
    yield ALWAYS


def _ends(source: Source) -> tuple[int, int]:
    """Return when the first and the last event were written; 0 where there is none."""
    lines = StreamLines(source, _EVENTS)
    try:
        end = lines.end()
        last = next(lines.backward(end), None) if end is not None else None
        first = next(StreamReader(source, _EVENTS).read(), None)
    finally:
        lines.close()
    return stamp_ns(first["ts"]) if first else 0, stamp_ns(last.data[7:37].decode()) if last else 0


def _is_running(source: Source, last_ns: int, now: dt.datetime) -> bool:
    """Return whether a service still polls; of what was carried away, nobody asks that."""
    if isinstance(source, DirectorySource):
        return is_locked(source.log_dir)
    return not source.grows or nanoseconds(now) - last_ns < _SILENT_NS


class _Reading:
    """One reading of a part of a source."""

    def __init__(self, source: Source, asked: Asked, window: Window) -> None:
        self._asked = asked
        within = Range(None if asked.since is None else _stamp(asked.since), _stamp(asked.until))
        self._history, self._gaps = History(within, asked.kept), Gaps()
        self._told: list[Gap] = []
        self._first: dict[str, int] = {}  # the end of the first poll of each metric
        lifetimes = Lifetimes()
        for event, poll in Directory(source, asked.metrics, window=window).read():
            gap = self._gaps.take(event)
            if gap is not None:
                self._told.append(gap)
            if poll is not None:
                self._first.setdefault(poll.metric, poll.ended_ns)
                for line in lifetimes.take(poll):
                    self._history.take(line)
        for line in lifetimes.unfinished():
            self._history.take(line)

    def suffices(self, left: Window) -> bool:
        """Return whether the rest of the source, before and after the window that has an end where there is one, could tell nothing."""
        lives = [] if self._asked.kind == "gaps" else self._history.of(self._asked.kind)
        if left.since_ns is not None and self._asked.since is not None:
            since_ns = nanoseconds(self._asked.since)
            if any(self._first.get(metric, since_ns) >= since_ns for metric in self._asked.metrics if metric in self._gaps.targets):
                return False
            begun_ns = max(self._first.values(), default=0)
            if any(life["began_after"] is None and stamp_ns(life["began_before"]) <= begun_ns for life in lives):
                return False
            if self._gaps.first_ns is None or any(gap.since_ns <= self._gaps.first_ns for gap in self._shown(running=True)):
                return False
        if left.until_ns is not None:
            if any(life["ended_before"] is None for life in lives):
                return False
            return self._gaps.seen_by_all_ns() > nanoseconds(self._asked.until)
        return True

    def found(self, first_ns: int, until: dt.datetime, *, running: bool, now: dt.datetime) -> Found:
        """Return what was found of the range."""
        begin = self._asked.since or _moment(first_ns)
        told = [gap for gap in self._shown(running=running) if gap.since_ns < nanoseconds(min(until, now))]
        if self._asked.since is not None and nanoseconds(begin) < first_ns:
            told.insert(0, Gap("", nanoseconds(begin), first_ns, "no events are kept from that time"))
        return Found(begin, until, self._history, [gap for gap in told if gap.since_ns < nanoseconds(min(until, now))])

    def _shown(self, *, running: bool) -> list[Gap]:
        since_ns = 0 if self._asked.since is None else nanoseconds(self._asked.since)
        gaps = [*self._told, *self._gaps.ongoing(running=running)]
        until_ns = nanoseconds(self._asked.until)
        return [gap for gap in gaps if gap.since_ns < until_ns and (gap.until_ns is None or gap.until_ns > since_ns)]


def _stamp(moment: dt.datetime) -> str:
    return utc_stamp(nanoseconds(moment))


def _moment(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns / 1e9, dt.timezone.utc).astimezone()


def as_stamps(gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    """Return gaps for programs: times in UTC."""
    return [
        {
            "target": gap.target,
            "reason": gap.reason,
            "first_seq": gap.first_seq,
            "last_seq": gap.last_seq,
            "since": utc_stamp(gap.since_ns),
            "until": None if gap.until_ns is None else utc_stamp(gap.until_ns),
        }
        for gap in gaps
    ]
