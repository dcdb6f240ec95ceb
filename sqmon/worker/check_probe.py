"""The start-up checks that talk to the outside, in a process of their own: the supervisor imports no driver and can't be hung by one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from typing import Callable

from sqmon.config.settings import Connection
from sqmon.database.client import Database
from sqmon.errors import AddressError, ConfigError, DatabaseError, LoginError, QueryTimeoutError, StatementError
from sqmon.ipc.check import Outcome, Questions, encode

_GPU_TEXTS = re.compile(r"internal runtime error|gpu-?worker|requires a gpu|cuda", re.IGNORECASE)
_LOGIN_SECONDS = 10.0
_SELECT_SECONDS = 5.0
_LOKI_SECONDS = 5.0


def main(questions: Questions, pipe: socket.socket) -> None:
    """Answer with one Outcome per check; ends the process itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        probe(questions, lambda outcome: pipe.sendall(encode(outcome)))
    finally:
        os._exit(0)


def probe(questions: Questions, tell: Callable[[Outcome], None]) -> None:
    """Tell the outcome of each check that was asked for, in the order in which they build on each other."""
    if questions.connection is not None:
        with contextlib.closing(Database(questions.connection)) as database:
            outcome = _check_connection(database, questions.connection)
            tell(outcome)
            if outcome.verdict == "passed":
                tell(_check_cpu(database, allow_gpu=questions.allow_gpu))
    if questions.loki is not None:
        tell(_check_loki(*questions.loki))


def _check_connection(database: Database, to: Connection) -> Outcome:
    name = "check_sqream_connection"
    try:
        database.connect(_LOGIN_SECONDS)
    except (AddressError, LoginError, StatementError) as error:
        # One attempt: five refused logins lock the role.
        return Outcome(name, "failed", str(error))
    except ConfigError as error:  # the password file may have gone since it was first read
        return Outcome(name, "failed", str(error))
    except DatabaseError as error:
        return Outcome(name, "retry", str(error))
    through = " through the server picker" if to.clustered else ""
    return Outcome(name, "passed", f"{to.user} can log in to {to.database} at {to.host}:{to.port}, service {to.service}{through}")


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


def _check_loki(host: str, port: int) -> Outcome:
    import http.client  # noqa: PLC0415 - a few MB that the workers, forked from the same process, must not carry

    name, url = "check_loki_connection", f"http://{host}:{port}/ready"
    unharmed = "records wait in the files until the agent can send them (--loki_host, --loki_port)"
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=_LOKI_SECONDS)) as connection:
        try:
            connection.request("GET", "/ready")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return Outcome(name, "warning", f"{url}: {reason.lower()}; {unharmed}")
    if status == http.client.OK:
        return Outcome(name, "passed", f"{url} answers 200")
    return Outcome(name, "warning", f"{url} answers {status}; {unharmed}")
