"""Which sealed segments have to go: the oldest first, and those that the agent hasn't read last."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional

from sqmon.records.encoder import MAX_LINE
from sqmon.storage.segment_names import SegmentName, parsed


@dataclass(frozen=True)
class RetentionLimits:
    """How long segments are kept and how much room all metrics together may take; a floor of 0 is none."""

    max_age_s: float = 7 * 24 * 3600.0
    max_bytes: int = 2 * 1024**3
    min_free_bytes: int = 0


class Missed(NamedTuple):
    """Records that were deleted before the agent has read them; `since` and `until` are their first and last `ts`."""

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
    missed: Optional[Missed]


class _Candidate(NamedTuple):
    unread: bool
    name: SegmentName
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
    positions: Optional[Mapping[Path, int]] = None,
) -> list[Deleted]:
    """Delete what exceeds the limits and say what it was; raises nothing for a file that can't be deleted.

    Age deletes what has been read (everything, when `positions` is None). Size and free space delete the oldest, what
    has been read before what hasn't. Never deleted are the `active` segments, the newest segment of a metric while it
    isn't too old, which may be active without anybody knowing yet, and whatever isn't a segment in its own metric's
    directory; links are neither followed nor deleted. Who has been given a positions file that can't be read passes an
    empty mapping: then nothing counts as read, and what had to go is reported as missed.
    """
    candidates, total = _candidates(log_dir, active, positions)
    free = _free_bytes(log_dir) if limits.min_free_bytes else 0
    deleted: list[Deleted] = []
    for each in sorted(candidates, key=lambda each: (each.unread, each.name.microseconds, each.name.number)):
        # Free space is counted, not asked for again: a file that an agent holds open stays on the disk for a while,
        # and asking would delete one after the other.
        if now_ns - each.modified_ns > limits.max_age_s * 10**9 and not each.unread:
            reason = "age"
        elif each.newest:
            continue
        elif total > limits.max_bytes:
            reason = "size"
        elif free < limits.min_free_bytes:
            reason = "free_space"
        else:
            continue
        missed = _missed(each) if each.unread else None
        try:
            each.path.unlink()
        except OSError:
            continue
        total -= each.size
        free += each.size
        deleted.append(Deleted(f"{each.metric}/{each.path.name}", each.size, reason, missed))
    return deleted


def _candidates(log_dir: Path, active: Collection[Path], positions: Optional[Mapping[Path, int]]) -> tuple[list[_Candidate], int]:
    """All segments that may be deleted, and the bytes of all segments."""
    kept = {os.path.realpath(path) for path in active}
    found: list[_Candidate] = []
    total = 0
    for directory in _entries(log_dir):
        if not directory.is_dir(follow_symlinks=False):
            continue
        segments = []
        for entry in _entries(Path(directory.path)):
            name = parsed(directory.name, entry.name)
            if name is not None and entry.is_file(follow_symlinks=False):
                segments.append((name, entry))
        newest = max((name for name, _ in segments), default=None)
        for name, entry in segments:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            total += status.st_size
            real = os.path.realpath(entry.path)
            if real in kept:
                continue
            read = status.st_size
            if positions is not None:
                read = max(positions.get(Path(path), 0) for path in (entry.path, Path(entry.path).absolute(), real))
            found.append(
                _Candidate(
                    _is_unread(entry.path, read, status.st_size),
                    name,
                    directory.name,
                    Path(entry.path),
                    status.st_size,
                    status.st_mtime_ns,
                    read,
                    name == newest,
                )
            )
    return found, total


def _is_unread(path: str, read: int, size: int) -> bool:
    """Whether a whole line follows: half a line, left by a kill, is never read by anybody."""
    if read >= size or size - read > MAX_LINE:
        return read < size
    try:
        with Path(path).open("rb") as file:
            file.seek(read)
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


def _missed(segment: _Candidate) -> Optional[Missed]:
    """The records from where the agent has stopped to the end; None when there is not one whole line."""
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


def _between(metric: str, first: dict[str, Any], last: dict[str, Any]) -> Missed:
    return Missed(metric, first["run_id"], first["ts"], last["ts"], first["seq"], last["seq"])
