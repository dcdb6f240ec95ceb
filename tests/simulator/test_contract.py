"""The real pysqream against the simulator: everything that a monitor does with it."""

from __future__ import annotations

import math
import socket
import ssl
import struct
import time
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from pysqream import utils

from sqmon.simulator import Column, Simulator
from sqmon.simulator.access import LOCKED
from tests.simulator.conftest import Clock
from tests.simulator.driver import MODERN, ask, connect, names

FIVE = ("show_server_status", "show_locks", "get_leveldb_stats", "show_cluster_nodes", "get_license_info")
SCALARS: list[tuple[str, list[Any]]] = [
    ("bool", [True, False, None]),
    ("tinyint", [0, 255, None]),
    ("smallint", [-(2**15), 2**15 - 1, None]),
    ("int", [-(2**31), 2**31 - 1, None]),
    ("bigint", [-(2**63), 2**63 - 1, None]),
    ("real", [-1.5, 2.0**100, None]),
    ("double", [-1e308, math.inf, None]),
    ("date", [date(1, 1, 1), date(9999, 12, 31), None]),
    ("datetime", [datetime(1900, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_000), None]),  # noqa: DTZ001
    ("numeric(38,0)", [Decimal(-(10**38) + 1), Decimal(10**38 - 1), None]),
    ("numeric(18,4)", [Decimal("12.5"), Decimal("-0.0001"), None]),
    ("varchar(12)", ["", "  ab", None]),
    ("text", ["", 'line\n"quoted" Zürich 東京 \U0001f600  ', None]),
]


@pytest.mark.parametrize("form", ["select {}()", "select {}();", "SELECT  {}( ) ;\n", "select * from {}()"])
@pytest.mark.parametrize("function", FIVE)
def test_each_default_function_answers_rows_of_its_columns(simulator: Simulator, function: str, form: str) -> None:
    """However the call is written, its rows have its columns."""
    simulator.set_rows({"show_locks": 2})
    cursor = connect(simulator.port).cursor()

    rows = ask(cursor, form.format(function))

    assert {len(names(cursor))} == {len(row) for row in rows}


@pytest.mark.parametrize(
    ("version", "function", "expected"),
    [
        (
            "2019",
            "show_locks",
            "stmt_id,stmt_string,username,server,port,locked_object,lockmode,statement_start_time,lock_start_time",
        ),
        (
            "2024-05",
            "show_locks",
            "statement id,statement string,username,server,port,locked object,lock mode,statement start time,lock start time",
        ),
        (
            "4.6",
            "show_locks",
            "statement_id,statement_string,username,server,port,locked_object,lockmode,statement_start_time,lock_start_time",
        ),
        (
            "4.10",
            "show_locks",
            (
                "statement id,statement string,username,server,port,locked object,lock mode,statement start time,lock start time,"
                "is_statement_active,is_snapshot_active"
            ),
        ),
        (
            "4.6",
            "get_license_info",
            (
                "compressed_cluster_size,uncompressed_cluster_size,compress_type,cluster_size_limit,expiration_date,is_date_expired,"
                "is_size_exceeded,cluster_size_left"
            ),
        ),
        (
            "2024-05",
            "get_license_info",
            (
                "compressed_cluster_size,uncompressed_cluster_size,compress_type,cluster_size_limit,expiration_date,is_date_expired,"
                "is_size_exceeded,cluster_size_left,data_read_size_limit,data_write_size_limit,gpu_limit"
            ),
        ),
        (
            "4.10",
            "get_license_info",
            (
                "compressed_cluster_size,uncompressed_cluster_size,compress_type,cluster_size_limit,expiration_date,is_date_expired,"
                "is_size_exceeded,cluster_size_left,data_read_size_limit,data_write_size_limit,gpu_limit"
            ),
        ),
        (
            "2019",
            "show_server_status",
            (
                "service id,instance id,connection id,server ip,server port,database name,user name,client ip,statement id,statement,"
                "statement start time,statement status,statement status start"
            ),
        ),
        (
            "2024-05",
            "show_server_status",
            (
                "service,instance_id,connection_id,server_ip,server_port,database_name,user_name,client_ip,statement_id,statement,"
                "statement_start_time,statement_status,statement_status_start"
            ),
        ),
        (
            "4.10",
            "show_server_status",
            (
                "service,instanceid,connection_id,serverip,serverport,database_name,user_name,clientip,statementid,statement,"
                "statementstarttime,statementstatus,statementstatusstart"
            ),
        ),
        ("4.10", "get_leveldb_stats", "timestamp,server_ip,server_port,msg,count,average,max,max_timestamp,variance"),
        ("4.10", "show_cluster_nodes", "server_ip,server_port,connection_id,instance_id,last_heartbeat,connection_status"),
    ],
)
def test_columns_of_each_generation(version: str, function: str, expected: str) -> None:
    """An empty result has the same columns as a full one, in each generation."""
    with Simulator(version=version, server_version=None) as simulator:
        simulator.set_rows({function: 0})
        cursor = connect(simulator.port).cursor()

        assert ask(cursor, f"select {function}()") == []
        assert expected.split(",") == names(cursor)


@pytest.mark.parametrize("version", ["4.6", "4.7"])
def test_two_forms_of_time_in_one_row(version: str) -> None:
    """A lock's row has the statement's time day first and the lock's year first, in both generations."""
    with Simulator(version=version, rows_locks=1, server_version=None) as simulator:
        row = ask(connect(simulator.port).cursor(), "select show_locks()")[0]

        assert time.strptime(row[7], "%d-%m-%Y %H:%M:%S") <= time.strptime(row[8], "%Y-%m-%d %H:%M:%S")


def test_server_status_always_shows_the_polling_statement(simulator: Simulator) -> None:
    """One of the rows is the polling statement's own, even when the number of rows is given."""
    cursor = connect(simulator.port).cursor()
    for count in (None, 3):
        simulator.set_rows({"show_server_status": count})
        own = [row for row in ask(cursor, "select show_server_status() ;") if row[9] == "select show_server_status() ;"]

        assert [(row[0], row[6], row[11]) for row in own] == [("monitor", "sqream", "Executing")]


@pytest.mark.parametrize(("type_", "values"), SCALARS, ids=[type_ for type_, _ in SCALARS])
def test_scalars_arrive_as_they_were_sent(simulator: Simulator, type_: str, values: list[Any]) -> None:
    """Extremes, NULL, and columns that can't hold NULL arrive as they were sent."""
    simulator.set_result("f", [Column("n", type_), Column("m", type_, nullable=False)], [(value, values[0]) for value in values])

    rows = ask(connect(simulator.port).cursor(), "select f()")

    assert [(value, values[0]) for value in values] == rows
    assert [[type(value) for value in values]] == [[type(row[0]) for row in rows]]


def test_nan_passes(simulator: Simulator) -> None:
    """NaN arrives as NaN."""
    simulator.set_result("f", [Column("n", "double")], [(math.nan,)])

    assert math.isnan(ask(connect(simulator.port).cursor(), "select f()")[0][0])


def test_moments_with_a_zone(simulator: Simulator) -> None:
    """pysqream 6 reads datetime2, and version 5 refuses the type."""
    moment = datetime(2025, 7, 14, 9, 30, 15, 123_456, tzinfo=timezone.utc)
    simulator.set_result("f", [Column("n", "datetime2")], [(moment,), (None,)])
    cursor = connect(simulator.port).cursor()
    if MODERN:
        first, second = (row[0] for row in ask(cursor, "select f()"))
        assert moment == first
        assert second is None or second != second  # noqa: PLR0124 - NaT is not equal to itself
    else:
        with pytest.raises(KeyError, match="ftTimestampTz"):
            ask(cursor, "select f()")


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("int[]", [[1, None, 3], None, [], [2**31 - 1]]),
        ("bool[]", [[True, None, False], None, []]),
        ("double[]", [[0.5, None], None, []]),
        ("date[]", [[date(2024, 2, 29), None], None, []]),
        ("text[]", [["ABC", "Zürich", None, ""], None, []]),
    ],
)
def test_arrays_arrive_as_they_were_sent(simulator: Simulator, type_: str, values: list[Any]) -> None:
    """NULL arrays, empty arrays and NULL elements arrive as they were sent."""
    simulator.set_result("f", [Column("n", type_)], [(value,) for value in values])

    assert [(value,) for value in values] == ask(connect(simulator.port).cursor(), "select f()")


