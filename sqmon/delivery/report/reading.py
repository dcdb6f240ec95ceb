"""The reading of a log directory, or of a bundle, for a report."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Callable, Optional

from sqmon.clock import stamp_ns
from sqmon.delivery.report.gathering import Gathering
from sqmon.errors import SqmonError
from sqmon.lifetimes.directory import Directory
from sqmon.lifetimes.lifetimes import METRICS, Lifetimes
from sqmon.storage.directory_lock import is_locked
from sqmon.storage.file_sources import DirectorySource, source_at


def gathered(
    log_dir: Path, since_ns: Optional[int], until_ns: Optional[int], *, now_ns: int, progress: Callable[[Gathering], None]
) -> Gathering:
    """Return what the files of a service tell of a range of time, which is all that they tell where a bound is None.

    Nothing is read beyond the end of the range. `progress` is called with each event. Raises SqmonError when there is nothing to be read.
    """
    source = source_at(log_dir) if log_dir.is_file() else DirectorySource(log_dir)
    if "sqmon" not in source.streams():
        raise SqmonError(f"{log_dir}: no segments of a service here; give its --log_dir, or a bundle")
    running = source.grows and is_locked(log_dir)
    found, lifetimes, later = Gathering(since_ns), Lifetimes(), False
    try:
        for event, poll in Directory(source, METRICS).read():
            with contextlib.suppress(KeyError, TypeError, ValueError):  # a line that somebody else has written
                later = until_ns is not None and stamp_ns(event["ts"]) > until_ns
                if later:
                    break
                found.hear(event)
            if poll is not None:
                found.saw(poll, lifetimes.take(poll))
            progress(found)
    except OSError as error:
        raise SqmonError(f"{error.filename or log_dir}: {error.strerror or error}; the files must be readable") from None
    if found.first_ns is None:
        raise SqmonError(f"{log_dir}: nothing was written in that time")
    end_ns = until_ns if until_ns is not None else now_ns if running else found.last_ns
    found.close(lifetimes.unfinished(), min(end_ns, now_ns), running=running or later or not source.grows)
    return found
