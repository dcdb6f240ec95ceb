"""The names of segments: `<metric>-<UTC stamp>-<number>.jsonl`, unique within their directory.

The number gives the order in which the segments of a metric were written. So does the stamp, unless the clock was set back
in between: then a later segment has an earlier stamp, which is the true one.

A segment that has been compressed keeps its name, in a directory of its own: `archive/<metric>/<name>.zst`. Everywhere
else it is known by the path that it was written under, whatever its form is now.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path
from typing import Iterable, NamedTuple, Optional

from sqmon.clock import STEP_NS

ARCHIVE = "archive"
"""The directory of the archives in the log directory."""
ARCHIVED = ".zst"
"""What an archive's name adds to that of its segment."""

_NAME = re.compile(r"([a-z][a-z0-9_]*)-([0-9]{8}T[0-9]{6}\.[0-9]{6})Z-([0-9]{6,})\.jsonl", re.ASCII)
_STAMP = "%Y%m%dT%H%M%S.%f"
_PARTS = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15), (16, 22))
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


class SegmentName(NamedTuple):
    """The contents of a name; names sort in the order in which the segments of one metric were written."""

    number: int
    """Higher than that of every segment that existed when this one was created."""
    microseconds: int
    """When the segment was created, since 1970 UTC."""

    def text(self, metric: str) -> str:
        """Return the file name."""
        return f"{metric}-{_EPOCH + dt.timedelta(microseconds=self.microseconds):{_STAMP}}Z-{self.number:06d}.jsonl"

    def following(self, now_ns: int) -> SegmentName:
        """Return the name of a segment that is created now, after this one."""
        later = self.microseconds + 1
        now = now_ns // 1000
        return SegmentName(self.number + 1, now if later - now > STEP_NS // 1000 else max(now, later))


NO_SEGMENT = SegmentName(0, 0)


def parsed(metric: str, name: str) -> Optional[SegmentName]:
    """Return the contents of `name` if it is exactly the name of a segment of `metric`, else None."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != metric:
        return None
    try:
        # Ten times as fast as strptime, for a sweep of some thousand names.
        year, month, day, hour, minute, second, fraction = (int(match[2][start:end]) for start, end in _PARTS)
        moment = dt.datetime(year, month, day, hour, minute, second, fraction, dt.timezone.utc)
    except ValueError:
        return None
    return SegmentName(int(match[3]), (moment - _EPOCH) // dt.timedelta(microseconds=1))


def in_order(metric: str, names: Iterable[str]) -> list[str]:
    """Return the names that have the form of a segment of `metric`, in the order in which the segments were written."""
    matches = (match for match in map(_NAME.fullmatch, names) if match is not None and match[1] == metric)
    # Stamps are compared as text, because parsing 100,000 of them takes a second.
    return [match[0] for match in sorted(matches, key=lambda match: (int(match[3]), match[2]))]


def newest(directory: Path, metric: str) -> SegmentName:
    """Return the name of the newest segment, NO_SEGMENT if there is none; raises OSError."""
    names = reversed(in_order(metric, (entry.name for entry in directory.iterdir())))
    return next(filter(None, (parsed(metric, name) for name in names)), NO_SEGMENT)


def newest_archived(log_dir: Path, metric: str) -> SegmentName:
    """Return the name of the newest segment that has been compressed, NO_SEGMENT if there is none."""
    names = reversed(in_order(metric, _archived(log_dir / ARCHIVE / metric)))
    return next(filter(None, (parsed(metric, name) for name in names)), NO_SEGMENT)


def archive_of(segment: Path) -> Path:
    """Return the path of the archive of a segment."""
    return segment.parent.parent / ARCHIVE / segment.parent.name / f"{segment.name}{ARCHIVED}"


def stored(log_dir: Path, metric: str, *, archived: bool = True) -> list[str]:
    """Return the names of the segments of one stream in the order in which they were written, those that are `archived` among them."""
    names = set(_files(log_dir / metric))
    return in_order(metric, names.union(_archived(log_dir / ARCHIVE / metric)) if archived else names)


def all_segments(log_dir: Path, *, archived: bool = True) -> dict[str, list[str]]:
    """Return the names of the segments of every stream of the directory, in the order in which they were written."""
    streams = _directories(log_dir)
    if archived:
        streams |= _directories(log_dir / ARCHIVE)
    found = {stream: stored(log_dir, stream, archived=archived) for stream in sorted(streams)}
    return {stream: names for stream, names in found.items() if names}


def _directories(path: Path) -> set[str]:
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except OSError:
        return set()


def _archived(directory: Path) -> list[str]:
    return [name[: -len(ARCHIVED)] for name in _files(directory) if name.endswith(ARCHIVED)]


def _files(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            # To open a pipe that somebody has put there would wait for ever.
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []
