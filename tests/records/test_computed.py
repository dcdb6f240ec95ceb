"""Computed columns: both formats of the server's times, the generations of its columns, time zones, and rows that lack something."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import TYPE_CHECKING, Any, Iterator, Optional, Sequence

import pytest

from sqmon.cli.main import main
from sqmon.cli.once import poll
from sqmon.config import catalogue
from sqmon.config.metrics_file import parse
from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection, Metric
from sqmon.config.time_zone import zone_of
from sqmon.records.computed import Computation, moment
from sqmon.records.encoder import Encoder

if TYPE_CHECKING:
    from pathlib import Path

    from sqmon.simulator import Simulator
from sqmon.result import by_column

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 11, 24, 15, 30, 50, 500_000, UTC)
OLD_LOCKS = ("stmt_id", "stmt_string", "username", "server", "port", "locked_object", "lockmode", "statement_start_time", "lock_start_time")
NEW_LOCKS = (
    "statement id",
    "statement string",
    "username",
    "server",
    "port",
    "locked object",
    "lock mode",
    "statement start time",
    "lock start time",
    "is_statement_active",
    "is_snapshot_active",
)
STATUS = ("user_name", "statement", "statementstarttime", "statementstatusstart")
LICENCE = ("compressed_cluster_size", "uncompressed_cluster_size", "compress_type", "cluster_size_limit", "expiration_date")
QUERY = "select show_server_status();"


@pytest.fixture
def berlin_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make this host's own time zone Berlin's."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def nanoseconds(when: dt.datetime) -> int:
    """Return nanoseconds since 1970."""
    return int(when.timestamp()) * 10**9 + when.microsecond * 1000


def extended(
    metric: str, columns: Sequence[str], *rows: tuple[Any, ...], now: dt.datetime = NOW, zone: Optional[str] = "UTC"
) -> list[dict[str, Any]]:
    """Return the records that these rows become."""
    computation = Computation(metric, query=QUERY, user="sqream", zone=zone_of(zone or ""))
    extended = computation.extended(by_column([*columns], rows), computation.at(nanoseconds(now)))
    batches = Encoder(metric, "run").part(extended, poll=1, poll_rows=len(rows), started_ns=nanoseconds(now))
    return [json.loads(line) for batch in batches for line in batch.data.splitlines()]


def lock(columns: Sequence[str], started: object, locked: object) -> tuple[Any, ...]:
    """Return a row of show_locks."""
    times = {"statement_start_time": started, "lock_start_time": locked}
    return tuple(times.get(column.replace(" ", "_"), "x") for column in columns)


@pytest.mark.parametrize("columns", [OLD_LOCKS, NEW_LOCKS])
@pytest.mark.parametrize("locked", ["2026-11-24 15:30:40", "24-11-2026 15:30:40"])
def test_locks_have_ages(columns: Sequence[str], locked: str) -> None:
    """Locks have ages in both generations of columns and both formats of time, even where one row mixes them."""
    (record,) = extended("show_locks", columns, lock(columns, "24-11-2026 14:30:50", locked))

    assert ["lock_age_s", "statement_age_s"] == list(record)[-2:]
    assert (10, 3600) == (record["lock_age_s"], record["statement_age_s"])


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24 15:30:40",
        "24-11-2026 15:30:40",
        "2026-11-24T15:30:40",
        "2026-11-24 15:30:40.25",
        "24-11-2026 15:30:40.123456789",
        dt.datetime(2026, 11, 24, 15, 30, 40),  # noqa: DTZ001
        dt.datetime(2026, 11, 24, 16, 30, 40, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    ],
)
def test_times_that_are_read(text: object) -> None:
    """Times that a server may reasonably send are read to the second."""
    (record,) = extended("show_locks", ("lock_start_time",), (text,))

    assert record["lock_age_s"] in (10, 9)


@pytest.mark.parametrize(
    "text", [None, "", "-", "None", "never", 17, 2.5, True, "99-99-2026 11:11:11", "2026-02-30 00:00:00", "9" * 100_000]
)
def test_what_is_no_time_has_no_age(text: object) -> None:
    """A value that is no time gives a column with null, so that queries find the column."""
    (record,) = extended("show_locks", ("lock_start_time",), (text,))

    assert record["lock_age_s"] is None


def test_arrays_have_no_age() -> None:
    """An array, which can't be hashed, has no age and stops no row."""
    records = extended("show_locks", ("lock_start_time",), (["a"],), ("2026-11-24 15:30:40",))

    assert [None, None] == [record["lock_age_s"] for record in records]


def test_times_out_of_range_have_no_age(berlin_host: None) -> None:
    """A time at the beginning of the calendar, which some zones can't express, has no age."""
    del berlin_host
    records = extended("show_locks", ("lock_start_time",), ("0001-01-01 00:00:00",), ("9999-12-31 23:59:59",), zone="")

    assert all(record["lock_age_s"] is None or abs(record["lock_age_s"]) > 10**10 for record in records)


