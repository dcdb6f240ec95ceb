"""The polls of one metric: any of them whole, found by time, and from each the next and the one before.

Where there are events, they tell which polls there were, those without rows included, and which lines each has written. Of a segment on
its own, the lines themselves tell.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional, Protocol

import msgspec

from sqmon.clock import stamp_ns, utc_stamp
from sqmon.records.fold import Fold
from sqmon.storage.loose_polls import LoosePolls
from sqmon.storage.seek import TS
from sqmon.storage.source import MIXED, Position, Source
from sqmon.storage.stream_lines import PlacedLine, StreamLines
from sqmon.storage.whole_poll import MISSING, Record, WholePoll, by_poll, record_of

_EVENTS = "sqmon"
_GOOD = ("ok", "empty")
_PATIENCE_NS = 3600 * 10**9
"""How long after its beginning the event of a poll is looked for."""


class Polls:
    """Random access to the polls of one metric; raises OSError when a file fails while it is read."""

    def __init__(self, source: Source, metric: str) -> None:
        self.metric = metric
        lines = StreamLines(source, metric)
        is_told = source.streams() == [MIXED] or bool(source.segments(_EVENTS))
        self._polls: _Polls = _ToldPolls(source, lines, metric) if is_told else LoosePolls(lines, metric)

    def close(self) -> None:
        """Close what is open."""
        self._polls.close()

    def at(self, moment_ns: int) -> Optional[WholePoll]:
        """Return the newest good poll that began at that moment or before, None when there is none."""
        return self._polls.at(moment_ns)

    def newest(self) -> Optional[WholePoll]:
        """Return the newest good poll."""
        return next(self._polls.before(None), None)

    def before(self, poll: WholePoll) -> Optional[WholePoll]:
        """Return the good poll before this one."""
        return next(self._polls.before(poll.start), None)

    def after(self, poll: WholePoll) -> Optional[WholePoll]:
        """Return the good poll after this one, None as long as there is none."""
        return next(self._polls.after(poll.end), None)


class _Polls(Protocol):
    def close(self) -> None: ...
    def at(self, moment_ns: int) -> Optional[WholePoll]: ...
    def before(self, position: Optional[Position]) -> Iterator[WholePoll]: ...
    def after(self, position: Position) -> Iterator[WholePoll]: ...


class _PollEvent(msgspec.Struct):
    ts: str
    event: str
    target: str
    status: str
    target_run_id: str = ""
    poll: int = 0
    began: str = ""
    duration_ms: float = 0.0
    rows: int = 0
    first_seq: Optional[int] = None
    last_seq: Optional[int] = None
    digest: Optional[str] = None
    key: bool = False

    @property
    def began_ns(self) -> int:
        """When the poll began; older versions only say how long it took."""
        return stamp_ns(self.began) if self.began else stamp_ns(self.ts) - int(self.duration_ms * 1e6)


class _Told(NamedTuple):
    event: _PollEvent
    line: PlacedLine


_decode_event = msgspec.json.Decoder(_PollEvent).decode


class _ToldPolls:
    """Polls that events tell of."""

    def __init__(self, source: Source, lines: StreamLines, metric: str) -> None:
        self._events = StreamLines(source, _EVENTS)
        self._lines = lines
        self._metric = metric
        self._needle = b'"event":"poll","target":"%b"' % metric.encode()

    def close(self) -> None:
        self._events.close()
        self._lines.close()

    def at(self, moment_ns: int) -> Optional[WholePoll]:
        position = self._events.position_at(moment_ns)
        if position is None:
            return None
        stamp, latest = utc_stamp(moment_ns), utc_stamp(moment_ns + _PATIENCE_NS).encode()
        newest: Optional[_Told] = None
        for told in self._told(self._events.forward(position), latest):
            if told.event.began > stamp or (not told.event.began and told.event.ts > stamp):
                break
            newest = told if told.event.status in _GOOD else newest
        if newest is not None:
            return self._whole(newest)
        return next(self.before(position), None)

    def before(self, position: Optional[Position]) -> Iterator[WholePoll]:
        position = position or self._events.end()
        if position is not None:
            yield from (self._whole(told) for told in self._told(self._events.backward(position)) if told.event.status in _GOOD)

    def after(self, position: Position) -> Iterator[WholePoll]:
        yield from (self._whole(told) for told in self._told(self._events.forward(position)) if told.event.status in _GOOD)

    def _told(self, lines: Iterator[PlacedLine], latest: bytes = b"") -> Iterator[_Told]:
        for line in lines:
            if latest and line.data[TS] > latest:
                return
            if self._needle in line.data:
                event = _event(line.data)
                if event is not None:
                    yield _Told(event, line)

    def _whole(self, told: _Told) -> WholePoll:
        event = told.event
        if event.digest is None:
            rows = self._written(event, event)
            problem = "" if len(rows) == event.rows else f"only {len(rows)} of {event.rows} rows are there"
        else:
            rows, problem = self._folded(told)
        return WholePoll(self._metric, event.target_run_id, event.poll, event.began_ns, rows, problem, told.line.start, told.line.end)

    def _folded(self, told: _Told) -> tuple[list[Record], str]:
        """The rows of a poll that has written changes, from the newest poll before it that was written whole."""
        event = key = told.event
        since = [told.event]
        for earlier in self._told(self._events.backward(told.line.start)) if not event.key else ():
            if earlier.event.target_run_id != event.target_run_id:
                break
            if earlier.event.status in _GOOD:
                key = earlier.event
                since.append(key)
                if key.key:
                    break
        fold = Fold()
        if key.key and key.first_seq is None:
            fold.clear()
        wrote = [each for each in since if each.first_seq is not None]  # the newest first
        for lines in by_poll(self._written(wrote[-1], wrote[0])) if wrote else ():
            fold.take(lines)
        is_whole = fold.whole and fold.digest == event.digest
        return [*fold.rows], "" if is_whole else MISSING

    def _written(self, first: _PollEvent, last: _PollEvent) -> list[Record]:
        """The lines of a run from those of the first of these polls to those of the last."""
        found: list[Record] = []
        if first.first_seq is None or last.last_seq is None:
            return found
        position = self._lines.position_at(first.began_ns)
        latest, run = last.ts.encode(), b'"run_id":"%b"' % last.target_run_id.encode()
        for line in self._lines.forward(position) if position is not None else ():
            if line.data[TS] > latest and line.start.segment.stream != MIXED:
                break
            record = record_of(line.data) if run in line.data else None
            if record is None or record["seq"] < first.first_seq:
                continue
            if record["seq"] <= last.last_seq:
                found.append(record)
            if record["seq"] >= last.last_seq:
                break
        return found


def _event(line: bytes) -> Optional[_PollEvent]:
    try:
        event = _decode_event(line)
        stamp_ns(event.ts)
        if event.began:
            stamp_ns(event.began)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None
    return event if event.event == "poll" else None
