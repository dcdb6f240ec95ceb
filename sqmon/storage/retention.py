"""Retention: which sealed segments are compressed, and which are deleted since they exceed the limits.

Those come first whose lines are known to be elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from sqmon.storage.agent_positions import Positions
from sqmon.storage.inventory import Candidate, entries, informed, take_stock
from sqmon.storage.knowledge import Knowledge, Unread
from sqmon.storage.segment_names import ARCHIVE, archive_of

_PRESSURE = 0.9  # of the limits, from which on segments are compressed for want of room
_LIFETIME_MARGIN_NS = 3600 * 10**9


@dataclass(frozen=True)
class RetentionLimits:
    """How long segments are kept and how much room all metrics together may take; a floor of 0 is none."""

    max_age_s: float = 7 * 24 * 3600.0
    max_bytes: int = 2 * 1024**3
    min_free_bytes: int = 0


class Deleted(NamedTuple):
    """A segment that is gone; `file` is relative to the log directory, `reason` one of age, size, free_space."""

    file: str
    bytes: int
    reason: str
    knowledge: Knowledge
    unread_bytes: int  # at its end, that the agent isn't known to have read
    unread: Optional[Unread]  # None when there is not one whole record among them
    archive: str = ""
    """The archive that it was, relative to the log directory."""


def enforce(
    log_dir: Path,
    limits: RetentionLimits,
    *,
    active: Collection[Path],
    now_ns: int,
    positions: Optional[Positions] = None,
    proved: Collection[Path] = (),
    compressible: Optional[Callable[[str], bool]] = None,
) -> list[Deleted]:
    """Delete what exceeds the limits and say what it was; raises nothing for a file that can't be deleted.

    The order is that of Knowledge, and within it the oldest first. Age deletes nothing of which nothing is known; size
    and free space do, last of all, and only once no segment is left that is `compressible`. Without `positions` every
    segment counts as read, since nobody is known to read them; a positions file that can't be read is NOTHING_KNOWN.
    `proved` are segments whose lines were seen in Loki.

    Never deleted are the `active` segments, the newest segment of a metric while it isn't too old, which may be active
    without anybody knowing yet, and whatever isn't a segment in its own metric's directory or an archive in its place;
    links are neither followed nor deleted.
    """
    stock = take_stock(log_dir, active=active, positions=positions, proved=proved)
    total, candidates = stock.total, stock.candidates
    free = _free_bytes(log_dir) if limits.min_free_bytes else 0
    is_full = total > limits.max_bytes or free < limits.min_free_bytes
    if is_full and compressible is not None:
        is_full = not any(not each.archived and compressible(each.file) for each in candidates)
    oldest_ns = now_ns - int(limits.max_age_s * 10**9)
    if not is_full:
        candidates = [each for each in candidates if each.modified_ns < oldest_ns]
    if positions is not None:
        candidates = [informed(each) for each in candidates]
    deleted: list[Deleted] = []
    for each in sorted(candidates, key=lambda each: (each.knowledge, each.made, each.number)):
        # Free space is counted, not asked for again: a file that an agent holds open stays on the disk for a while,
        # and asking would delete one after the other.
        reason = "size" if total > limits.max_bytes else "free_space" if free < limits.min_free_bytes else ""
        if each.modified_ns < oldest_ns and each.knowledge is not Knowledge.UNKNOWN:
            reason = "age"
        elif each.newest or not is_full or not reason:
            continue
        unread = each.unread()
        if not _removed(each):
            continue
        total -= each.size
        free += each.size
        archive = str(Path(ARCHIVE, each.file).parent / each.path.name) if each.archived else ""
        deleted.append(Deleted(each.file, each.size, reason, each.knowledge, each.unread_bytes, unread, archive))
    return deleted


def _removed(segment: Candidate) -> bool:
    try:
        segment.path.unlink()
    except OSError:
        return False
    if not segment.archived:
        with contextlib.suppress(OSError):  # of a process that was killed before it could remove the segment
            archive_of(segment.path).unlink()
    return True


def to_compress(
    log_dir: Path,
    limits: RetentionLimits,
    *,
    active: Collection[Path],
    now_ns: int,
    positions: Optional[Positions],
    compressible: Callable[[str], bool],
    after_s: float,
    proved: Collection[Path] = (),
) -> list[Candidate]:
    """Return the segments that are to be compressed now, the oldest first.

    Those are the ones that were last written `after_s` ago (0 is all of them), those that are `proved`, those that the
    agent has read or, as far as can be known, will have read by now, and when room is short those that `enforce` would
    delete next.
    """
    stock = take_stock(log_dir, active=active, positions=positions, proved=proved)
    short = stock.total - _PRESSURE * limits.max_bytes
    if limits.min_free_bytes:
        short = max(short, limits.min_free_bytes / _PRESSURE - _free_bytes(log_dir))
    found = []
    for each in sorted(stock.candidates, key=lambda each: (each.knowledge, each.made, each.number)):
        if each.archived or not compressible(each.file):
            continue
        known = each.knowledge is Knowledge.PROVED or (positions is not None and each.knowledge <= Knowledge.BEGUN)
        if known or after_s <= 0 or now_ns - each.modified_ns >= after_s * 10**9 or short > 0:
            found.append(each)
            short -= each.size
    return sorted(found, key=lambda each: (each.made, each.number))


def active_segments(log_dir: Path, *, now_ns: int, lifetime_s: float) -> list[Path]:
    """Return the segments that may still be written, as the links in `current` have it.

    A link outlives a writer that was killed. A segment is sealed `lifetime_s` after it was opened at the latest, so one
    that was last written longer ago has no writer any more.
    """
    found = []
    for link in entries(log_dir / "current"):
        try:
            modified_ns = Path(link.path).stat().st_mtime_ns
        except OSError:
            continue
        if now_ns - modified_ns <= lifetime_s * 10**9 + _LIFETIME_MARGIN_NS:
            found.append(Path(os.path.realpath(link.path)))
    return found


def last_written_ns(log_dir: Path) -> int:
    """Return when a segment was last written, in nanoseconds since 1970; 0 when there is none."""
    stock = take_stock(log_dir, active=(), positions=None, proved=())
    return max((each.modified_ns for each in stock.candidates), default=0)


def _free_bytes(path: Path) -> int:
    try:
        status = os.statvfs(path)
    except OSError:
        return 1 << 62
    return status.f_bavail * status.f_frsize