def test_rows_without_the_sources_stay_as_they_are() -> None:
    """A column whose source the server doesn't send is left out, and the others are computed."""
    (record,) = extended("show_locks", ("lock_start_time", "port"), ("2026-11-24 15:30:40", 5000))
    (bare,) = extended("show_locks", ("port",), (5000,))
    (licence,) = extended("get_license_info", ("expiration_date",), ("2026-12-24",))

    assert ("lock_age_s" in record, "statement_age_s" in record) == (True, False)
    assert ["ts", "seq", "metric", "run_id", "poll", "poll_rows", "port"] == list(bare)
    assert ("days_to_expiration" in licence, "size_used_ratio" in licence) == (True, False)


def test_other_metrics_stay_as_they_are() -> None:
    """A metric without computed columns and a query of one's own are not changed, whatever their columns are called."""
    for metric in ("show_cluster_nodes", "my_locks"):
        (record,) = extended(metric, ("lock_start_time",), ("2026-11-24 15:30:40",))

        assert not any(name.endswith("_s") for name in record)


def test_own_statement_is_marked() -> None:
    """The poll's own statement is found by its text and its role, however the server writes the text."""
    rows = [("sqream", QUERY), ("sqream", "SELECT  show_server_status()"), ("etl", QUERY), ("sqream", "select 1"), ("sqream", None)]
    records = extended("show_server_status", STATUS, *((*row, "2026-11-24 15:30:40", "24-11-2026 15:30:45") for row in rows))

    assert [True, True, False, False, False] == [record["is_self"] for record in records]
    assert ("statement_age_s", "status_age_s", "is_self") == tuple(records[0])[-3:]
    assert (10, 5) == (records[0]["statement_age_s"], records[0]["status_age_s"])


def test_age_below_zero_shows_a_clock_that_differs() -> None:
    """An age below zero is written as it is, so that a wrong --server_timezone shows."""
    (record,) = extended("show_locks", ("lock_start_time",), ("2026-11-24 17:30:50",))

    assert record["lock_age_s"] < -7000


@pytest.mark.parametrize("kind", ["compressed", "uncompressed"])
@pytest.mark.parametrize("convert", [int, str])
def test_licence_counts_what_it_counts(kind: str, convert: type) -> None:
    """The ratio is that of the size that `compress_type` names, whether the server sends numbers or text."""
    row = (convert(10), convert(18), kind, convert(20), "2027-01-23")
    (record,) = extended("get_license_info", LICENCE, row)

    assert (60, 0.5 if kind == "compressed" else 0.9) == (record["days_to_expiration"], record["size_used_ratio"])


@pytest.mark.parametrize("limit", [None, 0, "0", "unlimited"])
def test_licence_without_a_limit_has_no_ratio(limit: object) -> None:
    """A licence without a limit has the ratio null."""
    (record,) = extended("get_license_info", LICENCE, (10, 18, "compressed", limit, "23-11-2026"))

    assert (-1, None) == (record["days_to_expiration"], record["size_used_ratio"])


def test_days_follow_the_servers_calendar() -> None:
    """Days are counted in the server's zone, where it may be the next day already."""
    (there,) = extended("get_license_info", LICENCE, (1, 1, "compressed", 2, "2026-11-25"), zone="+13:00")
    (here,) = extended("get_license_info", LICENCE, (1, 1, "compressed", 2, "2026-11-25"))

    assert (0, 1) == (there["days_to_expiration"], here["days_to_expiration"])


BERLIN_CASES = [
    (dt.datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC), "2026-07-01 13:00:00", 3600),
    (dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC), "2026-01-01 13:00:00", 0),
    # 2026-10-25, 03:00 summer time is 02:00 winter time: 00:30 and 01:30 in Greenwich are both half past two.
    (dt.datetime(2026, 10, 25, 0, 30, 5, tzinfo=UTC), "2026-10-25 02:30:00", 5),
    (dt.datetime(2026, 10, 25, 1, 30, 5, tzinfo=UTC), "2026-10-25 02:30:00", 5),
    # In the first minutes of the second pass, what began later in the first one did not begin in the future ...
    (dt.datetime(2026, 10, 25, 1, 0, 30, tzinfo=UTC), "2026-10-25 02:04:00", 3390),
    (dt.datetime(2026, 10, 25, 1, 0, 30, tzinfo=UTC), "2026-10-25 02:00:36", 3594),
    # ... but a server may be some seconds ahead.
    (dt.datetime(2026, 10, 25, 1, 0, 30, tzinfo=UTC), "2026-10-25 02:00:34", -4),
    (dt.datetime(2026, 10, 25, 2, 0, 0, tzinfo=UTC), "25-10-2026 01:59:59", 7201),
    # 2026-03-29: nothing is between 02:00 and 03:00.
    (dt.datetime(2026, 3, 29, 1, 0, 5, tzinfo=UTC), "2026-03-29 01:59:59", 6),
]


