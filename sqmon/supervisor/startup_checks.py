"""The four start-up checks, in the order of the original monitor service."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Iterator, Optional, Sequence

from sqmon.clock import Clock
from sqmon.config.settings import Connection, Metric, Output, Outside, url_host
from sqmon.ipc.check import AskDatabase, AskLoki, AskPolls, Outcome, Question, decode
from sqmon.ipc.login_pause import LoginPause
from sqmon.ipc.start import PROBE
from sqmon.supervisor.forkserver import Forkserver

METRICS = "check_customer_metrics"
_RETRY_SECONDS = 1.0


def check_metrics(path: Optional[Path], metrics: list[Metric]) -> Outcome:
    """Return the outcome of `check_customer_metrics` for metrics that were read without a problem."""
    listed = ", ".join(f"{metric.name} {metric.interval:g} s" for metric in metrics)
    return Outcome(METRICS, "passed", f"{path or 'no metrics file, so the built-in five'}: {listed}")


def check_outside(
    outside: Outside, *, forkserver: Forkserver, clock: Clock, output: Optional[Output] = None, polled: Sequence[Metric] = ()
) -> Iterator[Outcome]:
    """Yield the outcomes of the three checks that talk to SQreamDB and Loki, and between them those of one poll of each of `polled`.

    A database that can't be reached is tried again until `startup_timeout` is over; a refused login never is, nor within the pause after
    it by the next start that has the same `output`.
    """
    give_up = clock.monotonic() + outside.startup_timeout
    while True:
        connection = outside.connection.with_password(outside.connection.password.read())
        paused = "" if output is None else _paused(connection, output, clock)
        if paused:
            yield Outcome(AskDatabase.check, "failed", paused)
            return
        outcomes = list(_ask(AskDatabase(connection, outside.allow_gpu, output), forkserver))
        first = outcomes[0]
        if first.verdict != "retry":
            break
        if clock.monotonic() + _RETRY_SECONDS >= give_up:
            outcomes = [Outcome(first.name, "failed", first.text)]
            break
        yield first
        time.sleep(_RETRY_SECONDS)
    yield from outcomes
    if polled and first.verdict == "passed":
        yield from _ask(AskPolls(connection, list(polled)), forkserver)
    if outside.loki is not None:
        yield from _ask(AskLoki(*outside.loki), forkserver)


def _paused(connection: Connection, output: Output, clock: Clock) -> str:
    """Return why no login may be tried now, or ""."""
    pause = LoginPause(connection, output).standing(connection.password.read(), clock.time_ns())
    if pause is None:
        return ""
    told = f"logins are paused until {pause.until}, since this one was refused: {pause.reason}"
    return f"{told}; to try earlier, change the password or remove {pause.path}"


def _ask(question: Question, forkserver: Forkserver) -> Iterator[Outcome]:
    """Yield what a fresh process finds out, at least one outcome; one that says nothing for too long is killed."""
    try:
        process = forkserver.start(PROBE, question)
    except OSError as error:
        reason = f"the process that should ask can't be started: {error.strerror or error}"
        yield Outcome(question.check, question.late, f"{_place(question)}: {reason}")
        return
    answered = False
    with contextlib.closing(process):
        process.pipe.settimeout(question.patience)
        try:
            while True:
                message = process.pipe.recv(1 << 16)
                if not message:
                    break
                yield decode(message)
                answered = True
        except socket.timeout:
            answered = True
            yield Outcome(question.check, question.late, f"{_place(question)}: no whole answer within {question.patience:g} s")
        except ConnectionResetError:  # the forkserver ended before it took the order
            pass
    if not answered:
        yield Outcome(question.check, question.lost, f"{_place(question)}: the process that should have asked ended without a word")


def _place(question: Question) -> str:
    if isinstance(question, AskLoki):
        return f"http://{url_host(question.host)}:{question.port}"
    return question.connection.address
