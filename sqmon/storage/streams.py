"""The two kinds of output, segments in a directory and a single file, behind one interface."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator, Optional, Protocol

from sqmon.clock import Clock, ClockStep
from sqmon.config.settings import FileOutput, Output, SegmentOutput
from sqmon.records.encoder import Encoder
from sqmon.storage.directory_lock import DirectoryLock
from sqmon.storage.file_check import refuse_unusable
from sqmon.storage.reader import segments
from sqmon.storage.segment import newest_ns
from sqmon.storage.segment_writer import SegmentWriter
from sqmon.storage.single_file import SingleFileWriter, numbered
from sqmon.storage.writer import Dropped, LineWriter, Sealed

# Several seals must fit into a segment of the service's own stream; otherwise each seal would cause another one.
_SMALLEST_SEGMENT = 4096


class Streams(Protocol):
    """Everything that differs between the two kinds of output."""

    @property
    def place(self) -> Path:
        """The directory or file that the service names to people."""
        ...

    @property
    def directory(self) -> Optional[Path]:
        """The directory that belongs to the service, with its lock and status; None for a single file."""
        ...

    @property
    def segments(self) -> Optional[SegmentOutput]:
        """The settings of the segments in that directory; None for a single file."""
        ...

    def reserved(self) -> contextlib.AbstractContextManager[Optional[DirectoryLock]]:
        """Return a context that keeps other services away; entering it raises SqmonError if one is there, or can never be.

        It gives None for a single file, which any number of services may share.
        """
        ...

    def writer(
        self, metric: str, *, clock: Clock, on_sealed: Callable[[Sealed], None], on_dropped: Callable[[Dropped], None]
    ) -> LineWriter:
        """Return the writer of one stream; it creates files when it has lines, and never raises OSError."""
        ...

    def encoder(self, metric: str, run_id: str, *, on_step: Callable[[ClockStep], None]) -> Encoder:
        """Return the encoder of one stream in a new run; `on_step` is called when the clock turns out to have been set back."""
        ...

    def newest_first(self, metric: str) -> Iterator[Path]:
        """Yield the files that hold lines of one stream, the newest first."""
        ...


def streams_of(output: Output) -> Streams:
    """Return the files that `output` describes; nothing is created or opened yet."""
    return _OneFile(output) if isinstance(output, FileOutput) else _Segments(output)


class _Segments:
    """Segments: a directory for each metric, below one that belongs to a single service."""

    def __init__(self, output: SegmentOutput) -> None:
        self._output = output
        self.place = output.log_dir.absolute()
        self.directory = output.log_dir
        self.segments = output
        self._options = replace(output.options, max_bytes=max(output.options.max_bytes, _SMALLEST_SEGMENT))

    def reserved(self) -> contextlib.AbstractContextManager[Optional[DirectoryLock]]:
        return DirectoryLock(self._output.log_dir)

    def writer(
        self, metric: str, *, clock: Clock, on_sealed: Callable[[Sealed], None], on_dropped: Callable[[Dropped], None]
    ) -> LineWriter:
        return SegmentWriter(self._output.log_dir, metric, self._options, clock=clock, on_sealed=on_sealed, on_dropped=on_dropped)

    def encoder(self, metric: str, run_id: str, *, on_step: Callable[[ClockStep], None]) -> Encoder:
        """See Streams; `ts` continues after that of the run before."""
        last_ns = newest_ns(self._output.log_dir, metric)
        return Encoder(metric, run_id, cluster=self._output.cluster, last_ns=last_ns, on_step=on_step)

    def newest_first(self, metric: str) -> Iterator[Path]:
        return reversed(segments(self._output.log_dir, metric))


class _OneFile:
    """A single file for all metrics, in a directory that belongs to somebody else."""

    directory = segments = None

    def __init__(self, output: FileOutput) -> None:
        self._output = output
        self.place = output.path

    def reserved(self) -> contextlib.AbstractContextManager[Optional[DirectoryLock]]:
        """Keep nobody away, since any number of services may share the file, but refuse what can never be shared."""
        refuse_unusable(self._output.path)
        return contextlib.nullcontext()

    def writer(
        self, metric: str, *, clock: Clock, on_sealed: Callable[[Sealed], None], on_dropped: Callable[[Dropped], None]
    ) -> LineWriter:
        del metric, on_sealed  # all metrics share the file, which is never sealed
        return SingleFileWriter(
            self._output.path,
            max_bytes=self._output.max_bytes,
            backups=self._output.backups,
            buffer_bytes=self._output.buffer_bytes,
            clock=clock,
            on_dropped=on_dropped,
        )

    def encoder(self, metric: str, run_id: str, *, on_step: Callable[[ClockStep], None]) -> Encoder:
        return Encoder(metric, run_id, cluster=self._output.cluster, on_step=on_step)

    def newest_first(self, metric: str) -> Iterator[Path]:
        del metric  # they share the file
        return (numbered(self._output.path, number) for number in range(self._output.backups + 1))
