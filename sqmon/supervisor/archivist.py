"""The archivist: starts the process that compresses segments, and writes an event for each result."""

from __future__ import annotations

import contextlib
import random
import selectors
from pathlib import Path
from typing import Optional, Sequence

import msgspec

from sqmon.clock import Clock
from sqmon.errors import reason_of
from sqmon.ipc.archiving import Compressed, Finished, Left, decode
from sqmon.ipc.start import ARCHIVER
from sqmon.storage.compression import Source
from sqmon.storage.inventory import Candidate
from sqmon.storage.knowledge import Unread
from sqmon.storage.segment_names import archive_of
from sqmon.supervisor.backoff import Backoff
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.forkserver import Forkserver, Process
from sqmon.supervisor.run import how_ended

_PATIENCE_SECONDS = 120.0  # it reports every second, but gets the processor only when nobody else wants it
_DEATH_SECONDS = 5.0
_FIRST_WAIT_SECONDS = 10.0
_MAX_REPORT = 1 << 16
_AT_ONCE = 500
"""Segments of one order."""


class Places:
    """How many may be at work at the same time, among all who share it."""

    def __init__(self, number: int) -> None:
        self._free = number

    def take(self) -> bool:
        """Take a place; return False while there is none."""
        taken = self._free > 0
        self._free -= taken
        return taken

    def give(self) -> None:
        """Give a place back."""
        self._free += 1


