"""The client of SQreamDB: one login, one statement at a time, and a clean end to each, on top of pysqream.

pysqream has no timeouts after connecting, sends pings from threads that keep a process alive, wraps the server's error texts, takes some
of them for success, and talks to the network from finalizers. The remedies sit on the three seams that 5.0.0 and 6.3.0 share: the raw
socket (a deadline, and pings sent by the waiting reader itself), the text answer (an error is an error at every step), the finalizer.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import msgspec

from sqmon.config.settings import Connection
from sqmon.database import decoding
from sqmon.database.deadline_socket import Guard, GuardedSocket, ReaderPings
from sqmon.database.dialer import Dialer
from sqmon.database.error_texts import explained, readable
from sqmon.errors import DatabaseError, StatementError
from sqmon.interpreter import lean_driver
from sqmon.result import Result

_CLOSE_SECONDS = 1.0


_guard: contextvars.ContextVar[Guard] = contextvars.ContextVar("guard")


def _timeout(self: Any, seconds: Any = "not passed") -> Any:
    """Replace SQSocket.timeout, which pysqream calls with 10 just before it connects, and with None once it is connected."""
    guard = _guard.get()
    if seconds == "not passed":
        return self.s.gettimeout()
    if isinstance(self.s, Dialer) and seconds is None:
        self.s = guard.watch(self.s.connected)
        return None
    if not isinstance(self.s, GuardedSocket):
        self.s = Dialer(self.s, guard)
    self.s.settimeout(seconds)
    return None


def _receive(self: Any, byte_num: int, timeout: None = None) -> Any:  # noqa: ARG001 - pysqream never gives a timeout
    """Replace Client.receive, which asks the socket again and again."""
    return self.socket.s.receive(byte_num)


def _answer_or_raise(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap Client.get_response so that an answer is read in one go, and one with an error is raised, whatever the step."""

    def get_checked(self: Any, is_text_msg: bool = True) -> Any:
        response = self.socket.s.text() if is_text_msg else None
        if response is None:
            response = get_response(self, is_text_msg)
        if is_text_msg and '"error"' in response:
            answer = json.loads(response)
            if isinstance(answer, dict) and "error" in answer:
                failure = StatementError(readable(str(answer["error"])))
                _guard.get().fail(failure)
                raise failure
        return response

    return get_checked


class _QuickJson:
    """A stand-in for the module json where pysqream reads answers: several times as fast, and the same in what it returns and raises."""

    dumps = json.dumps
    decoder = json.decoder

    @staticmethod
    def loads(text: str) -> Any:
        """See json.loads."""
        try:
            return msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeError):  # json.loads takes NaN and lone surrogates, or says what is wrong in its own words
            return json.loads(text)


def _import_pysqream() -> Any:
    """Import pysqream and lay the remedies over it; return the module."""
    spec = importlib.util.find_spec("pysqream")
    if spec is None or spec.loader is None or spec.origin is None:
        raise DatabaseError("pysqream is not installed: pip install pysqream==5.0.0")
    folder = Path(spec.origin).parent
    version_5 = (folder / "SQSocket.py").exists()
    module = importlib.util.module_from_spec(spec)
    sys.modules["pysqream"] = module
    with lean_driver(str(folder), stubs=version_5):
        spec.loader.exec_module(module)
        ping: Any = importlib.import_module("pysqream.ping")
        connection = importlib.import_module("pysqream.connection")
        sockets: Any = importlib.import_module("pysqream.SQSocket" if version_5 else "pysqream.server.sqsocket")
        clients: Any = sockets if version_5 else importlib.import_module("pysqream.server.sqclient")
        cursor: Any = importlib.import_module("pysqream.cursor")
    client = clients.Client if version_5 else clients.SQClient
    ping.PingLoop = lambda *_: ReaderPings(_guard.get())
    sockets.SQSocket.timeout = _timeout
    client.receive = _receive
    if version_5:
        cursor.json = _QuickJson
        cursor.version_compare = functools.lru_cache(maxsize=8)(cursor.version_compare)
    else:
        clients.json = _QuickJson
    client.get_response = _answer_or_raise(client.get_response)
    # The finalizer would send closeConnection, and wait for the answer, whenever the collector finds a connection.
    del connection.Connection.__del__
    return module


_pysqream = _import_pysqream()


class Database:
    """One login and one cursor for the life of a worker; after any error it is closed and can't be used again.

    Every method raises DatabaseError or a kind of it, with a text for people, and nothing else.
    """

    def __init__(self, connection: Connection) -> None:
        self._to = connection
        self._guard = Guard()
        self._connection: Any = None
        self._cursor: Any = None
        self._fetched = decoding.Fetched()

    def connect(self, seconds: float) -> None:
        """Log in within `seconds`. Raises LoginError when the server refuses the role or its password."""
        to = self._to
        password = to.password.read()
        with self._step(seconds, login=True):
            self._connection = _pysqream.connect(
                to.host,
                to.port,
                to.database,
                to.user,
                password,
                clustered=to.clustered,
                use_ssl=to.use_ssl,
                service=to.service,
            )
            self._cursor = self._connection.cursor()
            self._fetched = decoding.attach(self._cursor)

    def execute(self, sql: str, seconds: float) -> None:
        """Run `sql` within `seconds`. Raises StatementError for the server's error, QueryTimeoutError for its silence."""
        with self._step(seconds):
            self._cursor.execute(sql)
            if not self._cursor.description:
                raise StatementError("the server returned no result set")

    def fetch(self, seconds: float) -> Result:
        """Return every row of the statement that was executed last."""
        with self._step(seconds), _collector_off():
            # fetchmany loses rows in 6.3.0 when a result comes in several chunks, so it is all or nothing.
            rows = self._cursor.fetchall()
            return self._fetched.take([column[0] for column in self._cursor.description], rows)

    def close(self) -> None:
        """Say goodbye, for a second at most, and close the sockets."""
        with contextlib.suppress(DatabaseError):
            if self._connection is not None and self._guard.failure is None:
                with self._step(_CLOSE_SECONDS):
                    self._connection.close()
        self._guard.fail(ConnectionAbortedError("closed"))
        self._guard.shut()

    @contextlib.contextmanager
    def _step(self, seconds: float, *, login: bool = False) -> Iterator[None]:
        token = _guard.set(self._guard)
        self._guard.start(seconds)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - pysqream raises whatever comes to hand
            self._guard.fail(error)
            raise explained(self._guard.failure or error, self._to, login=login) from None
        except BaseException:
            self._guard.fail(ConnectionAbortedError("interrupted"))
            raise
        finally:
            _guard.reset(token)
            if self._guard.failure is not None:
                self._guard.shut()


@contextlib.contextmanager
def _collector_off() -> Iterator[None]:
    """Keep the garbage collector from scanning a million new values again and again, none of which can be part of a cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