@pytest.mark.parametrize("count", [0, 1, 3, 7, 10])
def test_a_result_in_many_chunks(count: int) -> None:
    """A result arrives in whole chunks and a shorter last one."""
    with Simulator(chunk_rows=3, server_version=None) as simulator:
        rows = [(number, f"row {number}") for number in range(count)]
        simulator.set_result("f", [Column("n", "int"), Column("t", "text")], rows)

        assert rows == ask(connect(simulator.port).cursor(), "select f()")


def test_a_large_lock_table_is_the_same_each_time() -> None:
    """A large lock table is the same in each answer, with ids, servers and objects that vary."""
    with Simulator(rows_locks=20_000, server_version=None) as simulator:
        cursor = connect(simulator.port).cursor()
        rows = ask(cursor, "select show_locks()")

        assert len(rows) == 20_000
        assert rows == ask(cursor, "select show_locks()")
        assert len({row[0] for row in rows}) > 4_000


def test_one_cursor_runs_statement_after_statement(simulator: Simulator) -> None:
    """One cursor runs statement after statement, and the counters know each."""
    connection = connect(simulator.port)
    cursor = connection.cursor()
    for _ in range(3):
        ask(cursor, "select show_cluster_nodes()")
    stats = simulator.stats()
    connection.close()

    assert (stats["logins"], stats["sessions"], stats["max_sessions"]) == (2, 2, 2)
    assert (stats["statements"], stats["rows_served"]) == ({"show_cluster_nodes": 3}, {"show_cluster_nodes": 12})
    assert simulator.stats()["sessions"] == 0


def test_a_version_makes_the_driver_ping() -> None:
    """The version in the greeting makes pysqream ping, and statements still work."""
    with Simulator(server_version="v2023.1.0") as simulator:
        cursor = connect(simulator.port).cursor()

        assert ask(cursor, "select show_version()") == [("v2023.1.0",)]


def test_tls() -> None:
    """The TLS port answers as the plain one does."""
    with Simulator(tls_port=0, server_version=None) as simulator:
        cursor = connect(simulator.tls_port, use_ssl=True).cursor()

        assert len(ask(cursor, "select show_cluster_nodes()")) == 4


def test_tls_on_the_plain_port(simulator: Simulator) -> None:
    """The driver finds a plain port at once, because that closes on the first byte of TLS."""
    with pytest.raises(Exception, match=r"Using use_ssl=True but connected to non ssl sqreamd port|closed \(EOF\)"):
        connect(simulator.port, use_ssl=True)


def test_plain_on_the_tls_port_is_an_error() -> None:
    """A plain login on the TLS port fails without hanging."""
    with Simulator(tls_port=0) as simulator:
        with pytest.raises(Exception, match=r"interrupted|reset|mismatch"):
            connect(simulator.tls_port)

        assert simulator.stats()["logins"] == 0


def test_picker(simulator: Simulator) -> None:
    """The picker sends both connection and cursor to the worker."""
    cursor = connect(simulator.picker_port, clustered=True).cursor()

    assert len(ask(cursor, "select show_cluster_nodes()")) == 4
    assert simulator.stats()["logins"] == 2


def test_picker_speaks_tls_with_those_who_begin_it() -> None:
    """The picker answers JDBC's ClientHello in one piece, and cuts off what is neither silence nor TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Simulator(tls_port=0, picker_tls_port=0) as simulator:
        address = ("127.0.0.1", simulator.picker_tls_port)
        with socket.create_connection(address, timeout=5) as raw, context.wrap_socket(raw) as client:
            answer = client.recv(100)
        with socket.create_connection(address, timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            refused = client.recv(100)

    assert answer == struct.pack("<i9si", 9, b"127.0.0.1", simulator.tls_port)
    assert refused == b""


def test_picker_and_tls() -> None:
    """pysqream asks the picker in plain, and the worker through TLS."""
    with Simulator(tls_port=0, picker_tls_port=0, server_version=None) as simulator:
        cursor = connect(simulator.picker_tls_port, clustered=True, use_ssl=True).cursor()

        assert len(ask(cursor, "select show_cluster_nodes()")) == 4


def test_clustered_on_a_worker_port(simulator: Simulator) -> None:
    """A worker that is taken for a picker says nothing."""
    with pytest.raises(utils.ProgrammingError, match="apparently not a server picker port"):
        connect(simulator.port, clustered=True)


def test_not_clustered_on_a_picker_port(simulator: Simulator) -> None:
    """A picker that is taken for a worker fails at the length of its host name."""
    with pytest.raises(Exception, match=r"server version - 9|reset by peer|Broken pipe"):
        connect(simulator.picker_port)


@pytest.mark.parametrize("use_ssl", [False, True])
def test_a_statement_moves_to_a_second_worker(use_ssl: bool) -> None:
    """A statement moves to the second worker under its number, and the next one runs there without moving."""
    with Simulator(tls_port=0, reconnect=True, server_version=None) as simulator:
        cursor = connect(simulator.tls_port if use_ssl else simulator.port, use_ssl=use_ssl).cursor()

        for _ in range(2):
            running = [row[3] for row in ask(cursor, "select show_connections()") if row[3] >= 0]
            assert running == [cursor.get_statement_id()]
        stats = simulator.stats()
        assert (stats["logins"], stats["sessions"]) == (2, 2)


@pytest.mark.parametrize("step", ["prepare", "execute", "fetch"])
def test_after_an_error_the_next_statement_works_on_a_new_connection(simulator: Simulator, step: str) -> None:
    """The server's error text arrives at every step, and a new connection works."""
    simulator.set_fault("show_locks", step, "error", text="no space on device", times=1)
    with pytest.raises(Exception, match="no space on device"):
        ask(connect(simulator.port).cursor(), "select show_locks()")
    simulator.set_rows({"show_locks": 2})

    assert len(ask(connect(simulator.port).cursor(), "select show_locks()")) == 2