class Archivist:
    """Starts the archiver when there is something to do; it ends afterwards, so that it costs no memory.

    One that says nothing for two minutes is killed, and after one that failed the next waits: 10 s, doubled up to 10 minutes.
    """

    def __init__(
        self,
        log_dir: Path,
        events: EventStream,
        *,
        forkserver: Forkserver,
        selector: selectors.BaseSelector,
        clock: Clock,
        places: Optional[Places] = None,
    ) -> None:
        """An archiver starts when it gets one of the `places` that it shares with those of other directories."""
        self.failing = False
        """Whether the last archiver could not do its work, so that nobody should count on the next one."""
        self._log_dir = log_dir
        self._events = events
        self._forkserver = forkserver
        self._selector = selector
        self._clock = clock
        self._places = places or Places(1)
        self._process: Optional[Process] = None
        self._waiting: dict[str, Source] = {}
        """What the archiver was told to compress and has not reported yet."""
        self._deadline = 0.0
        self._failed = False
        self._finished = False
        self._silent = False
        self._trouble = ""
        self._told = ""
        self._refused: set[str] = set()
        self._backoff = _backoff()
        self._not_before = 0.0

    def takes(self, file: str) -> bool:
        """Whether the segment can be compressed: its seal has been told, and it is as it was then. Any thread may ask."""
        return file not in self._refused and self._events.fingerprint(file) is not None

    def spares(self, file: str) -> bool:
        """Whether the segment is not to be deleted for want of room, since it will be compressed. Any thread may ask."""
        # Until the seals of earlier services are known, every segment may turn out to have one, or get it in a moment.
        return not self.failing and (self.takes(file) or not self._events.seals_known)

    def sources(self, candidates: Sequence[Candidate]) -> list[Source]:
        """Return the order for these segments, which takes a look into each that may not have been read. Any thread may ask."""
        found = []
        for each in candidates[:_AT_ONCE]:
            seal = self._events.fingerprint(each.file)
            if seal is not None:
                found.append(Source(each.file, *seal, each.knowledge, each.unread_bytes, each.unread()))
        return found

    def offer(self, sources: Sequence[Source]) -> None:
        """Have these segments compressed, unless an archiver is at work or the next one has to wait; never waits."""
        now = self._clock.monotonic()
        if self._process is not None or now < self._not_before or not sources or not self._places.take():
            return
        self._deadline, self._trouble = now + _PATIENCE_SECONDS, ""
        self._failed = self._finished = self._silent = False
        try:
            self._process = self._forkserver.start(ARCHIVER, self._log_dir, list(sources))
        except OSError as error:
            self._places.give()
            self._ended(f"could not be started: {reason_of(error)}")
            return
        self._waiting = {source.file: source for source in sources}
        self._process.pipe.setblocking(False)
        self._selector.register(self._process.pipe, selectors.EVENT_READ, self._hear)

    def look(self, now: float) -> None:
        """Deal with an archiver that has ended, or has said nothing for too long."""
        process = self._process
        if process is None:
            return
        self._hear()
        if process.code is not None or process.error or (self._silent and now >= self._deadline):
            self._ended("" if self._finished else self._reason(process))
        elif now >= self._deadline and not self._trouble:
            self._trouble = f"said nothing for {_PATIENCE_SECONDS:g} s, killed"
            self._deadline = now + _DEATH_SECONDS
            process.kill()
        elif now >= self._deadline:
            self._ended(f"{self._trouble}, but lives on inside the kernel (waiting for a disk?)")

    def close(self) -> None:
        """Kill an archiver that is at work: whatever it is in the middle of, nothing is lost, and the next start goes on."""
        if self._process is not None:
            self._let_go(self._process)

    def _hear(self) -> None:
        while self._process is not None and not self._silent:
            try:
                message = self._process.pipe.recv(_MAX_REPORT)
            except BlockingIOError:
                return
            except ConnectionResetError:
                message = b""
            now = self._clock.monotonic()
            if not message:
                # The forkserver tells how it ended a moment later, if it still can.
                self._silent, self._deadline = True, now + _DEATH_SECONDS
                with contextlib.suppress(KeyError):
                    self._selector.unregister(self._process.pipe)
                return
            self._deadline = max(self._deadline, now + _PATIENCE_SECONDS) if not self._trouble else self._deadline
            with contextlib.suppress(msgspec.MsgspecError):
                self._take(decode(message))

    def _take(self, report: object) -> None:
        if isinstance(report, Finished):
            self._finished = True
        elif isinstance(report, Left):
            self._left(report)
        elif isinstance(report, Compressed) and report.file in self._waiting:
            self._archived(self._waiting.pop(report.file), report.bytes)

    def _archived(self, source: Source, size: int) -> None:
        self.failing, self._told = False, ""
        self._events.forget(source.file)
        self._events.write(
            "info",
            "segment_archived",
            file=source.file,
            archive=str(archive_of(Path(source.file))),
            bytes=source.bytes,
            compressed_bytes=size,
            **unread_fields(source.unread_bytes, source.unread),
        )

    def _left(self, left: Left) -> None:
        if left.for_good:
            self._refused.add(left.file)
            self._events.write("warning", "archive_failed", file=left.file, reason=left.reason)
        else:
            self._fail(left.reason, file=left.file)

    def _fail(self, reason: str, **fields: object) -> None:
        self.failing = self._failed = True
        if reason != self._told:
            self._told = reason
            self._events.write("warning", "archive_failed", reason=reason, **fields)

    def _ended(self, reason: str) -> None:
        if reason:
            self._fail(f"the archiver {reason}")
        if self._failed:
            self._not_before = self._clock.monotonic() + self._backoff.wait(0.0)
        else:
            self._backoff = _backoff()
        if self._process is not None:
            self._let_go(self._process)

    def _let_go(self, process: Process) -> None:
        self._process = None
        self._places.give()
        self._waiting.clear()
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(process.pipe)
        process.close()

    def _reason(self, process: Process) -> str:
        return self._trouble or process.error or how_ended(process.code)


def _backoff() -> Backoff:
    return Backoff(first=_FIRST_WAIT_SECONDS, longest=600.0, jitter=random.Random())


def unread_fields(size: int, unread: Optional[Unread]) -> dict[str, object]:
    """Return the fields of an event that tell what an agent isn't known to have read."""
    fields: dict[str, object] = {"not_known_to_be_read": size} if size else {}
    if unread is not None:
        named = unread._asdict()
        fields.update(target=named.pop("metric"), target_run_id=named.pop("run_id"), **named)
    return fields
