"""Where the records of a place come from, as Loki names it."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import NamedTuple, Optional

import msgspec

from sqmon.storage.source import Source

_EVENTS = "sqmon"
_START = b'"event":"start"'
_CHUNK = 1 << 20


class Origin(NamedTuple):
    """Cluster and host, as the agent's configuration names them, and the directory in which the agent finds the segments."""

    cluster: str
    instance: str
    log_dir: str


class Start(msgspec.Struct):
    """The event with which a service begins, as far as it tells where."""

    event: str = ""
    cluster: Optional[str] = None
    log: str = ""
    metrics_file: Optional[str] = None


def newest_start(source: Source) -> Start:
    """Return the event with which the newest service began, an empty one when there is none."""
    for segment in reversed(source.segments(_EVENTS) if _EVENTS in source.streams() else []):
        found = Start()
        with contextlib.suppress(OSError), segment.open() as file:
            for lines in iter(lambda file=file: file.readlines(_CHUNK), []):  # type: ignore[misc]
                for line in lines:
                    if _START in line:
                        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                            told = msgspec.json.decode(line, type=Start)
                            found = told if told.event == "start" else found
        if found.event:
            return found
    return Start()


def origin_of(start: Start, path: Path, *, cluster: str = "", instance: str = "") -> Origin:
    """Return where the records at `path` come from; what is given counts, then what the service said, then what the agent assumes."""
    return Origin(cluster or start.cluster or "default", instance or socket.gethostname(), start.log or str(path.absolute()))
