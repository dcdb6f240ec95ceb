"""What the events of the `sqmon` stream claim about the other files: seals, deletions, losses, and the records written."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Iterable, Optional

import msgspec

from sqmon.storage.seal import digest, stream_of
from sqmon.storage.source import Segment

_CHUNK = 1 << 20  # bytes that are read at once
_POLL = b'"event":"poll","target":'
_KINDS = tuple(b'"event":"%b"' % kind for kind in (b"segment_sealed", b"chain_head", b"segment_deleted", b"gap"))

Run = tuple[str, str]
"""A stream and a `run_id`."""
Range = tuple[int, int]
"""A first and a last seq."""


class _Event(msgspec.Struct):
    seq: int
    run_id: str
    event: str
    target: str = ""
    target_run_id: str = ""
    first_seq: Optional[int] = None
    last_seq: Optional[int] = None
    file: str = ""


_decode = msgspec.json.Decoder(_Event).decode


class Testimony:
    """Everything that the events say, in their order."""

    def __init__(self) -> None:
        self.seals: list[dict[str, Any]] = []
        """The events of seals, whole."""
        self.places: dict[tuple[str, int], str] = {}
        """The segment in which an event of a seal or a head stands, by its `run_id` and `seq`."""
        self.astray: list[tuple[dict[str, Any], dict[str, Any]]] = []
        """Events of heads that are not the seal that stands before them, and that seal."""
        self._newest: dict[str, dict[str, Any]] = {}
        self.deleted: set[str] = set()
        """Files that retention has deleted, and others that are known to be elsewhere."""
        self.losses: dict[Run, list[Range]] = {}
        """Records that are in no file, and of which the service has said so."""
        self.blind: dict[str, int] = {}
        """How many times each metric was not polled for a while."""
        self.written: dict[Run, int] = {}
        """The last seq of each run that is in the files, as its polls say."""

    def hear(self, segments: Iterable[Segment]) -> None:
        """Take the events of these segments, oldest first; a segment that can't be read says nothing."""
        for each in segments:
            last_polls: dict[bytes, bytes] = {}
            with contextlib.suppress(OSError), each.open() as segment:
                for lines in iter(lambda: segment.readlines(_CHUNK), []):
                    for line in lines:
                        if _POLL in line:
                            if b'"last_seq":null' not in line:
                                at = line.find(b'"target_run_id":"')
                                last_polls[line[at : line.find(b",", at)]] = line
                        elif any(kind in line for kind in _KINDS):
                            self._take(line, each.name)
            for line in last_polls.values():
                self._take(line, each.name)

    def _take(self, line: bytes, file: str) -> None:
        try:
            event = _decode(line)
            whole = msgspec.json.decode(line) if event.event in ("segment_sealed", "chain_head") else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        run, ends = (event.target, event.target_run_id), event.first_seq is not None and event.last_seq is not None
        if whole:
            self.places[event.run_id, event.seq] = file
        if event.event == "chain_head":
            newest = self._newest.get(event.target)
            # Without one, it has gone with retention.
            if newest is not None and whole.get("head") != digest(newest):
                self.astray.append((newest, whole))
        elif event.event == "segment_sealed" and event.file and ends:
            self.seals.append(whole)
            self._newest[stream_of(event.file)] = whole
        elif event.event == "segment_deleted":
            self.deleted.add(event.file)
        elif event.event == "poll" and event.last_seq is not None:
            self.written[run] = max(event.last_seq, self.written.get(run, 0))
        elif event.event == "gap" and ends:
            self.losses.setdefault(run, []).append((event.first_seq or 0, event.last_seq or 0))
        elif event.event == "gap":
            self.blind[event.target] = self.blind.get(event.target, 0) + 1

    def gone(self, stream: str, present: Iterable[str]) -> list[Range]:
        """Return the seq of the stream's segments that are not `present`, whatever became of them.

        That is any seq when retention has deleted a segment without a seal: nobody can say what was in it.
        """
        there = set(present)
        seals = {seal["file"]: seal for seal in self.seals if stream_of(seal["file"]) == stream}
        if any(stream_of(file) == stream and file not in seals for file in self.deleted):
            return [(0, sys.maxsize)]
        return [(seal["first_seq"], seal["last_seq"]) for file, seal in seals.items() if file not in there]


def untold(first: int, last: int, told: Iterable[Range]) -> list[Range]:
    """Return the parts of `first` to `last` that no range of `told` covers."""
    left: list[Range] = []
    for start, end in sorted(told):
        if start > last:
            break
        if start > first:
            left.append((first, start - 1))
        first = max(first, end + 1)
    return [*left, (first, last)] if first <= last else left
