"""The adapter and the real pysqream, whichever version is installed, against servers that misbehave in every way."""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import importlib.metadata
import json
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional

import pytest

from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection
from sqmon.database import client
from sqmon.database.client import Database
from sqmon.errors import AddressError, DatabaseError, LoginError, QueryTimeoutError, StatementError
from sqmon.simulator import Simulator
from sqmon.simulator.columns import Column
from tests.support.program import DEADLINE_SECONDS, environment, wait_until

MODERN = importlib.metadata.version("pysqream").startswith("6.")
SHORT = 0.5
"""Seconds until a deadline that is meant to be missed."""

TOLERANCE = 3.0
"""How much later a deadline may end on a busy machine; without one these tests would hang for ever."""

PLENTY = DEADLINE_SECONDS
STEPS = ("login", "prepare", "execute", "fetch", "payload")
ASK = "select show_locks();"


def database(port: Optional[int], **options: Any) -> Database:
    """Return an adapter that is not logged in yet."""
    settings = {"host": "127.0.0.1", "database": "master", "user": "sqream", "password": "sqream", "service": "monitor", **options}
    assert port is not None
    return Database(Connection(port=port, **{**settings, "password": PasswordSource(settings["password"])}))


@pytest.fixture
def connected(simulator: Simulator) -> Iterator[Database]:
    """Return an adapter that is logged in."""
    with contextlib.closing(database(simulator.port)) as adapter:
        adapter.connect(PLENTY)
        yield adapter


def ask(adapter: Database, sql: str = ASK, seconds: float = PLENTY) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns and rows of a statement."""
    adapter.execute(sql, seconds)
    result = adapter.fetch(seconds)
    return result.columns, result.tuples()


def go_through(adapter: Database, seconds: float = PLENTY) -> None:
    """Log in, ask, and take the rows, each within `seconds`."""
    adapter.connect(seconds)
    ask(adapter, seconds=seconds)


def assert_clean(error: DatabaseError, port: Optional[int], *, expected: bool = False) -> None:
    """The text is one line for people: the address, no colours, no wrapping of the driver's.

    Where the server's answer was not even an error, the driver's word for what it `expected` is as good as any.
    """
    text = str(error)
    unwanted = ["\x1b", "Error connecting", *([] if expected else ['{"', "expected response"])]
    assert text.startswith(f"127.0.0.1:{port}: ")
    assert text == " ".join(text.split())
    assert not [sign for sign in unwanted if sign in text]


def test_rows_and_columns_come_as_the_server_sent_them(simulator: Simulator, connected: Database) -> None:
    """Names are unchanged, NULL is None, and text may hold anything and end in blanks."""
    columns = [
        Column("Statement Id", "int"),
        Column("é", "text"),
        Column("v", "varchar(5)"),
        Column("when", "datetime"),
        Column("on", "date"),
    ]
    moment, day = dt.datetime(2025, 7, 14, 9, 30, 15, 123000), dt.date(2024, 2, 29)  # noqa: DTZ001 - the server knows no zones
    rows = [(1, "日本語 🦆\n ", "ab", moment, day), (None, None, None, None, None), (-5, "", "", moment, day)]
    simulator.set_result("show_locks", columns, rows)

    assert ask(connected) == ([column.name for column in columns], rows)


def test_arrays_come_as_lists(simulator: Simulator, connected: Database) -> None:
    """Arrays of numbers and of text come as lists, with NULL inside."""
    simulator.set_result("show_locks", [Column("numbers", "int[]"), Column("texts", "text[]")], [([1, None, 3], ["ABC", "é", None])])

    assert ask(connected)[1] == [([1, None, 3], ["ABC", "é", None])]


def test_datetime2_comes_where_the_driver_knows_it(simulator: Simulator, connected: Database) -> None:
    """A datetime2 comes with pysqream 6.3.0; with 5.0.0 it is an error that names the type."""
    moment = dt.datetime(2025, 7, 14, 9, 30, 15, 123456, dt.timezone.utc)
    simulator.set_result("show_locks", [Column("at", "datetime2")], [(moment,)])
    if MODERN:
        assert ask(connected)[1] == [(moment,)]
    else:
        with pytest.raises(DatabaseError, match="ftTimestampTz"):
            ask(connected)


def test_no_rows(simulator: Simulator, connected: Database) -> None:
    """The columns are known even if there are no rows."""
    simulator.set_rows({"show_locks": 0})
    columns, rows = ask(connected)

    assert (len(columns), rows) == (11, [])


@pytest.mark.parametrize("reconnect", [False, True])
def test_many_chunks_are_one_result(*, reconnect: bool) -> None:
    """No row is lost between two fetches, even when the statement moves to another worker."""
    with Simulator(chunk_rows=3, reconnect=reconnect) as simulator, contextlib.closing(database(simulator.port)) as adapter:
        simulator.set_result("show_locks", [Column("n", "int")], [(number,) for number in range(1000)])
        adapter.connect(PLENTY)

        assert [ask(adapter) for _ in range(3)] == [(["n"], [(number,) for number in range(1000)])] * 3
        assert len(adapter._guard._sockets) <= 3


def test_hundred_polls_on_one_login(simulator: Simulator, connected: Database) -> None:
    """A hundred polls need no login and no session beyond the connection's two, and wait for no ping."""
    began = time.monotonic()
    for _ in range(100):
        ask(connected)

    assert time.monotonic() - began < 100 * 0.1
    assert [simulator.stats()[name] for name in ("logins", "sessions", "max_sessions")] == [2, 2, 2]


