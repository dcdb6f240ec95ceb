"""The room that a log directory takes, how fast it grows, and when retention will begin to delete for that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Optional, Protocol

from sqmon.storage.agent_positions import Positions
from sqmon.storage.archive import card_in
from sqmon.storage.inventory import Candidate, take_stock

_DAY_NS = 86400 * 10**9


class Usage(NamedTuple):
    """What is known from names, sizes and times of files; no segment is read."""

    segments: int
    segment_bytes: int
    archives: int
    archive_bytes: int
    oldest_ns: Optional[int]
    """When the oldest segment was made, in nanoseconds since 1970; None where there is none."""
    bytes_per_day: float
    """What was written in the last day, or since the oldest segment was made, as records and not compressed."""
    compressed_ratio: float
    """The size of an archive by that of its segment, for those of the last day; 1.0 where there is none."""
    unread_bytes: Optional[int]
    """Of segments, that the agent is not known to have read; None where nothing is known of it."""
    unread_since_ns: Optional[int]
    """When the oldest segment was made that it is not known to have read."""


class Forecast(NamedTuple):
    """When retention will begin to delete."""

    reason: str
    """age, size or free_space: which of the limits is met first."""
    seconds: float
    """From now on; 0 when it deletes already."""


def usage_of(log_dir: Path, positions: Optional[Positions], *, now_ns: int) -> Usage:
    """Look at the files of a directory."""
    candidates = take_stock(log_dir, active=(), positions=positions, proved=()).candidates
    plain, archived = ([each for each in candidates if each.archived is archive] for archive in (False, True))
    since_ns = max(now_ns - _DAY_NS, min((each.made * 1000 for each in candidates), default=now_ns))
    written = packed = unpacked = 0.0
    for each in candidates:
        share = _share_since(each, since_ns)
        if share and each.archived:
            size = _unpacked(each)
            written, packed, unpacked = written + share * size, packed + each.size, unpacked + size
        else:
            written += share * each.size
    unread = [each for each in plain if each.unread_bytes]
    return Usage(
        segments=len(plain),
        segment_bytes=sum(each.size for each in plain),
        archives=len(archived),
        archive_bytes=sum(each.size for each in archived),
        oldest_ns=min((each.made * 1000 for each in candidates), default=None),
        bytes_per_day=written * _DAY_NS / max(now_ns - since_ns, 10**9),
        compressed_ratio=packed / unpacked if unpacked else 1.0,
        unread_bytes=None if positions is None else sum(each.unread_bytes for each in unread),
        unread_since_ns=min((each.made * 1000 for each in unread), default=None),
    )


class Limits(Protocol):
    """What retention is told."""

    @property
    def seconds(self) -> float:
        """How long segments are kept."""

    @property
    def bytes(self) -> int:
        """How much room they may take."""

    @property
    def min_free_bytes(self) -> int:
        """How much must stay free."""

    @property
    def compress(self) -> bool:
        """Whether sealed segments are compressed."""


def forecast(usage: Usage, retention: Limits, *, free_bytes: int, now_ns: int) -> Optional[Forecast]:
    """Return which limit is met first at the rate of the last day, and when; None without segments.

    What can be compressed is compressed before anything is deleted for its size.
    """
    if usage.oldest_ns is None:
        return None
    ratio = usage.compressed_ratio if retention.compress else 1.0
    room = retention.bytes - usage.archive_bytes - usage.segment_bytes * ratio
    found = [Forecast("age", max(0.0, retention.seconds - (now_ns - usage.oldest_ns) / 1e9))]
    per_second = usage.bytes_per_day * ratio / 86400
    if per_second > 0:
        found.append(Forecast("size", max(0.0, room / per_second)))
        if retention.min_free_bytes:
            spare = free_bytes - retention.min_free_bytes + usage.segment_bytes * (1 - ratio)
            found.append(Forecast("free_space", max(0.0, spare / per_second)))
    return min(found, key=lambda each: each.seconds)


def free_bytes(log_dir: Path) -> int:
    """Return how much room the disk has for the service; raises OSError."""
    disk = os.statvfs(log_dir)
    return disk.f_bavail * disk.f_frsize


def _share_since(candidate: Candidate, since_ns: int) -> float:
    """Return which part of a segment was written since then, as if it had been written evenly."""
    began_ns, ended_ns = candidate.made * 1000, candidate.modified_ns
    if ended_ns <= since_ns:
        return 0.0
    return 1.0 if began_ns >= since_ns else (ended_ns - since_ns) / (ended_ns - began_ns)


def _unpacked(candidate: Candidate) -> int:
    try:
        return card_in(candidate.path).bytes
    except OSError:  # of a broken archive nothing is known
        return candidate.size
