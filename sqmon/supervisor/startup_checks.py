"""The four start-up checks, in the order of the original monitor service."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Optional, Sequence, Union

from sqmon.clock import Clock
from sqmon.config.settings import Connection, Metric, Output, Outside, url_host
from sqmon.errors import reason_of
from sqmon.ipc.check import AskDatabase, AskLoki, AskPolls, Outcome, Question, decode
from sqmon.ipc.login_pause import LoginPause, Standing, explained
from sqmon.ipc.start import PROBE
from sqmon.supervisor.forkserver import Forkserver

METRICS = "check_customer_metrics"
_RETRY_SECONDS = 1.0


def check_metrics(path: Optional[Path], metrics: list[Metric]) -> Outcome:
    """Return the outcome of `check_customer_metrics` for metrics that were read without a problem."""
    listed = ", ".join(f"{metric.name} {metric.interval:g} s" for metric in metrics)
    return Outcome(METRICS, "passed", f"{path or 'no metrics file, so the built-in five'}: {listed}")


class Wait(NamedTuple):
    """Takes the place of an outcome while there is nothing to do until `pipe` can be read, or `until` has come in monotonic seconds."""

    pipe: socket.socket
    until: float


Step = Union[Outcome, Wait]


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
        pause = None if output is None else standing_pause(connection, output, clock)
        if pause is not None:
            yield Outcome(AskDatabase.check, "failed", explained(pause))
            return
        outcomes = list(_waited(ask(AskDatabase(connection, outside.allow_gpu, output), forkserver, clock)))
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
        yield from _waited(ask(AskPolls(connection, list(polled)), forkserver, clock))
    if outside.loki is not None:
        yield from _waited(ask(AskLoki(*outside.loki), forkserver, clock))


def standing_pause(connection: Connection, output: Output, clock: Clock) -> Optional[Standing]:
    """Return the pause that an earlier service has left; takes a moment of the processor and reads a file."""
    return LoginPause(connection, output).standing(connection.password.read(), clock.time_ns())


def ask(question: Question, forkserver: Forkserver, clock: Clock) -> Iterator[Step]:
    """Yield what a fresh process finds out, at least one outcome, without ever waiting; one that says nothing for too long is killed."""
    try:
        process = forkserver.start(PROBE, question)
    except OSError as error:
        reason = f"the process that should ask can't be started: {reason_of(error)}"
        yield Outcome(question.check, question.late, f"{_place(question)}: {reason}")
        return
    answered = False
    with contextlib.closing(process):
        process.pipe.setblocking(False)
        until = clock.monotonic() + question.patience
        while True:
            try:
                message = process.pipe.recv(1 << 16)
            except BlockingIOError:
                if clock.monotonic() >= until:
                    yield Outcome(question.check, question.late, f"{_place(question)}: no whole answer within {question.patience:g} s")
                    return
                yield Wait(process.pipe, until)
                continue
            except ConnectionResetError:  # the forkserver ended before it took the order
                break
            if not message:
                break
            yield decode(message)
            answered, until = True, clock.monotonic() + question.patience
    if not answered:
        yield Outcome(question.check, question.lost, f"{_place(question)}: the process that should have asked ended without a word")


def _waited(steps: Iterator[Step]) -> Iterator[Outcome]:
    """Yield the outcomes, and wait where that is needed."""
    for step in steps:
        if isinstance(step, Outcome):
            yield step
        else:
            with selectors.DefaultSelector() as selector:
                selector.register(step.pipe, selectors.EVENT_READ)
                selector.select(max(step.until - time.monotonic(), 0.0))


def _place(question: Question) -> str:
    if isinstance(question, AskLoki):
        return f"http://{url_host(question.host)}:{question.port}"
    return question.connection.address