def test_close_ends_the_sessions(simulator: Simulator) -> None:
    """Closing ends the sessions on the server, and closing twice does nothing more."""
    adapter = database(simulator.port)
    go_through(adapter)
    adapter.close()
    adapter.close()

    assert wait_until(lambda: simulator.stats()["sessions"] == 0)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"user": "nobody"}, LoginError, "Login failure: role 'nobody' doesn't exist"),
        ({"password": "wrong"}, LoginError, "Login failure: wrong password for role 'sqream'"),
        ({"service": "none"}, StatementError, "Login failure: There are no instances subscribed to the requested service."),
        ({"database": "none"}, StatementError, "Database none no longer exists"),
        ({"clustered": True}, AddressError, "this is not a server picker; leave out --clustered, or give the picker's port (usually 3108)"),
        ({"use_ssl": True}, AddressError, "this port does not speak TLS; leave out --use_ssl, or give the TLS port (usually 5100)"),
        (
            {"clustered": True, "use_ssl": True},
            AddressError,
            "this is not a server picker; leave out --clustered, or give the picker's port (usually 3109)",
        ),
        ({"host": "127.0.0.2"}, DatabaseError, "the connection was refused; is a worker running there? (--host, --port)"),
    ],
)
def test_refused_login(simulator: Simulator, options: Mapping[str, Any], kind: type[DatabaseError], text: str) -> None:
    """Each refusal has its own kind of error, and only a role or its password is a LoginError."""
    with contextlib.closing(database(simulator.port, **options)) as adapter, pytest.raises(DatabaseError) as caught:
        adapter.connect(PLENTY)

    assert (type(caught.value), str(caught.value)) == (kind, f"{options.get('host', '127.0.0.1')}:{simulator.port}: {text}")


@pytest.mark.parametrize(
    ("picker", "use_ssl", "text"),
    [
        (
            "picker",
            True,
            (
                "this picker names the port of a worker that does not speak TLS; leave out --use_ssl, or give the port of the picker for"
                " TLS (usually 3109)"
            ),
        ),
        (
            "picker_tls",
            False,
            "the server closed the connection before the login; the picker for TLS (usually port 3109) needs --use_ssl",
        ),
    ],
)
def test_picker_of_the_other_kind(picker: str, text: str, *, use_ssl: bool) -> None:
    """A picker for plain workers that is asked for TLS, or the other way round, gets an error that names the right port."""
    with Simulator(picker_port=0, tls_port=0, picker_tls_port=0) as simulator:
        port = simulator.addresses[picker][1]
        with contextlib.closing(database(port, clustered=True, use_ssl=use_ssl)) as adapter, pytest.raises(DatabaseError) as caught:
            adapter.connect(PLENTY)

    assert str(caught.value) == f"127.0.0.1:{port}: {text}"


@pytest.mark.parametrize("options", [{}, {"clustered": True}, {"use_ssl": True}, {"clustered": True, "use_ssl": True}])
def test_ipv6(options: dict[str, Any]) -> None:
    """A worker, its picker and their TLS ports are reached at ::1, and errors write that address as URLs do."""
    name = ("picker" if options.get("clustered") else "") + ("_tls" if options.get("use_ssl") else "") or "worker"
    with Simulator(host="::1", picker_port=0, tls_port=0, picker_tls_port=0, rows_locks=2) as simulator:
        port = simulator.addresses[name.lstrip("_")][1]
        with contextlib.closing(database(port, host="::1", **options)) as adapter:
            adapter.connect(PLENTY)

            assert len(ask(adapter)[1]) == 2
        with contextlib.closing(database(port, host="::1", user="nobody", **options)) as adapter, pytest.raises(LoginError) as caught:
            adapter.connect(PLENTY)

    assert str(caught.value) == f"[::1]:{port}: Login failure: role 'nobody' doesn't exist"


def test_locked_role(simulator: Simulator) -> None:
    """The sixth login says that the role is locked, even with the right password."""
    for _ in range(5):
        with pytest.raises(LoginError):
            database(simulator.port, password="wrong").connect(PLENTY)
    with pytest.raises(LoginError, match="The user is locked"):
        database(simulator.port).connect(PLENTY)


def test_worker_port_of_a_picker(simulator: Simulator) -> None:
    """A picker that is taken for a worker is recognised."""
    with pytest.raises(AddressError, match="a server picker needs --clustered"):
        database(simulator.picker_port).connect(PLENTY)


@pytest.mark.parametrize("step", STEPS)
def test_silence_ends_at_the_deadline(simulator: Simulator, step: str) -> None:
    """A server that stops answering takes the seconds that it was given, and closing takes none."""
    simulator.set_fault(step=step, action="hang")
    began = time.monotonic()
    with contextlib.closing(database(simulator.port)) as adapter, pytest.raises(QueryTimeoutError) as caught:
        go_through(adapter, SHORT)
    lasted = time.monotonic() - began

    assert str(caught.value) == f"127.0.0.1:{simulator.port}: no answer within {SHORT:g} s"
    assert SHORT <= lasted < SHORT + TOLERANCE


def test_deadline_is_for_all_answers_together(simulator: Simulator, connected: Database) -> None:
    """Two answers that are each in time are too late together."""
    for step in ("prepare", "execute"):
        simulator.set_fault(step=step, action="slow", seconds=0.8 * SHORT)
    with pytest.raises(QueryTimeoutError):
        connected.execute(ASK, SHORT)


def test_slow_answer_in_time_is_no_error(simulator: Simulator, connected: Database) -> None:
    """A slow answer that comes in time is no error, at any step."""
    for step in STEPS[1:]:
        simulator.set_fault(step=step, action="slow", seconds=0.2)

    assert len(ask(connected)[1]) == 2


@pytest.mark.parametrize("action", ["close", "rst", "garbage", "error"])
@pytest.mark.parametrize("step", ["connect", *STEPS])
def test_broken_conversation_is_a_clean_error(simulator: Simulator, step: str, action: str) -> None:
    """Whatever comes instead of an answer, the error is ours, in one line, and the adapter can't be used any more."""
    simulator.set_fault(step=step, action=action)
    adapter = database(simulator.port)
    with pytest.raises(DatabaseError) as caught:
        # Where a binary frame is due, pysqream takes a shorter text for its beginning, and waits for the rest.
        go_through(adapter, SHORT if (step, action) == ("payload", "error") else PLENTY)
    simulator.clear_faults()

    assert_clean(caught.value, simulator.port)
    with pytest.raises(DatabaseError):
        ask(adapter)
    adapter.close()


@pytest.mark.parametrize(
    "text", ["the statement was not executed", 'no colSzs, no statementPrepared, no "fetched": 1', "\x1b[31mred\n\n  lines", ""]
)
@pytest.mark.parametrize("step", ["prepare", "execute", "fetch"])
def test_error_is_an_error_whatever_it_says(simulator: Simulator, connected: Database, step: str, text: str) -> None:
    """An error is an error, even if its text holds the word that pysqream takes for success."""
    simulator.set_fault(step=step, action="error", text=text)
    with pytest.raises(StatementError) as caught:
        ask(connected)

    assert_clean(caught.value, simulator.port)
    assert str(caught.value).endswith(": " + (" ".join(text.replace("\x1b[31m", "").split()) or "StatementError"))


def test_statement_without_a_result_is_an_error(simulator: Simulator, connected: Database) -> None:
    """A statement that returns no columns can't be polled."""
    simulator.set_result("show_locks", [], [])
    with pytest.raises(StatementError, match="the server returned no result set"):
        ask(connected)


