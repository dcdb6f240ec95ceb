"""What `sqmon status` says of the files: their room, the oldest record, retention, and what the agent has not read."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional

from sqmon.clock import utc_stamp
from sqmon.config.typed_time import in_words
from sqmon.health.status_file import Status
from sqmon.storage.agent_positions import read_positions
from sqmon.storage.usage import Forecast, Usage, forecast, free_bytes, usage_of
from sqmon.words import counted

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_LIMITS = {"age": "their age", "size": "their size", "free_space": "want of free space"}


class Room(NamedTuple):
    """The files of a directory, and what becomes of them."""

    usage: Usage
    forecast: Optional[Forecast]
    """None where the service doesn't say what its retention is."""
    now_ns: int


def look(log_dir: Path, status: Status) -> Room:
    """Look at the names, sizes and times of the files."""
    now_ns = time.time_ns()
    agent = status.agent
    positions = read_positions(Path(agent.positions)) if agent is not None and agent.positions and not agent.problem else None
    usage = usage_of(log_dir, positions, now_ns=now_ns)
    if status.retention is None:
        return Room(usage, None, now_ns)
    return Room(usage, forecast(usage, status.retention, free_bytes=free_bytes(log_dir), now_ns=now_ns), now_ns)


def sentences(room: Room) -> Iterator[str]:
    """Yield a line for each thing that there is to say."""
    usage = room.usage
    total = usage.segment_bytes + usage.archive_bytes
    parts = [f"{counted(usage.segments, 'segment')} with {in_units(usage.segment_bytes)}"]
    if usage.archives:
        parts.append(f"{counted(usage.archives, 'archive')} with {in_units(usage.archive_bytes)}")
    since = f"; the oldest is from {_local(usage.oldest_ns)}" if usage.oldest_ns is not None else ""
    yield f"Files: {in_units(total)} ({', '.join(parts)}){since}"
    if room.forecast is not None:
        rate = in_units(usage.bytes_per_day) + (f" (compressed to {usage.compressed_ratio:.1%})" if usage.archives else "")
        limit = _LIMITS[room.forecast.reason]
        if room.forecast.seconds < 1:
            yield f"Retention deletes segments for {limit} already; {rate} were written in the last day"
        else:
            yield f"At the rate of the last day, {rate}, retention deletes segments for {limit} in about {in_words(room.forecast.seconds)}"
    if usage.unread_bytes:
        since = f", from {_local(usage.unread_since_ns)} on" if usage.unread_since_ns is not None else ""
        yield f"The agent is not known to have read {in_units(usage.unread_bytes)}{since}"
    elif usage.unread_bytes == 0:
        yield "The agent has read everything"


def as_json(room: Room) -> dict[str, Any]:
    """Return the same for programs: bytes, seconds, and times in UTC."""
    usage = room.usage
    return {
        "segments": usage.segments,
        "segment_bytes": usage.segment_bytes,
        "archives": usage.archives,
        "archive_bytes": usage.archive_bytes,
        "oldest": None if usage.oldest_ns is None else utc_stamp(usage.oldest_ns),
        "bytes_per_day": round(usage.bytes_per_day),
        "unread_bytes": usage.unread_bytes,
        "unread_since": None if usage.unread_since_ns is None else utc_stamp(usage.unread_since_ns),
        "retention_in_s": None if room.forecast is None else round(room.forecast.seconds),
        "retention_reason": None if room.forecast is None else room.forecast.reason,
    }


def in_units(size: float) -> str:
    """Return a number of bytes in the largest unit of which there is at least one."""
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004 - of the next unit
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"  # noqa: PLR2004 - three digits
        size /= 1024
    raise AssertionError


def _local(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns / 1e9, dt.timezone.utc).astimezone():%Y-%m-%d %H:%M:%S %Z}"
