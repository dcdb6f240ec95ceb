"""The probe: a process that runs the start-up checks, so that no driver is imported into the supervisor or can block it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from typing import Callable, Iterator, Optional

from sqmon.config.catalogue import FUNCTIONS, missing
from sqmon.config.settings import Connection, Metric, Output, url_host
from sqmon.database.client import Database
from sqmon.database.error_texts import readable
from sqmon.database.single_polls import Answer, poll_each
from sqmon.errors import AddressError, DatabaseError, LoginError, QueryTimeoutError, SqmonError, StatementError, shown
from sqmon.ipc.check import UNHARMED, AskDatabase, AskLoki, AskPolls, Outcome, Question, encode
from sqmon.ipc.login_pause import LoginPause
from sqmon.records.column_names import normalised

_GPU_TEXTS = re.compile(r"internal runtime error|gpu-?worker|requires a gpu|cuda", re.IGNORECASE)
_LOGIN_SECONDS = 10.0
_SELECT_SECONDS = 5.0
_POLL_SECONDS = 25.0
_LOKI_SECONDS = 4.0


def main(question: Question, pipe: socket.socket) -> None:
    """Answer with one Outcome per check; ends the process itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(outcome: Outcome) -> None:
        pipe.sendall(encode(outcome))

    try:
        probe(question, tell)
    except Exception as error:  # noqa: BLE001 - whatever it is, somebody must hear of it
        tell(Outcome(question.check, question.lost, f"this is a bug: {type(error).__name__}: {readable(str(error))}"))
    finally:
        os._exit(0)


def probe(question: Question, tell: Callable[[Outcome], None]) -> None:
    """Tell the outcome of each check that was asked for, in the order in which they build on each other."""
    if isinstance(question, AskLoki):
        tell(_check_loki(question.host, question.port))
    elif isinstance(question, AskPolls):
        for outcome in _polls(question.connection, question.metrics):
            tell(outcome)
    else:
        with contextlib.closing(Database(question.connection)) as database:
            outcome = _check_connection(database, question.connection, question.output)
            tell(outcome)
            if outcome.verdict == "passed":
                tell(_check_cpu(database, allow_gpu=question.allow_gpu))


def _check_connection(database: Database, to: Connection, output: Optional[Output]) -> Outcome:
    name, began_ns = AskDatabase.check, time.time_ns()
    pause = None if output is None else LoginPause(to, output)
    try:
        database.connect(_LOGIN_SECONDS)
    except LoginError as error:
        # One attempt: five refused logins lock the role.
        if pause is not None:
            pause.begin(to.password.read(), str(error), time.time_ns())
        return Outcome(name, "failed", str(error), refused=True)
    except (AddressError, StatementError) as error:
        return Outcome(name, "failed", str(error))
    except DatabaseError as error:
        return Outcome(name, "retry", str(error))
    if pause is not None:
        pause.end(began_ns)
    through = " through the server picker" if to.clustered else ""
    return Outcome(name, "passed", f"{to.user} can log in to {to.database} at {to.address}, service {to.service}{through}")


def _check_cpu(database: Database, *, allow_gpu: bool) -> Outcome:
    name = "check_sqream_on_cpu"
    try:
        database.execute("select 1", _SELECT_SECONDS)
        database.fetch(_SELECT_SECONDS)
    except QueryTimeoutError:
        return Outcome(
            name,
            "warning",
            f"unknown: `select 1` did not end within {_SELECT_SECONDS:g} s (a busy GPU worker queues it)",
        )
    except StatementError as error:
        if _GPU_TEXTS.search(str(error)):
            return Outcome(name, "passed", f"the worker has no GPU, as it should: {error}")
        return Outcome(name, "warning", f"unknown: `select 1` failed, but not for want of a GPU: {error}")
    except DatabaseError as error:
        return Outcome(name, "warning", f"unknown: {error}")
    if allow_gpu:
        return Outcome(name, "warning", "the worker has a GPU: `select 1` returned a row (--allow_gpu)")
    return Outcome(
        name,
        "failed",
        "the worker has a GPU (`select 1` returned a row), and the monitor would take its turns; "
        'point --host, --port and --service at a worker with "gpu": 0, or give --allow_gpu',
    )


def _polls(to: Connection, metrics: list[Metric]) -> Iterator[Outcome]:
    """Yield what came of a poll of each metric, or why nothing came."""
    waiting = list(metrics)
    try:
        for answer in poll_each(to, metrics, longest=_POLL_SECONDS):
            waiting.pop(0)
            yield _poll_outcome(answer)
    except SqmonError as error:  # there is no login any more
        yield from (Outcome(f"poll_{metric.name}", "failed", f"was not tried: {error}") for metric in waiting)


def _poll_outcome(answer: Answer) -> Outcome:
    metric, result = answer.metric, answer.result
    name, function = f"poll_{metric.name}", FUNCTIONS.get(metric.name)
    if result is None:
        rights = function.rights if function is not None else ""
        hint = f" (rights that it needs: {rights})" if rights not in ("", "none") else ""
        return Outcome(name, "failed", f"{answer.error}{hint}")
    text = f"{result.rows} {'row' if result.rows == 1 else 'rows'} of {len(result.columns)} columns in {answer.seconds:.2f} s"
    lacking = missing(metric.name, normalised(tuple(result.columns), ()))
    if lacking:
        return Outcome(name, "warning", f"{text}; alerts need {', '.join(lacking)}, which did not come")
    return Outcome(name, "passed", text)


def _check_loki(host: str, port: int) -> Outcome:
    import http.client  # noqa: PLC0415 - a few MB that the workers, forked from the same process, must not carry

    name, url = AskLoki.check, f"http://{url_host(host)}:{port}/ready"
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=_LOKI_SECONDS)) as connection:
        try:
            connection.request("GET", "/ready")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return Outcome(name, "warning", f"{url}: {shown(reason.lower())}; {UNHARMED}")
    if status == http.client.OK:
        return Outcome(name, "passed", f"{url} answers 200")
    return Outcome(name, "warning", f"{url} answers {status}; {UNHARMED}")
