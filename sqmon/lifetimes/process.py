"""The process `lifetimes`: follows the files of the service and writes what becomes of locks, statements and nodes to its own stream."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import socket
import traceback

from sqmon.clock import Clock, SystemClock, stamp_ns
from sqmon.config.settings import SegmentOutput
from sqmon.errors import reason_of
from sqmon.ipc.reports import (
    DISK,
    ClockStepped,
    Connected,
    Failed,
    Followed,
    Pending,
    RecordsDropped,
    Report,
    SegmentSealed,
    Step,
    encode,
)
from sqmon.lifetimes.following import Following
from sqmon.lifetimes.lines import METRIC, Line
from sqmon.lifetimes.stream_end import stream_end
from sqmon.records.encoder import Batch, Encoder
from sqmon.storage.streams import streams_of
from sqmon.storage.writer import LineWriter

_LOOK_SECONDS = 0.25
_BEAT_SECONDS = 1.0
_PATIENCE_SECONDS = 120.0  # it gets the processor when nobody else wants it
_LAST_SECONDS = 1.0  # after SIGTERM; what it does not tell then, the next one does
_AT_ONCE = 100  # lines
_NICE = 10
_LONGEST_TRACEBACK = 16000
_OF_THE_ENCODER = ("ts", "metric")


def main(output: SegmentOutput, run_id: str, pipe: socket.socket) -> None:
    """Follow the files until SIGTERM, the first error, or the death of the supervisor (see forkserver)."""
    for number in (signal.SIGINT, signal.SIGHUP):
        # A terminal sends these to the whole group; only the supervisor answers them.
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone, and with it everybody who could be told
        LifetimesProcess(output, run_id, pipe, clock=SystemClock()).run()


class LifetimesProcess:
    """One run of the process."""

    def __init__(self, output: SegmentOutput, run_id: str, pipe: socket.socket, *, clock: Clock) -> None:
        self._log_dir = output.log_dir
        self._streams = streams_of(output)
        self._run_id = run_id
        self._pipe = pipe
        self._clock = clock
        self._give_up_at = math.inf
        """When it ends at the latest, in monotonic seconds."""
        self._next_beat = 0.0
        self._followed = Followed(-1, 0.0)
        self._pending = Pending("", 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))

    def run(self) -> None:
        """Follow until told to stop; an error is reported and ends it."""
        try:
            self._report(Step("read", _PATIENCE_SECONDS))
            self._follow()
        except BrokenPipeError:
            raise
        except OSError as error:
            self._report(Failed("files", f"{error.filename or self._log_dir}: {reason_of(error)}"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor must hear of it
            self._report(Failed("bug", f"{type(error).__name__}: {error}", traceback.format_exc()[-_LONGEST_TRACEBACK:]))

    def _follow(self) -> None:
        following = Following(self._log_dir, stream_end(self._log_dir))
        encoder = self._streams.encoder(METRIC, self._run_id, on_step=lambda step: self._report(ClockStepped(step)))
        writer = self._streams.writer(
            METRIC,
            clock=self._clock,
            on_sealed=lambda sealed: self._report(SegmentSealed(sealed)),
            on_dropped=lambda dropped: self._report(RecordsDropped(dropped)),
        )
        with contextlib.closing(writer):
            self._report(Connected())
            while not self._asked_to_stop(_LOOK_SECONDS):
                self._catch_up(following, encoder, writer)
                self._beat(writer, lines=encoder.seq)
            self._catch_up(following, encoder, writer)

    def _catch_up(self, following: Following, encoder: Encoder, writer: LineWriter) -> None:
        """Read what is there, unless it has to end before."""
        for lines in following.read():
            while batches := [encoder.timed(*_timed(line)) for line in itertools.islice(lines, _AT_ONCE)]:
                self._write(writer, batches)
            self._beat(writer, lines=encoder.seq, read_to=following.read_to)
            if self._clock.monotonic() >= self._give_up_at:
                return

    def _write(self, writer: LineWriter, batches: list[Batch]) -> None:
        """Write the lines; while the disk refuses them nothing else is read, so that none is ever dropped for want of room."""
        writer.append(*batches)
        while writer.pending and self._clock.monotonic() < self._give_up_at:
            self._beat(writer, lines=batches[-1].last_seq)
            self._asked_to_stop(_LOOK_SECONDS)

    def _asked_to_stop(self, seconds: float) -> bool:
        """Wait so long for SIGTERM, which comes in no other place; once it has come, the rest is told within a moment."""
        if self._give_up_at == math.inf and signal.sigtimedwait((signal.SIGTERM,), seconds) is not None:
            self._give_up_at = self._clock.monotonic() + _LAST_SECONDS
        return self._give_up_at != math.inf

    def _beat(self, writer: LineWriter, *, lines: int, read_to: str = "") -> None:
        """Once a second, let the writer do what it has to, and report; `read_to` is the `ts` of the newest event, if more may wait."""
        now = self._clock.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + _BEAT_SECONDS
        self._asked_to_stop(0.0)
        self._report(DISK)
        writer.tick()
        self._report(Step("read", _PATIENCE_SECONDS))
        pending = Pending(writer.trouble.partition(": ")[2], writer.pending)
        if pending != self._pending:
            self._pending = pending
            self._report(pending)
        followed = Followed(lines, max(0.0, (self._clock.time_ns() - stamp_ns(read_to)) / 1e9) if read_to else 0.0)
        if followed != self._followed:
            self._followed = followed
            self._report(followed)

    def _report(self, report: Report) -> None:
        self._pipe.send(encode(report))


def _timed(line: Line) -> tuple[int, Line]:
    return stamp_ns(line["ts"]), {name: value for name, value in line.items() if name not in _OF_THE_ENCODER}
