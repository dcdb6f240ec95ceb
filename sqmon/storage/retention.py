"""Retention: deletes the sealed segments that exceed the limits, those first whose lines are known to be elsewhere."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional

from sqmon.records.encoder import MAX_LINE
from sqmon.storage.agent_positions import Positions
from sqmon.storage.segment_names import SegmentName, parsed

_SETTLED_NS = 600 * 10**9  # in which a running agent reads a segment that it has begun to its end, unless Loki is down
_LIFETIME_MARGIN_NS = 3600 * 10**9


@dataclass(frozen=True)
class RetentionLimits:
    """How long segments are kept and how much room all metrics together may take; a floor of 0 is none."""

    max_age_s: float = 7 * 24 * 3600.0
    max_bytes: int = 2 * 1024**3
    min_free_bytes: int = 0


class Knowledge(enum.IntEnum):
    """What is known of a segment's way to Loki, in the order in which segments are given up."""

    PROVED = 0  # its lines were seen in Loki
    READ = 1  # the agent has read it to its end
    BEGUN = 2  # the agent has begun to read it, and was still running ten minutes after its last line
    UNKNOWN = 3


class Unread(NamedTuple):
    """Records that the agent isn't known to have read; `since` and `until` are the `ts` of the first and the last."""

    metric: str
    run_id: str
    since: str
    until: str
    first_seq: int
    last_seq: int


class Deleted(NamedTuple):
    """A segment that is gone; `file` is relative to the log directory, `reason` one of age, size, free_space."""

    file: str
    bytes: int
    reason: str
    knowledge: Knowledge
    unread_bytes: int  # at its end, that the agent isn't known to have read
    unread: Optional[Unread]  # None when there is not one whole record among them


class _Candidate(NamedTuple):
    knowledge: Knowledge
    made: int
    number: int
    metric: str
    path: Path
    size: int
    modified_ns: int
    read_bytes: int
    newest: bool


def enforce(
    log_dir: Path,
    limits: RetentionLimits,
    *,
    active: Collection[Path],
    now_ns: int,
    positions: Optional[Positions] = None,
    proved: Collection[Path] = (),
) -> list[Deleted]:
    """Delete what exceeds the limits and say what it was; raises nothing for a file that can't be deleted.

    The order is that of Knowledge, and within it the oldest first. Age deletes nothing of which nothing is known; size
    and free space do, last of all. Without `positions` every segment counts as read, since nobody is known to read
    them; a positions file that can't be read is NOTHING_KNOWN. `proved` are segments whose lines were seen in Loki.

    Never deleted are the `active` segments, the newest segment of a metric while it isn't too old, which may be active
    without anybody knowing yet, and whatever isn't a segment in its own metric's directory; links are neither followed
    nor deleted.
    """
    candidates, total = _candidates(log_dir, active, positions, {os.path.realpath(path) for path in proved})
    free = _free_bytes(log_dir) if limits.min_free_bytes else 0
    deleted: list[Deleted] = []
    for each in sorted(candidates, key=lambda each: (each.knowledge, each.made, each.number)):
        # Free space is counted, not asked for again: a file that an agent holds open stays on the disk for a while,
        # and asking would delete one after the other.
        if now_ns - each.modified_ns > limits.max_age_s * 10**9 and each.knowledge is not Knowledge.UNKNOWN:
            reason = "age"
        elif each.newest:
            continue
        elif total > limits.max_bytes:
            reason = "size"
        elif free < limits.min_free_bytes:
            reason = "free_space"
        else:
            continue
        is_read = each.knowledge <= Knowledge.READ
        unread = None if is_read else _unread(each)
        try:
            each.path.unlink()
        except OSError:
            continue
        total -= each.size
        free += each.size
        unread_bytes = 0 if is_read else each.size - each.read_bytes
        deleted.append(Deleted(f"{each.metric}/{each.path.name}", each.size, reason, each.knowledge, unread_bytes, unread))
    return deleted