class Script:
    """A worker that answers each request by its key: with a body, with raw bytes, or with silence for None."""

    ANSWERS: Mapping[str, Any] = {
        "connectDatabase": {"connectionId": 1, "databaseConnected": "databaseConnected", "varcharEncoding": "ascii"},
        "getStatementId": {"statementId": 1},
        "prepareStatement": {"ip": "127.0.0.1", "listener_id": 0, "port": 1, "port_ssl": 1, "reconnect": False, "statementPrepared": True},
        "execute": {"executed": "executed"},
        "queryTypeIn": {"queryType": []},
        "queryTypeOut": {"queryTypeNamed": [{"isTrueVarChar": False, "name": "n", "nullable": False, "type": ["ftInt", 4, 0]}]},
        "fetch": {"colSzs": [], "rows": 0},
        "closeStatement": {"statementClosed": "statementClosed"},
        "closeConnection": {"connectionClosed": "connectionClosed"},
    }

    def __init__(self, **answers: Any) -> None:
        self._answers = {**self.ANSWERS, **answers}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Script:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, struct.error):
            while True:
                size = struct.unpack("<q", client.recv(10, socket.MSG_WAITALL)[2:])[0]
                key = next(key for key in json.loads(client.recv(size, socket.MSG_WAITALL)) if key in self._answers or key == "ping")
                answer = self._answers.get(key)
                if isinstance(answer, dict):
                    answer = json.dumps(answer, separators=(",", ":")).encode()
                    answer = struct.pack("<BBq", 8, 1, len(answer)) + answer
                if isinstance(answer, list):
                    for piece in answer:
                        client.sendall(piece)
                        time.sleep(0.02)  # a server that drips
                elif answer is not None:
                    client.sendall(answer)


def frame(body: bytes) -> bytes:
    """Return the body as a text frame."""
    return struct.pack("<BBq", 8, 1, len(body)) + body


def test_script_is_a_worker() -> None:
    """The script alone is a worker that can be asked."""
    with Script() as script, contextlib.closing(database(script.port)) as adapter:
        adapter.connect(PLENTY)

        assert ask(adapter) == (["n"], [])


@pytest.mark.parametrize("step", ["queryTypeIn", "queryTypeOut", "getStatementId", "closeStatement"])
def test_error_at_the_other_steps(step: str) -> None:
    """Errors that pysqream swallows, after which it knows no result or no statement, are errors of ours."""
    with Script(**{step: {"error": "no executed statement, colSzs"}}) as script, contextlib.closing(database(script.port)) as adapter:
        adapter.connect(PLENTY)
        with pytest.raises(StatementError) as caught:
            ask(adapter)

    assert str(caught.value) == f"127.0.0.1:{script.port}: no executed statement, colSzs"


@pytest.mark.parametrize(
    "step", ["connectDatabase", "getStatementId", "prepareStatement", "execute", "queryTypeIn", "queryTypeOut", "fetch"]
)
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"error": None},
        {"error": {"code": 5}},
        frame(b"{"),
        frame(b"[]"),
        frame(b"null"),
        frame(b""),
        frame(b"\xff\xfe"),
        struct.pack("<BBq", 8, 1, -1),
        struct.pack("<BBq", 9, 1, 2) + b"{}",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=["empty", "null", "object", "open", "list", "none", "nothing", "bytes", "negative", "version", "http"],
)
def test_answer_that_makes_no_sense(step: str, answer: Any) -> None:
    """A senseless answer is an error of ours, or none where pysqream doesn't look at it, and never a hang."""
    with Script(**{step: answer}) as script, contextlib.closing(database(script.port)) as adapter:
        try:
            go_through(adapter, SHORT)
        except DatabaseError as error:
            assert_clean(error, script.port, expected=True)
        else:
            assert step in ("queryTypeIn", "connectDatabase", "execute")


def test_dripping_answer_ends_at_the_deadline() -> None:
    """Single bytes now and then don't put off the deadline."""
    drops = [struct.pack("<BBq", 8, 1, 10_000), *[b" "] * 10_000]
    began = time.monotonic()
    with Script(fetch=drops) as script, contextlib.closing(database(script.port)) as adapter:
        adapter.connect(PLENTY)
        with pytest.raises(QueryTimeoutError):
            ask(adapter, seconds=SHORT)

    assert time.monotonic() - began < SHORT + TOLERANCE


def test_close_waits_a_second_at_most_for_the_goodbye() -> None:
    """Closing waits at most a second for a server that says nothing."""
    with Script(closeStatement=None, closeConnection=None) as script:
        adapter = database(script.port)
        adapter.connect(PLENTY)
        adapter.execute(ASK, PLENTY)
        began = time.monotonic()
        adapter.close()
        lasted = time.monotonic() - began

    assert lasted < 1 + TOLERANCE


