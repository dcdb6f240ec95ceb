"""The four start-up checks, in the order of the original monitor service."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Iterator, Optional

from sqmon.clock import Clock
from sqmon.config.settings import Metric, Outside
from sqmon.ipc.check import Outcome, Questions, decode
from sqmon.ipc.start import PROBE
from sqmon.supervisor.forkserver import Forkserver

METRICS = "check_customer_metrics"
CONNECTION = "check_sqream_connection"
_RETRY_SECONDS = 1.0
_PROBE_SECONDS = 30.0


def check_metrics(path: Optional[Path], metrics: list[Metric]) -> Outcome:
    """Return the outcome of `check_customer_metrics` for metrics that were read without a problem."""
    listed = ", ".join(f"{metric.name} {metric.interval:g} s" for metric in metrics)
    return Outcome(METRICS, "passed", f"{path or 'no metrics file, so the built-in five'}: {listed}")


def check_outside(outside: Outside, *, forkserver: Forkserver, clock: Clock) -> Iterator[Outcome]:
    """Yield the outcomes of the three checks that talk to SQreamDB and Loki.

    A database that can't be reached is tried again until `startup_timeout` is over; a refused login never is.
    """
    give_up = clock.monotonic() + outside.startup_timeout
    while True:
        outcomes = list(_ask(Questions(outside.connection, outside.allow_gpu), forkserver))
        first = outcomes[0] if outcomes else Outcome(CONNECTION, "failed", "the process that should have tried ended without a word")
        if first.verdict != "retry":
            break
        if clock.monotonic() + _RETRY_SECONDS >= give_up:
            outcomes = [Outcome(first.name, "failed", first.text)]
            break
        yield first
        time.sleep(_RETRY_SECONDS)
    yield from outcomes or [first]
    if outside.loki is not None:
        yield from _ask(Questions(None, loki=outside.loki), forkserver)


def _ask(questions: Questions, forkserver: Forkserver) -> Iterator[Outcome]:
    """Yield what a fresh process finds out; one that says nothing for too long is killed."""
    try:
        process = forkserver.start(PROBE, questions)
    except OSError as error:
        yield Outcome(CONNECTION, "retry", f"the process that should try can't be started: {error.strerror or error}")
        return
    with contextlib.closing(process):
        process.pipe.settimeout(_PROBE_SECONDS)
        try:
            while True:
                message = process.pipe.recv(1 << 16)
                if not message:
                    break
                yield decode(message)
        except socket.timeout:
            yield Outcome(CONNECTION, "retry", f"no answer within {_PROBE_SECONDS:g} s")
        except ConnectionResetError:  # the forkserver ended before it took the order
            pass