@pytest.mark.parametrize("step", ["prepare", "execute", "fetch"])
def test_after_an_error_the_next_statement_works_on_the_same_cursor(simulator: Simulator, step: str) -> None:
    """After an error the same cursor works, since closeStatement is accepted without an open statement."""
    simulator.set_fault("show_locks", step, "error", times=1)
    cursor = connect(simulator.port).cursor()
    with pytest.raises(Exception, match="Internal Runtime Error"):
        ask(cursor, "select show_locks()")

    assert len(ask(cursor, "select get_license_info()")) == 1


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"username": "nobody"}, "Login failure: role 'nobody' doesn't exist"),
        ({"password": "wrong"}, "Login failure: wrong password for role 'sqream'"),
        ({"database": "flomaster"}, "Database flomaster no longer exists"),
        ({"service": "etl"}, "Login failure: There are no instances subscribed to the requested service."),
    ],
)
def test_a_login_is_refused_with_its_reason(simulator: Simulator, option: dict[str, str], text: str) -> None:
    """A wrong user, password, database or service is refused with its reason."""
    with pytest.raises(utils.ProgrammingError, match=f"Error connecting to database: {text}"):
        connect(simulator.port, **option)

    assert (simulator.stats()["failed_logins"], simulator.stats()["sessions"]) == (1, 0)


def test_five_wrong_passwords_lock_the_role(clock: Clock) -> None:
    """Five wrong passwords lock the role for a quarter of an hour, even for the right one."""
    with Simulator(clock=clock, server_version=None) as simulator:
        for _ in range(5):
            with pytest.raises(utils.ProgrammingError, match="wrong password"):
                connect(simulator.port, password="wrong")
        with pytest.raises(utils.ProgrammingError, match=LOCKED):
            connect(simulator.port)
        clock.seconds += 899
        with pytest.raises(utils.ProgrammingError, match=LOCKED):
            connect(simulator.port)
        clock.seconds += 1

        connect(simulator.port).close()


def test_a_right_password_starts_the_count_anew(clock: Clock) -> None:
    """A right password resets the count of wrong ones."""
    with Simulator(clock=clock, server_version=None) as simulator:
        for _ in range(2):
            for _ in range(4):
                with pytest.raises(utils.ProgrammingError, match="wrong password"):
                    connect(simulator.port, password="wrong")
            connect(simulator.port).close()


def test_a_new_password_lifts_the_lock(simulator: Simulator) -> None:
    """A new password unlocks the role, and the old one is wrong from then on."""
    for _ in range(6):
        with pytest.raises(utils.ProgrammingError):
            connect(simulator.port, password="wrong")
    simulator.set_password("new")
    with pytest.raises(utils.ProgrammingError, match="wrong password"):
        connect(simulator.port)

    connect(simulator.port, password="new").close()