def test_no_thread_is_left(simulator: Simulator) -> None:
    """Neither a success nor a failure leaves a ping thread of pysqream, which would hold back the end of the process."""
    before = set(threading.enumerate())
    for step in (None, *STEPS):
        if step:
            simulator.set_fault(step=step, action="hang")
        with contextlib.closing(database(simulator.port)) as adapter, contextlib.suppress(QueryTimeoutError):
            go_through(adapter, 0.1 if step else PLENTY)
            adapter.fetch(0.1)
        simulator.clear_faults()

    assert set(threading.enumerate()) == before


def fresh(code: str, cwd: Path, **more: str) -> tuple[int, str, str]:
    """Run code in a fresh interpreter; return exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_finalizers_say_and_do_nothing(simulator: Simulator, tmp_path: Path) -> None:
    """A process that drops connections in every state, and ends with one open, prints nothing and ends at once."""
    code = f"""
        import gc, json, socket, sys, threading, warnings
        from sqmon.config.password import PasswordSource
        from sqmon.config.settings import Connection
        from sqmon.database.client import Database
        from sqmon.errors import DatabaseError

        to = Connection("127.0.0.1", {simulator.port}, "master", "sqream", "monitor", password=PasswordSource("sqream"))

        def control(command):
            with socket.create_connection(("127.0.0.1", {simulator.control_port})) as channel:
                channel.sendall(json.dumps(command).encode() + b"\\n")
                channel.recv(1000)

        def broken(action, step):
            control({{"set": {{"function": "*", "step": step, "action": action}}}})
            adapter = Database(to)
            try:
                adapter.connect(0.2)
                adapter.execute("select show_locks();", 0.2)
                adapter.fetch(0.2)
            except DatabaseError as error:
                return str(error)

        for action in ("hang", "close", "rst", "error"):
            for step in ("login", "prepare", "execute", "fetch", "payload"):
                assert broken(action, step)
                control({{"clear": True}})
                gc.collect()
        warnings.simplefilter("ignore", ResourceWarning)  # for the one that stays open on purpose
        last = Database(to)
        last.connect(9)
        last.execute("select show_locks();", 9)
        print(threading.active_count(), len(gc.garbage))
    """

    assert fresh(code, tmp_path) == (0, "1 0\n", "")


def test_driver_is_imported_without_what_it_does_not_need(tmp_path: Path) -> None:
    """pysqream 5.0.0 is imported without numpy and pyarrow, which would be three quarters of a worker's memory."""
    code = "import sys, sqmon.database.client; print(*sorted({'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))"
    status, found, said = fresh(code, tmp_path)

    assert (status, said) == (0, "")
    assert MODERN or found == "\n"


def test_import_leaves_the_import_path_alone(tmp_path: Path) -> None:
    """Importing pysqream doesn't leave its folder on the import path."""
    code = "import sys; before = [*sys.path]; import sqmon.database.client; print(before == sys.path, 'utils' in sys.modules)"

    assert fresh(code, tmp_path) == (0, "True False\n", "")


def test_import_is_led_astray_by_nothing(tmp_path: Path) -> None:
    """Neither a ping.py in the current directory nor a system without vmstat breaks the import."""
    for name in ("ping.py", "utils.py", "logger.py"):
        (tmp_path / name).write_text("raise ImportError('not this one')\n", "utf-8")

    assert fresh("import sqmon.database.client", tmp_path, PATH=str(tmp_path)) == (0, "", "")


def test_collection_is_on_again_after_a_fetch(connected: Database) -> None:
    """Garbage collection is off only while rows are fetched."""
    ask(connected)

    assert gc.isenabled()


@pytest.mark.parametrize(
    "text",
    [
        '{"colSzs":[8,16],"rows":2}',
        '{"a":1,"a":[null,true,-0,1.5,1e5]}',
        "1" * 30,
        "1e400",
        "NaN",
        '"\\ud800"',
        '"\ud800"',
        '"a\tb"',
        "[1,2",
        "",
        '{"rows":1}}',
    ],
)
def test_answers_are_read_as_by_the_driver_alone(text: str) -> None:
    """The quicker reader of answers returns and raises what pysqream's own does."""

    def outcome(read: Callable[[str], Any]) -> str:
        try:
            return repr(read(text))
        except ValueError as error:
            return repr(error)

    assert outcome(client._QuickJson.loads) == outcome(json.loads)
