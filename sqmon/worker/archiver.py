"""The archiver: a process that compresses segments at idle priority and ends when it has done so."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import time
from pathlib import Path

from sqmon.errors import reason_of
from sqmon.ipc.archiving import Busy, Compressed, Finished, Left, Report, encode
from sqmon.storage.compression import AlteredError, Source, compress, remove_partial

_BEAT_SECONDS = 1.0
_NICE = 19
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}  # the next segment would meet them, too


def main(log_dir: Path, sources: list[Source], pipe: socket.socket) -> None:
    """Compress the segments one after the other, and report each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    give_way()
    _Archiver(log_dir, pipe).work_off(sources)


def give_way() -> None:
    """Let this process run, and use the disk, only when nobody else wants to."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError):
        # The kernel derives the priority for the disk from that, which is idle as well.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class _Archiver:
    def __init__(self, log_dir: Path, pipe: socket.socket) -> None:
        self._log_dir = log_dir
        self._pipe = pipe
        self._next_beat = 0.0

    def work_off(self, sources: list[Source]) -> None:
        remove_partial(self._log_dir)
        self._sync_events()
        for source in sources:
            if not self._compress(source):
                break
        self._report(Finished())

    def _sync_events(self) -> None:
        """Have the seals on the disk before what they vouch for is replaced: they can't be made again from an archive."""
        with contextlib.suppress(OSError), (self._log_dir / "current" / "sqmon").open("rb") as segment:
            os.fsync(segment.fileno())

    def _compress(self, source: Source) -> bool:
        """Compress one segment; return whether it makes sense to go on with the next."""
        try:
            size = compress(self._log_dir, source, self._beat)
        except FileNotFoundError:  # retention has deleted it meanwhile
            return True
        except AlteredError:
            self._report(Left(source.file, "it is not what was sealed", for_good=True))
            return True
        except OSError as error:
            self._report(Left(source.file, reason_of(error), for_good=False))
            return error.errno not in _DISK_ERRORS
        self._report(Compressed(source.file, size))
        return True

    def _beat(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + _BEAT_SECONDS
            self._report(Busy())

    def _report(self, report: Report) -> None:
        self._pipe.send(encode(report))