@pytest.mark.parametrize(
    ("version", "text"),
    [("2019", "Internal Runtime Error"), ("4.7", "Internal Runtime Error"), ("4.10", "The query requires a GPU-Worker")],
)
def test_select_1_needs_a_gpu(version: str, text: str) -> None:
    """Without a GPU `select 1` fails, in each generation's words."""
    with Simulator(version=version, server_version=None) as simulator:
        with pytest.raises(Exception, match=text):
            ask(connect(simulator.port).cursor(), "select 1")
        with pytest.raises(Exception, match=text):
            ask(connect(simulator.port).cursor(), "select count(*) from t")


def test_select_1_with_a_gpu() -> None:
    """With a GPU `select 1` returns a row, and the flag for GPU memory agrees."""
    with Simulator(gpu=True, server_version=None) as simulator:
        cursor = connect(simulator.port).cursor()

        assert ask(cursor, "select 1;") == [(1,)]
        assert ask(cursor, "select show_md_flag('cudaMemQuota')") == [("cudaMemQuota", "90")]


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("select show_lock()", "Could not find function show_lock in catalog."),
        ("select show_locks('x')", "Could not find function show_locks in catalog."),
        ("select show_locks(); select show_locks()", "expected one statement, got 2"),
        (";", "expected one statement, got 0"),
        ("select shutdown_server()", "the simulator does not run it"),
        ("select * from sqream_catalog.nothing", "Could not find view"),
        ("select nothing from sqream_catalog.tables", "Could not find column nothing"),
        ("select show_node_info('x')", "show_node_info"),
    ],
)
def test_a_statement_is_refused_with_its_reason(simulator: Simulator, statement: str, text: str) -> None:
    """An unknown function, several statements, none, and a forbidden one are refused with their reasons."""
    with pytest.raises(Exception, match=text):
        ask(connect(simulator.port).cursor(), statement)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("select get_total_chunks_size('GB')", 2),
        ("select show_md_flag('cudaMemQuota')", 1),
        ("select show_conf()", 4),
        ("select show_node_info(-1)", 0),
        ("select show_subscribed_instances()", 5),
        ("select health_check_monitoring('metadata_stats', '/a;b.json', '/tmp')", 4),
        ("select get_role_permissions()", 2),
        ("select value from sqream_catalog.parameters where flag_name='cudaMemQuota'", 1),
        ("select * from sqream_catalog.databases", 1),
        ("select name, superuser from sqream_catalog.roles;", 5),
        ("select table_name from sqream_catalog.tables where table_id = 2", 1),
    ],
)
def test_other_functions_and_catalog_views(simulator: Simulator, statement: str, expected: int) -> None:
    """Functions with arguments and simple queries of catalog views are answered."""
    assert expected == len(ask(connect(simulator.port).cursor(), statement))


def test_connections_are_those_of_this_worker(simulator: Simulator) -> None:
    """show_connections has a row per connection: one never asked, one has finished, one is asking now."""
    connection = connect(simulator.port)
    finished = connection.cursor()
    ask(finished, "select get_license_info()")
    rows = ask(connection.cursor(), "select show_connections()")

    assert sorted(row[5] for row in rows) == ["", "", "select show_connections()"]
    assert sorted(row[3] == -1 for row in rows) == [False, True, True]


def test_a_function_that_one_generation_does_not_have() -> None:
    """A function that came later is unknown to an older generation."""
    with Simulator(version="4.6", server_version=None) as simulator, pytest.raises(Exception, match="Could not find function"):
        ask(connect(simulator.port).cursor(), "select get_open_snapshots()")


def test_a_statement_without_a_result_set(simulator: Simulator) -> None:
    """A statement without a result has no description."""
    simulator.set_result("f", [], [])
    cursor = connect(simulator.port).cursor()
    cursor.execute("select f()")

    assert cursor.description is None


def test_a_worker_that_is_gone_and_a_picker_that_does_not_know(simulator: Simulator) -> None:
    """A stopped worker cuts its sessions and refuses connections until it is back on the same port."""
    port = simulator.port
    cursor = connect(simulator.picker_port, clustered=True).cursor()
    simulator.stop_worker()
    with pytest.raises(Exception, match=r"interrupted|reset|Broken pipe"):
        ask(cursor, "select show_locks()")
    with pytest.raises(ConnectionRefusedError):
        connect(simulator.picker_port, clustered=True)
    simulator.start_worker()

    assert len(ask(connect(simulator.picker_port, clustered=True).cursor(), "select show_cluster_nodes()")) == 4
    assert port == simulator.port