def active_segments(log_dir: Path, *, now_ns: int, lifetime_s: float) -> list[Path]:
    """Return the segments that may still be written, as the links in `current` have it.

    A link outlives a writer that was killed. A segment is sealed `lifetime_s` after it was opened at the latest, so one
    that was last written longer ago has no writer any more.
    """
    found = []
    for link in _entries(log_dir / "current"):
        try:
            modified_ns = Path(link.path).stat().st_mtime_ns
        except OSError:
            continue
        if now_ns - modified_ns <= lifetime_s * 10**9 + _LIFETIME_MARGIN_NS:
            found.append(Path(os.path.realpath(link.path)))
    return found


def last_written_ns(log_dir: Path) -> int:
    """Return when a segment was last written, in nanoseconds since 1970; 0 when there is none."""
    candidates, _ = _candidates(log_dir, (), None, ())
    return max((each.modified_ns for each in candidates), default=0)


def _candidates(
    log_dir: Path, active: Collection[Path], positions: Optional[Positions], proved: Collection[str]
) -> tuple[list[_Candidate], int]:
    """All segments that may be deleted, and the bytes of all segments."""
    kept = {os.path.realpath(path) for path in active}
    found: list[_Candidate] = []
    total = 0
    for directory in _entries(log_dir):
        if not directory.is_dir(follow_symlinks=False):
            continue
        segments: list[tuple[SegmentName, os.DirEntry[str]]] = []
        for entry in _entries(Path(directory.path)):
            name = parsed(directory.name, entry.name)
            if name is not None and entry.is_file(follow_symlinks=False):
                segments.append((name, entry))
        segments.sort(key=lambda each: each[0], reverse=True)
        # A segment is no younger than those that were written after it, whatever the clock said when it was made.
        made = modified_ns = 1 << 63
        for place, (name, entry) in enumerate(segments):
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            total += status.st_size
            made, modified_ns = min(made, name.microseconds), min(modified_ns, status.st_mtime_ns)
            real = os.path.realpath(entry.path)
            if real in kept:
                continue
            path = Path(entry.path)
            read = min(status.st_size, _read_bytes(positions, path, real)) if positions else status.st_size
            knowledge = Knowledge.PROVED if real in proved else _knowledge(path, read, status, positions)
            found.append(_Candidate(knowledge, made, name.number, directory.name, path, status.st_size, modified_ns, read, not place))
    return found, total


def _read_bytes(positions: Positions, path: Path, real: str) -> int:
    return max(positions.offsets.get(each, 0) for each in (path, path.absolute(), Path(real)))


def _knowledge(path: Path, read: int, status: os.stat_result, positions: Optional[Positions]) -> Knowledge:
    if positions is None or not _has_line(path, read, status.st_size):
        return Knowledge.READ
    if read and positions.written_ns - status.st_mtime_ns > _SETTLED_NS:
        return Knowledge.BEGUN
    return Knowledge.UNKNOWN


def _has_line(path: Path, start: int, size: int) -> bool:
    """Whether a whole line follows: half a line, left by a kill, is never read by anybody."""
    if start >= size or size - start > MAX_LINE:
        return start < size
    try:
        with path.open("rb") as file:
            file.seek(start)
            return b"\n" in file.read()
    except OSError:
        return True


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:
        return []


def _free_bytes(path: Path) -> int:
    try:
        status = os.statvfs(path)
    except OSError:
        return 1 << 62
    return status.f_bavail * status.f_frsize


def _unread(segment: _Candidate) -> Optional[Unread]:
    """The records from the agent's position to the end; None when there is not one whole line."""
    try:
        with segment.path.open("rb") as file:
            file.seek(max(0, segment.read_bytes - 1))
            if segment.read_bytes:
                file.readline(MAX_LINE + 1)  # to the end of the line that it was in
            first = file.readline(MAX_LINE + 1)
            file.seek(max(file.tell() - len(first), segment.size - 2 * MAX_LINE))
            last = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
        return _between(segment.metric, json.loads(first), json.loads(last))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _between(metric: str, first: dict[str, Any], last: dict[str, Any]) -> Unread:
    return Unread(metric, first["run_id"], first["ts"], last["ts"], first["seq"], last["seq"])
