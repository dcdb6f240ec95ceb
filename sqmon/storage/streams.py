"""Which kind of file the lines of a metric go to."""

from __future__ import annotations

from typing import Callable

from sqmon.clock import Clock
from sqmon.config.settings import Output
from sqmon.records.encoder import Encoder
from sqmon.storage.segment import newest_ns
from sqmon.storage.segment_writer import SegmentOptions, SegmentWriter
from sqmon.storage.single_file import SingleFileWriter
from sqmon.storage.writer import Dropped, LineWriter, Sealed


def open_writer(
    output: Output,
    metric: str,
    *,
    clock: Clock,
    on_sealed: Callable[[Sealed], None],
    on_dropped: Callable[[Dropped], None],
) -> LineWriter:
    """Return the writer of one stream; it makes files lazily and never raises OSError."""
    if output.single_file is not None:
        return SingleFileWriter(
            output.single_file,
            max_bytes=output.segment_bytes,
            backups=output.backups,
            buffer_bytes=output.buffer_bytes,
            clock=clock,
            on_dropped=on_dropped,
        )
    options = SegmentOptions(
        max_bytes=output.segment_bytes,
        max_age_s=output.segment_seconds,
        buffer_bytes=output.buffer_bytes,
        fsync=output.fsync,
    )
    return SegmentWriter(output.log_dir, metric, options, clock=clock, on_sealed=on_sealed, on_dropped=on_dropped)


def new_encoder(output: Output, metric: str, run_id: str) -> Encoder:
    """Return the encoder of a run whose `ts` goes on after that of the run before, even when the clock has stepped back in between."""
    return Encoder(metric, run_id, last_ns=0 if output.single_file is not None else newest_ns(output.log_dir, metric))
