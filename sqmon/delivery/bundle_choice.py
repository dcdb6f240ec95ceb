"""The segments that go into a bundle: those that reach into its window, and the events that vouch for them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Optional

import msgspec

from sqmon.clock import stamp_ns
from sqmon.delivery.testimony import Testimony
from sqmon.errors import reason_of
from sqmon.records.encoder import MAX_LINE
from sqmon.storage.archive import card_of
from sqmon.storage.bundle_manifest import Omission
from sqmon.storage.file_sources import DirectorySource
from sqmon.storage.look_back import events
from sqmon.storage.segment_names import all_segments, parsed

EVENTS = "sqmon"
_MOST_GAPS = 10_000
_OUTSIDE = "outside the window"


class Window(NamedTuple):
    """A range of time, in nanoseconds since 1970."""

    since_ns: int
    until_ns: int

    def meets(self, began_ns: int, ended_ns: int) -> bool:
        """Whether the two have a moment in common."""
        return began_ns <= self.until_ns and ended_ns >= self.since_ns


class Chosen(NamedTuple):
    """A segment, and what is known of it before it is read."""

    file: str
    bytes: int
    """As they are to be read, uncompressed."""
    began_ns: int
    ended_ns: int
    seal: Optional[Mapping[str, Any]]
    """None while it is written, or where none is kept."""


class Choice(NamedTuple):
    """What is to go into a bundle."""

    segments: list[Chosen]
    """The newest first."""
    omitted: list[Omission]
    testimony: Testimony


class _Ts(msgspec.Struct):
    ts: str


def choose(log_dir: Path, window: Window) -> Choice:
    """Look at all segments of the directory, of which a service may be writing some."""
    # First what is said, then what is there: nobody has spoken yet of a file that is made in between.
    testimony = Testimony()
    testimony.hear(DirectorySource(log_dir).segments(EVENTS))
    seals = {seal["file"]: seal for seal in testimony.seals}
    found, omitted = list[Chosen](), list[Omission]()
    for stream, names in all_segments(log_dir).items():
        for name in names:
            file = f"{stream}/{name}"
            try:
                found.append(_seen(log_dir, stream, name, seals.get(file)))
            except FileNotFoundError:
                omitted.append(_omission(file, "deleted while the bundle was made", seals.get(file)))
            except OSError as error:
                omitted.append(_omission(file, f"can't be read: {reason_of(error)}", seals.get(file)))
    within = {each.file for each in found if window.meets(each.began_ns, each.ended_ns)}
    vouching = {testimony.places[seal["run_id"], seal["seq"]] for seal in testimony.seals if seal["file"] in within}
    chosen = [each for each in found if each.file in within | vouching]
    chosen.sort(key=lambda each: (each.ended_ns, each.began_ns, each.file), reverse=True)
    omitted += [_omission(each.file, _OUTSIDE, each.seal) for each in found if each.file not in within | vouching]
    return Choice(chosen, omitted, testimony)


def omission_of(each: Chosen, reason: str) -> Omission:
    """Return what the manifest says of a segment that is not in the bundle."""
    return _omission(each.file, reason, each.seal, each.bytes)


def _omission(file: str, reason: str, seal: Optional[Mapping[str, Any]], size: int = 0) -> Omission:
    if seal is None:
        return Omission(file=file, reason=reason, bytes=size)
    figures = {key: seal[key] for key in ("bytes", "lines", "first_seq", "last_seq")}
    return Omission(file=file, reason=reason, **figures)


def _seen(log_dir: Path, stream: str, name: str, seal: Optional[Mapping[str, Any]]) -> Chosen:
    path, made = log_dir / stream / name, parsed(stream, name)
    began_ns = made.microseconds * 1000 if made else 0
    try:
        with path.open("rb") as segment:
            status = os.fstat(segment.fileno())
            segment.seek(max(0, status.st_size - 2 * MAX_LINE))
            last, size, ended_ns = segment.read().rpartition(b"\n")[0].rpartition(b"\n")[2], status.st_size, status.st_mtime_ns
    except FileNotFoundError:
        card = card_of(path)
        last, size, ended_ns = card.last_line.encode(), card.bytes, began_ns
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        ended_ns = stamp_ns(msgspec.json.decode(last, type=_Ts).ts)
    return Chosen(f"{stream}/{name}", size, began_ns, ended_ns, seal)


def gaps(log_dir: Path, files: Iterable[str], window: Window) -> Iterator[dict[str, Any]]:
    """Yield the gaps within the window, as the events in these segments of the `sqmon` stream tell of them; at most 10,000."""
    count = 0
    for file in files:
        with contextlib.suppress(OSError):
            for line in events(log_dir / file, "gap"):
                gap = _gap(line)
                if gap is not None and window.meets(*_span(gap)) and count < _MOST_GAPS:
                    count += 1
                    yield gap


def _gap(line: bytes) -> Optional[dict[str, Any]]:
    keys = ("target", "reason", "since", "until", "target_run_id", "first_seq", "last_seq")
    with contextlib.suppress(msgspec.DecodeError):
        event = msgspec.json.decode(line, type=dict[str, Any])
        return {key: event[key] for key in keys if event.get(key) is not None}
    return None


def _span(gap: Mapping[str, Any]) -> tuple[int, int]:
    ends = []
    for key in ("since", "until"):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            ends.append(stamp_ns(gap[key]))
    return min(ends, default=0), max(ends, default=1 << 62)
