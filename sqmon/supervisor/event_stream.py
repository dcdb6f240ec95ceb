"""The service's own stream, `sqmon`: everything that happened, as records and, for people, on the log."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from sqmon import logs
from sqmon.clock import Clock, utc_stamp
from sqmon.storage.streams import Streams
from sqmon.storage.writer import Dropped, Sealed

STREAM = "sqmon"
_QUIET = {"poll", "segment_sealed", "worker_start"}


Listener = Callable[[str, Mapping[str, Any], int], None]
"""Called with the event's name, its fields, and the nanoseconds since 1970 at which it was written."""


class EventStream:
    """The one writer of the `sqmon` stream. Its own segments and losses are events too."""

    def __init__(self, streams: Streams, run_id: str, *, clock: Clock, listener: Optional[Listener] = None) -> None:
        self.run_id = run_id
        self._clock = clock
        self._listener = listener
        self._encoder = streams.encoder(STREAM, run_id)
        self._log = logs.get_logger()
        self._losses: list[Dropped] = []
        self._writer = streams.writer(STREAM, clock=clock, on_sealed=self._on_sealed, on_dropped=self._losses.append)
        self._later: list[Sealed] = []
        self._closing = False

    @property
    def pending(self) -> int:
        """Bytes of events that the disk did not take yet."""
        return self._writer.pending

    @property
    def trouble(self) -> str:
        """What keeps the events from the disk, in words, or ""."""
        return self._writer.trouble

    def write(self, level: str, event: str, /, **fields: Any) -> None:
        """Write one event; `level` is info, warning or error. EventStream that only say that all is well are quiet on the log."""
        self._append(level, event, fields)
        while self._later:
            self._append("info", "segment_sealed", sealed_fields(self._later.pop(0)))

    def tick(self) -> None:
        """Retry what waits, rotate by age; call it at least twice a second while `pending`."""
        self._writer.tick()
        while self._losses and not self._writer.pending:
            self.write("error", "gap", **dropped_fields(STREAM, self.run_id, self._losses.pop(0)))

    def close(self) -> None:
        """Seal the last segment; that is the one seal no event can tell of."""
        self._closing = True
        self._writer.close()

    def _append(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        now_ns = self._clock.time_ns()
        self._writer.append(self._encoder.event(level, event, fields, now_ns=now_ns))
        if self._listener is not None:
            self._listener(event, fields, now_ns)
        shown = {name: value for name, value in fields.items() if value is not None}
        self._log.log(10 if level == "info" and event in _QUIET else _NUMBERS[level], event, **shown)

    def _on_sealed(self, sealed: Sealed) -> None:
        # The writer is in the middle of its rotation: the event goes out with the next one.
        if not self._closing:
            self._later.append(sealed)


_NUMBERS = {"info": 20, "warning": 30, "error": 40}


def sealed_fields(sealed: Sealed) -> dict[str, Any]:
    """Return the fields of a `segment_sealed` event."""
    return sealed._asdict()


def dropped_fields(target: str, run_id: str, dropped: Dropped) -> dict[str, Any]:
    """Return the fields of a `gap` event for records that were given up."""
    return {
        "target": target,
        "target_run_id": run_id,
        "reason": dropped.reason,
        "since": utc_stamp(dropped.since_ns),
        "until": utc_stamp(dropped.until_ns),
        "first_seq": dropped.first_seq,
        "last_seq": dropped.last_seq,
    }
