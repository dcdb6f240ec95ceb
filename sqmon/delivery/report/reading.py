"""The reading of a source for a report."""

from __future__ import annotations

import contextlib
from typing import Callable, Optional

from sqmon.clock import stamp_ns
from sqmon.delivery.report.gathering import Gathering
from sqmon.errors import SqmonError, reason_of
from sqmon.lifetimes.directory import Directory
from sqmon.lifetimes.lifetimes import METRICS, Lifetimes
from sqmon.storage.directory_lock import is_locked
from sqmon.storage.file_sources import DirectorySource
from sqmon.storage.seek import Window
from sqmon.storage.source import MIXED, Source

_EVENTS = "sqmon"
_BEFORE_NS = 36 * 3600 * 10**9  # from which on a range is read, since what goes on at its beginning began before
_AFTER_NS = 600 * 10**9  # after which no event tells of a poll of the range any more


def gathered(
    source: Source, since_ns: Optional[int], until_ns: Optional[int], *, now_ns: int, progress: Callable[[Gathering], None]
) -> Gathering:
    """Return what a source tells of a range of time, which is all that it tells where a bound is None.

    What began more than 36 hours before the range is known from there on. `progress` is called with each event. Raises SqmonError when
    there is nothing to be read.
    """
    if source.streams() != [MIXED] and not source.segments(_EVENTS):
        raise SqmonError(f"{source.name}: has no events of a service, without which nobody knows when it was polled")
    running = isinstance(source, DirectorySource) and is_locked(source.log_dir)
    window = Window(None if since_ns is None else since_ns - _BEFORE_NS, None if until_ns is None else until_ns + _AFTER_NS)
    found, lifetimes, later = Gathering(since_ns), Lifetimes(), False
    try:
        for event, poll in Directory(source, METRICS, window=window).read():
            with contextlib.suppress(KeyError, TypeError, ValueError):  # a line that somebody else has written
                later = until_ns is not None and stamp_ns(event["ts"]) > until_ns
                if later:
                    break
                found.hear(event)
            if poll is not None:
                found.saw(poll, lifetimes.take(poll))
            progress(found)
    except OSError as error:
        raise SqmonError(f"{error.filename or source.name}: {reason_of(error)}; the files must be readable") from None
    if found.first_ns is None:
        raise SqmonError(f"{source.name}: nothing was written in that time")
    end_ns = until_ns if until_ns is not None else now_ns if running else found.last_ns
    # That a service has stopped makes no gap where the range ends with its last word.
    found.close(lifetimes.unfinished(), min(end_ns, now_ns), running=running or later or end_ns == found.last_ns)
    return found
