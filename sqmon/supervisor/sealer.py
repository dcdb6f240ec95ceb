"""The sealer: a side thread that seals the segments of killed writers and finds the newest seal of each stream."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import deque
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Optional

import msgspec

from sqmon.clock import Clock
from sqmon.side_thread import Crew, SideThread
from sqmon.storage.look_back import events
from sqmon.storage.reader import segments
from sqmon.storage.recount import recounted, run_of
from sqmon.storage.seal import digest, stream_of
from sqmon.storage.segment_names import all_segments, in_order, stored
from sqmon.storage.writer import Sealed

_STREAM = "sqmon"
_WAITING = 64  # seals that wait for their event; the thread pauses while there are more
_JOBS = 100  # killed workers whose segments wait; what finds no room is left to the next start
_LOOK_BACK = 1000  # the newest segments of a stream, among which are those of a worker that was killed just now
_CLOSE_SECONDS = 1.0
_REST_SECONDS = 3.0
"""A worker whose supervisor was killed is gone within two seconds: only a file that nobody has touched for longer is sealed."""


class Fingerprint(NamedTuple):
    """What a seal says of the bytes of a segment."""

    bytes: int
    sha256: str


class Sealer:
    """Finds the segments of one log directory that have no seal, counts and hashes them; every start goes on where the last one ended.

    Which segments have a seal is what the events tell. Nothing here waits for the disk but the thread.
    """

    def __init__(self, log_dir: Path, *, clock: Clock, crew: Optional[Crew] = None) -> None:
        """Note the segments that are there, which are those of earlier services; nothing may have been written yet."""
        self._log_dir = log_dir
        self._clock = clock
        self._earlier = all_segments(log_dir, archived=False)  # none was compressed before its seal was told
        self._earlier_events = stored(log_dir, _STREAM)
        self._sealed: deque[Sealed] = deque()  # filled by the thread, emptied by `take`
        self._ending = threading.Event()
        self._thread: SideThread[Callable[[], None]] = SideThread("sealer", lambda job: job(), room=_JOBS, crew=crew)
        self.heads: Optional[Mapping[str, str]] = None
        """The digest of the newest seal of each stream that earlier services have told of; None until they are known."""
        self.caught_up = False
        """Whether every segment of earlier services has been looked at."""
        self.known: dict[str, Fingerprint] = {}
        """The segments of earlier services that are there and have a seal."""

    def start(self) -> None:
        """Begin with the segments of earlier services."""
        self._thread.offer(self._catch_up)

    def seal_run(self, stream: str, run_id: str, *, after: str) -> None:
        """Seal what a worker that was killed has left: the segments of its run that are newer than the one called `after`."""
        self._thread.offer(functools.partial(self._seal_run, stream, run_id, after))

    def take(self) -> Iterator[Sealed]:
        """Yield the segments that were counted since the last call."""
        while self._sealed:
            yield self._sealed.popleft()

    def close(self) -> None:
        """Leave what has not been counted to the next start."""
        self._ending.set()
        self._thread.end(_CLOSE_SECONDS)

    def _catch_up(self) -> None:
        earlier, self._earlier = self._earlier, {}
        unsealed = {f"{stream}/{name}" for stream, names in earlier.items() for name in names}
        heads: dict[str, str] = {}
        for name in reversed(self._earlier_events):
            if self._ending.is_set():
                return
            newest: dict[str, str] = {}
            for seal in _seals(self._log_dir / _STREAM / name):
                if seal["file"] in unsealed:
                    unsealed.remove(seal["file"])
                    self.known[seal["file"]] = Fingerprint(seal["bytes"], seal["sha256"])
                newest[stream_of(seal["file"])] = digest(seal)
            heads = {**newest, **heads}
        self.heads = heads
        for stream, names in earlier.items():
            for name in names:
                if f"{stream}/{name}" in unsealed:
                    self._count(f"{stream}/{name}")
        self.caught_up = True

    def _seal_run(self, stream: str, run_id: str, after: str) -> None:
        names = [path.name for path in segments(self._log_dir, stream, archived=False)]
        if after:
            names = in_order(stream, {*names, after})
            del names[: names.index(after) + 1]
        found: list[str] = []
        for name in reversed(names[-_LOOK_BACK:]):
            with contextlib.suppress(OSError):
                if run_of(self._log_dir / stream / name) == run_id:
                    found.append(f"{stream}/{name}")
                elif found:
                    break
        for file in reversed(found):
            self._count(file)

    def _count(self, file: str) -> None:
        """Count a segment as soon as its writer is gone for sure; one that can't be read, or was deleted, gets no seal."""
        with contextlib.suppress(OSError):
            rested = (self._clock.time_ns() - (self._log_dir / file).stat().st_mtime_ns) / 1e9
            self._ending.wait(_REST_SECONDS - min(max(rested, 0.0), _REST_SECONDS))
            while len(self._sealed) >= _WAITING and not self._ending.wait(0.1):
                pass
            if not self._ending.is_set():
                began = self._clock.monotonic()
                self._sealed.append(recounted(self._log_dir, file))
                # At most half of the time: what is left to seal is not worth a late poll.
                self._ending.wait(self._clock.monotonic() - began)


def _seals(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what the `segment_sealed` events of one segment say; a line that is broken says nothing."""
    with contextlib.suppress(OSError):
        for line in events(path, "segment_sealed"):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                seal = msgspec.json.decode(line, type=dict[str, Any])
                if isinstance(seal.get("file"), str):
                    yield seal