@pytest.mark.parametrize(("now", "text", "age"), BERLIN_CASES)
def test_daylight_saving_time_of_a_named_zone(now: dt.datetime, text: str, age: int) -> None:
    """A time in the hour that comes twice has the younger age, so that no lock is taken for an old one."""
    pytest.importorskip("zoneinfo")
    try:
        zone_of("Europe/Berlin")
    except ValueError as error:
        pytest.skip(str(error))
    (record,) = extended("show_locks", ("lock_start_time",), (text,), now=now, zone="Europe/Berlin")

    assert age == record["lock_age_s"]


@pytest.mark.parametrize(("now", "text", "age"), BERLIN_CASES)
def test_daylight_saving_time_of_the_host(berlin_host: None, now: dt.datetime, text: str, age: int) -> None:
    """The host's own zone needs no database of time zones."""
    del berlin_host
    (record,) = extended("show_locks", ("lock_start_time",), (text,), now=now, zone="")

    assert age == record["lock_age_s"]


@pytest.mark.parametrize("name", ["Atlantis/Capital", "+99", "../../etc/passwd", "Europe/"])
def test_unknown_zones_are_refused(name: str) -> None:
    """An unknown zone is refused on the command line."""
    with pytest.raises(ValueError, match="not a time zone"):
        zone_of(name)


def test_moment_reads_dates() -> None:
    """A DATE column is read."""
    assert dt.datetime(2026, 11, 24) == moment(dt.date(2026, 11, 24))  # noqa: DTZ001


@pytest.mark.parametrize("metric", catalogue.DEFAULT_METRICS)
def test_catalogue_documents_what_is_computed(metric: str) -> None:
    """The catalogue describes every computed column, in the order in which they come."""
    columns = catalogue.FUNCTIONS[metric].columns
    computation = Computation(metric, query="", user="", zone=None)
    extended = computation.extended(by_column([*columns], [columns]), computation.at(0))

    assert list(catalogue.FUNCTIONS[metric].computed) == extended.columns[len(columns) :]


def test_large_poll_is_not_copied() -> None:
    """The server's columns are handed on as they are, so that a large poll is in memory once."""
    result = by_column(["lock_start_time"], [(f"2026-11-24 15:{number % 60:02d}:00",) for number in range(10_000)])
    computation = Computation("show_locks", query="", user="", zone=None)
    extended = computation.extended(result, computation.at(nanoseconds(NOW)))

    assert extended.data[0] is result.data[0]
    assert (10_000, 10_000) == (extended.rows, len(extended.data[1]))


def test_once_prints_them(simulator: Simulator, tmp_path: Path) -> None:
    """`once` prints computed columns."""
    host, port = simulator.addresses["worker"]
    metrics: list[Metric] = parse(b'{"show_server_status": 1, "show_locks": 1, "get_license_info": 1}', "test", None)
    with (tmp_path / "out").open("wb") as out:
        poll(Connection(host, port, "master", "sqream", "monitor", password=PasswordSource("sqream")), metrics, "full", out)
    records = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    own = [record for record in records if record.get("is_self")]

    assert 1 == len(own)
    assert abs(own[0]["statement_age_s"]) < 60
    assert all(record["lock_age_s"] is not None for record in records if record["metric"] == "show_locks")
    assert all(0 <= record["size_used_ratio"] <= 1 for record in records if record["metric"] == "get_license_info")


def test_zone_of_the_server_reaches_the_poll(simulator: Simulator, tmp_path: Path) -> None:
    """--server_timezone changes the ages that are written."""
    host, port = simulator.addresses["worker"]
    ages = []
    for zone in ("", "+14:00"):
        with (tmp_path / "out").open("wb") as out:
            connection = Connection(host, port, "master", "sqream", "monitor", password=PasswordSource("sqream"), server_timezone=zone)
            poll(connection, parse(b'{"show_server_status": 1}', "test", None), "full", out)
        records = map(json.loads, (tmp_path / "out").read_bytes().splitlines())
        ages += [record["statement_age_s"] for record in records if record["is_self"]]
    offset = dt.datetime.now().astimezone().utcoffset()
    assert offset is not None

    assert abs(ages[1] - ages[0] - (14 * 3600 - offset.total_seconds())) < 60


def test_unknown_zone_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown zone is one line and exit code 2, before anything is connected to."""
    with pytest.raises(SystemExit) as caught:
        main(["once", "--server-timezone", "Atlantis/Capital"])

    assert caught.value.code == 2
    assert "Atlantis/Capital" in capsys.readouterr().err
