"""The events of a service: those of a time, the account that they give of it, and when the last one was written."""

from __future__ import annotations

import contextlib
from typing import Iterator, Optional

import msgspec

from sqmon.clock import stamp_ns
from sqmon.storage.findings import Findings
from sqmon.storage.reader import StreamReader
from sqmon.storage.seek import TS, Window
from sqmon.storage.source import Position, Source
from sqmon.storage.stream_lines import PlacedLine, StreamLines
from sqmon.top.account import Account
from sqmon.top.moment import Event

EVENTS = "sqmon"
"""The stream of events."""

_SECOND = 10**9
_WINDOWS_S = (60, 600, 7200, 86400)
"""How far back the events are read, until every metric has a good poll."""
_LOUD_S = 7200
"""How far back warnings and errors are looked for."""
_INFO, _POLL = b'"level":"info"', b'"event":"poll"'

_decode = msgspec.json.Decoder(dict).decode


class EventLog:
    """The stream of events of a source."""

    def __init__(self, source: Source, findings: Findings) -> None:
        self._source = source
        self._findings = findings
        self._lines = StreamLines(source, EVENTS)

    def close(self) -> None:
        """Close what is open."""
        self._lines.close()

    def newest_ns(self) -> Optional[int]:
        """Return when the newest line was written that stands with the events, None without any."""
        for segment in reversed(self._source.segments(EVENTS)):
            with contextlib.suppress(OSError, ValueError):
                return stamp_ns(segment.last_line()[TS].decode())
        return None

    def account(self, at_ns: int) -> Account:
        """Return what the events before a time tell."""
        events: list[Event] = []
        near, end_ns = 0, at_ns
        for far in _WINDOWS_S:
            events = [*self.within(Window(end_ns - far * _SECOND, end_ns - near * _SECOND - bool(near))), *events]
            if not events:
                # Nothing was told for a while: what was told before counts.
                end_ns = self._last_before(end_ns - far * _SECOND) or end_ns
                events = [*self.within(Window(end_ns - far * _SECOND, end_ns))]
            polled = {event["target"] for event in events if event["event"] == "poll"}
            if polled and polled <= {event["target"] for event in events if is_good_poll(event)}:
                break
            near = far
        account = Account()
        if far < _LOUD_S:
            for event in self._loud(Window(end_ns - _LOUD_S * _SECOND, end_ns - far * _SECOND - 1)):
                account.take(event)
        for event in events:
            account.take(event)
        return account

    def within(self, window: Window) -> Iterator[Event]:
        """Yield the events of a range of time, in their order."""
        for event in StreamReader(self._source, EVENTS, window=window, findings=self._findings).read():
            if isinstance(event.get("ts"), str) and event.get("event") and ("target" in event or event["event"] != "poll"):
                yield event

    def _loud(self, window: Window) -> Iterator[Event]:
        """Yield the warnings and errors but not those of polls; the other lines, which are nearly all, are not parsed."""
        for piece in StreamReader(self._source, EVENTS, window=window).pieces():
            for line in piece.split(b"\n"):
                if line and _INFO not in line and _POLL not in line:
                    with contextlib.suppress(ValueError):
                        yield _decode(line)

    def _last_before(self, at_ns: int) -> Optional[int]:
        """Return when the last event was written before a time."""
        position = self._lines.position_at(at_ns)
        line = None if position is None else next(self._lines.backward(position), None)
        with contextlib.suppress(ValueError):
            return None if line is None else stamp_ns(line.data[TS].decode())
        return None

    def line_at(self, position: Position) -> Optional[PlacedLine]:
        """Return the line that begins at a position, None when it is gone."""
        return next(self._lines.forward(position), None)


def is_good_poll(event: Event, target: str = "") -> bool:
    """Whether an event tells of a good poll, of this metric if one is given."""
    return event.get("event") == "poll" and event.get("status") in ("ok", "empty") and target in ("", event.get("target"))
