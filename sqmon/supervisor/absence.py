"""The time before this service started in which nothing was polled, according to the events of earlier services."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Collection, Iterable, NamedTuple, Optional

import msgspec

from sqmon.clock import Clock, stamp_ns
from sqmon.storage.look_back import BackwardReader

LOOK_BACK_BYTES = 4 * 1024 * 1024
"""How much of the newest events is read: some hours of them, in less than a tenth of a second."""

_GOOD = ("ok", "empty")


class Absence(NamedTuple):
    """Since when a metric has not been seen, why, and the `run_id` of the worker that saw it last."""

    since_ns: int
    reason: str
    run_id: str


class LookBack(NamedTuple):
    """What is known of the time before the start."""

    absences: dict[str, Absence]
    """By metric. A metric that was never polled, or was taken out of the metrics file, has none."""
    unknown: list[str]
    """The metrics of which nothing was found although there is more to read."""
    read_back_to: str
    """The `ts` of the oldest event that was read, "" without one."""


class _Event(msgspec.Struct):
    """What matters here of an event; the names are those of the `sqmon` stream."""

    ts: str
    run_id: str
    metric: str
    event: str = ""
    target: str = ""
    target_run_id: str = ""
    status: str = ""
    until: str = ""
    first_seq: Optional[int] = None
    removed: str = ""


_decode = msgspec.json.Decoder(_Event).decode


def booted_ns(clock: Clock) -> int:
    """Return when this host was started, in nanoseconds since 1970."""
    return clock.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def look_back(files: Iterable[Path], metrics: Collection[str], *, host_booted_ns: int, max_bytes: int = LOOK_BACK_BYTES) -> LookBack:
    """Find out since when each of `metrics` has not been seen, from files that hold the `sqmon` stream and are given newest first.

    A metric was seen last at the end of its last good poll, or of a gap that has been told already. It has not been seen since
    because the service of that time was stopped (it has written `stop`), was killed, or went down with its host.
    """
    wanted = set(metrics)
    absences: dict[str, Absence] = {}
    stopped: set[str] = set()  # runs of the service
    last: dict[str, str] = {}  # the `ts` of the last event of each run of the service
    oldest = ""
    reader = BackwardReader(files, max_bytes=max_bytes, brief=True)
    for line in reader:
        event = _parsed(line)
        if event is None:
            continue
        oldest = event.ts
        last.setdefault(event.run_id, event.ts)
        if event.event == "stop":
            stopped.add(event.run_id)
        elif event.event == "config_reloaded":
            wanted.difference_update(event.removed.split(", "))
        elif event.target in wanted:
            seen_ns = _seen_ns(event)
            if seen_ns is not None:
                wanted.discard(event.target)
                if event.run_id in stopped:
                    reason = "stopped"
                else:
                    reason = "host was down" if stamp_ns(last[event.run_id]) < host_booted_ns else "killed"
                absences[event.target] = Absence(seen_ns, reason, event.target_run_id)
        if not wanted:
            break
    return LookBack(absences, [] if reader.complete else sorted(wanted), oldest)


def _parsed(line: bytes) -> Optional[_Event]:
    """Return the event of a line; None for what is none, as the records that share a single file with the events."""
    if b'"metric":"sqmon"' not in line:
        return None
    try:
        event = _decode(line)
        stamp_ns(event.ts)
    except (msgspec.DecodeError, ValueError):
        return None
    return event if event.metric == "sqmon" else None


def _seen_ns(event: _Event) -> Optional[int]:
    """Return until when the event accounts for its target, None when it says nothing of that."""
    if event.event == "poll" and event.status in _GOOD:
        return stamp_ns(event.ts)
    if event.event == "gap" and event.first_seq is None:  # with seq it tells of records that were lost, not of polls
        with contextlib.suppress(ValueError):
            return stamp_ns(event.until)
    return None
