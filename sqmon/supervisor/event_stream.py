"""The service's own stream, `sqmon`: everything that happens, as records and as the log."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any, Callable, Iterator, Mapping, Optional

from sqmon import logs
from sqmon.clock import Clock, ClockStep
from sqmon.records.encoder import Batch
from sqmon.side_thread import Crew, SideThread
from sqmon.storage.seal import Chain
from sqmon.storage.streams import Streams
from sqmon.storage.writer import Dropped, Sealed
from sqmon.supervisor.event_fields import dropped_fields, step_fields
from sqmon.supervisor.sealer import Fingerprint, Sealer

STREAM = "sqmon"
DISK_PATIENCE_SECONDS = 5.0
"""How long a disk may take to answer before that is a problem worth telling."""

_QUIET = {"poll", "segment_sealed", "chain_head", "worker_start"}
_LEVELS = {"info": 20, "warning": 30, "error": 40}
_TICK_SECONDS = 1.0
_ROOM_BYTES = 8 << 20
_WRITE_BYTES = 64 << 10
_CLOSE_SECONDS = 3.0
_HEADS_SECONDS = 3600.0  # after that long a witness learns again which seals are the newest, even when no segment has ended
_HELD = 1000  # seals that wait until the newest of earlier services are known; the next start writes what this leaves out


Listener = Callable[[str, Mapping[str, Any]], None]
"""Called with the name of each event and its fields."""


class EventStream:
    """The one writer of the `sqmon` stream. Its own segments and losses are events too.

    Events are numbered and encoded by the caller and written by a side thread, so that no disk holds the supervisor's loop. While the disk
    does not answer they wait in memory; events beyond 8 MiB are dropped, and a `gap` names them as soon as there is room again.
    Every seal of a segment passes through here, since each is chained to the one before it.
    """

    def __init__(
        self,
        streams: Streams,
        run_id: str,
        *,
        clock: Clock,
        sealer: Optional[Sealer] = None,
        listener: Optional[Listener] = None,
        crew: Optional[Crew] = None,
    ) -> None:
        """Without a sealer the chains begin anew."""
        self.run_id = run_id
        self._clock = clock
        self._listener = listener
        self._log = logs.get_logger().bind()
        self._steps: list[ClockStep] = []
        self._encoder = streams.encoder(STREAM, run_id, on_step=self._steps.append)
        # Filled by the side thread, emptied by the caller.
        self._sealed: deque[Sealed] = deque()
        self._dropped: deque[Dropped] = deque()
        self._writer = streams.writer(STREAM, clock=clock, on_sealed=self._sealed.append, on_dropped=self._dropped.append)
        self._sealer = sealer
        self._chain = Chain({}) if sealer is None else None
        self._held: deque[Sealed] = deque(maxlen=_HELD)
        self._heads_at = clock.monotonic() + _HEADS_SECONDS
        self._last_sealed: dict[str, str] = {}  # by its own writer; by stream
        self._fingerprints: dict[str, Fingerprint] = sealer.known if sealer is not None else {}
        self.seals_known = sealer is None
        """Whether the seals of earlier services, those among them that had to be made now, are known."""
        self.seals_told = 0
        """How many times seals have become known, be it that one was written or that those of earlier services were found."""
        self._silences: deque[float] = deque()
        self._warning = ""
        self._tick_at = 0.0
        self._held_back: Optional[list[Batch]] = None
        self._gathered: list[Batch] = []  # by the side thread
        self._gathered_bytes = 0
        self._refused: Optional[Dropped] = None
        self._thread: SideThread[Batch] = SideThread(
            "events",
            self._store,
            room=_ROOM_BYTES,
            idle=self._tick_writer,
            idle_seconds=_TICK_SECONDS,
            finish=self._writer.close,
            crew=crew,
        )

    @property
    def trouble(self) -> str:
        """What keeps the events from the disk, in words, or ""."""
        since = self._thread.busy_since
        silent = 0.0 if since is None else self._clock.monotonic() - since
        if silent > DISK_PATIENCE_SECONDS:
            return f"{STREAM}: the disk has not answered for {silent:.0f} s"
        return self._writer.trouble

    def write(self, level: str, event: str, /, **fields: Any) -> None:
        """Write one event without waiting; `level` is info, warning or error. On the log, events without news are quiet."""
        self._report_refused()
        self._append(level, event, fields)
        while self._steps:
            self._append("warning", "clock_step", step_fields(STREAM, self.run_id, self._steps.pop()))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Hand the events that are written within over to the side thread at the end: it is woken once, and makes one write of them."""
        self._held_back = []
        try:
            yield
        finally:
            batches, self._held_back = self._held_back, None
            for batch in batches:
                self._offer(batch)

    def warn_of_disk(self, target: str, run_id: str, reason: str) -> None:
        """Write what is wrong with the disk of a stream although no line has to wait; "" is the end of that."""
        level = "warning" if reason else "info"
        self.write(level, "disk_warning", target=target, target_run_id=run_id, reason=reason or "over")

    def sealed(self, sealed: Sealed) -> None:
        """Write the seal that a writer has given to its segment."""
        stream, _, name = sealed.file.partition("/")
        self._last_sealed[stream] = name
        self._seal(sealed)

    def fingerprint(self, file: str) -> Optional[Fingerprint]:
        """Return what the seal of a segment says of its bytes; None unless that has been told. Any thread may ask."""
        return self._fingerprints.get(file)

    def forget(self, file: str) -> None:
        """Forget the seal of a segment that is there no more."""
        self._fingerprints.pop(file, None)

    def left(self, stream: str, run_id: str) -> None:
        """Have the segments sealed that a worker has left without doing so."""
        if self._sealer is not None:
            self._sealer.seal_run(stream, run_id, after=self._last_sealed.get(stream, ""))

    def tick(self) -> None:
        """Write events for what has become of earlier ones, and of segments that nobody had sealed; call it about once a second."""
        if self._sealer is not None:
            if self._chain is None and self._sealer.heads is not None:
                self._chain = Chain(self._sealer.heads)
                self.seals_told += 1
                while self._held:
                    self._seal(self._held.popleft())
            caught_up = self._sealer.caught_up
            for sealed in self._sealer.take():
                self._seal(sealed)
            if caught_up and not self.seals_known:
                self.seals_known = True
                self.seals_told += 1
        if self._chain is not None and self._clock.monotonic() >= self._heads_at:
            self._heads_at = self._clock.monotonic() + _HEADS_SECONDS
            for stream, head in self._chain.heads.items():
                self.write("info", "chain_head", target=stream, head=head)
        self._report_own()

    def close(self) -> None:
        """Write what waits and end the last segment, whose seal the next start reports; a disk that does not answer is not waited for."""
        self._report_own()
        if self._sealer is not None:
            self._sealer.close()
        if self._thread.drain(_CLOSE_SECONDS):
            self._report_own()  # the last events may have filled a segment
        if not self._thread.end(_CLOSE_SECONDS):
            self._log.error("events not written", reason="the disk does not answer", bytes=self._thread.waiting)

    def _append(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        now_ns = self._clock.time_ns()
        batch = self._encoder.event(level, event, fields, now_ns=now_ns)
        if self._held_back is not None:
            self._held_back.append(batch)
        else:
            self._offer(batch)
        if self._listener is not None:
            self._listener(event, fields)
        shown = {name: value for name, value in fields.items() if value is not None}
        self._log.log(10 if level == "info" and event in _QUIET else _LEVELS[level], event, **shown)

    def _offer(self, batch: Batch) -> None:
        if self._refused is not None or not self._thread.offer(batch, len(batch.data)):
            self._refuse(batch, self._clock.time_ns())

    def _refuse(self, batch: Batch, now_ns: int) -> None:
        if self._refused is None:
            self._refused = Dropped("the disk does not answer", now_ns, now_ns, batch.first_seq, batch.last_seq)
        else:
            self._refused = self._refused._replace(until_ns=now_ns, last_seq=batch.last_seq)

    def _seal(self, sealed: Sealed) -> None:
        """Chain the seal to the one before it in its stream, which for a moment after the start is not known yet."""
        if self._chain is None:
            self._held.append(sealed)
        else:
            self.write("info", "segment_sealed", **self._chain.link(sealed))
            self.seals_told += 1
            self._fingerprints[sealed.file] = Fingerprint(sealed.bytes, sealed.sha256)

    def _report_own(self) -> None:
        self._report_refused()
        while self._sealed:
            self.sealed(self._sealed.popleft())
        while self._dropped and not self._writer.pending:
            self.write("error", "gap", **dropped_fields(STREAM, self.run_id, self._dropped.popleft()))
        while self._silences:
            self.warn_of_disk(STREAM, self.run_id, f"the disk did not answer for {self._silences.popleft():.1f} s")
        warning = "" if self._writer.pending else self._writer.trouble.partition(": ")[2]
        if warning != self._warning:
            self._warning = warning
            self.warn_of_disk(STREAM, self.run_id, warning)

    def _report_refused(self) -> None:
        # Half of the room has to be free again, so that one stall is one gap.
        if self._refused is not None and self._thread.waiting <= _ROOM_BYTES // 2:
            refused, self._refused = self._refused, None
            self._append("error", "gap", dropped_fields(STREAM, self.run_id, refused))

    def _store(self, batch: Batch) -> None:
        """Write the batch together with those that wait behind it."""
        self._gathered.append(batch)
        self._gathered_bytes += len(batch.data)
        if self._thread.waiting and self._gathered_bytes < _WRITE_BYTES:
            return
        began = self._clock.monotonic()
        self._writer.append(*self._gathered)
        self._gathered.clear()
        self._gathered_bytes = 0
        if began >= self._tick_at:
            self._writer.tick()
            self._tick_at = began + _TICK_SECONDS
        self._note_silence(began)

    def _tick_writer(self) -> None:
        began = self._clock.monotonic()
        self._writer.tick()
        self._note_silence(began)

    def _note_silence(self, began: float) -> None:
        silent = self._clock.monotonic() - began
        if silent > DISK_PATIENCE_SECONDS:
            self._silences.append(silent)
