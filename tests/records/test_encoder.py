"""From rows to lines: what values become, what keys are called, and that no line is too long."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqmon.clock import ClockStep
from sqmon.records.column_names import LONGEST_NAME, normalised
from sqmon.records.encoder import MAX_LINE, Batch, Encoder, new_run_id
from tests.support.segment_files import METADATA

START_NS = 1_795_534_250_123_456_789


def strict(line: bytes) -> dict[str, Any]:
    """Return the record of a line, which must be one flat, strict JSON object with unique keys and a newline at its end."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(pairs) == len(dict(pairs))
        return dict(pairs)

    def refused(constant: str) -> None:
        raise AssertionError(constant)

    assert len(line) <= MAX_LINE
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    record = json.loads(line.decode(), object_pairs_hook=unique, parse_constant=refused)
    assert isinstance(record, dict)
    return record


def records_of(batches: list[Batch]) -> list[dict[str, Any]]:
    """Return the records of all batches, whose own figures must be right."""
    found = []
    for batch in batches:
        lines = batch.data.splitlines(keepends=True) if b"\r" not in batch.data else batch.data.split(b"\n")
        part = [strict(line) for line in lines]
        assert (len(part), part[0]["seq"], part[-1]["seq"]) == (batch.lines, batch.first_seq, batch.last_seq)
        found += part
    return found


def encoded(value: object) -> object:
    """Return what one value becomes in a record."""
    (record,) = records_of(list(Encoder("m", "r").rows(("x",), [(value,)], poll=1, started_ns=START_NS)))
    return record["x"]


def test_record_has_the_metadata_first_and_the_columns_in_server_order() -> None:
    """The bytes of a whole line are those of the contract: the metadata, then the columns in server order."""
    (batch,) = Encoder("show_locks", "20261124T153000Z-3f9a").rows(
        ("statement id", "Statement String"), [("2", "select 1;")], poll=57, started_ns=START_NS
    )

    expected = (
        b'{"ts":"2026-11-24T15:30:50.123456789Z","seq":1,"metric":"show_locks","run_id":"20261124T153000Z-3f9a",'
        b'"poll":57,"poll_rows":1,"statement_id":"2","statement_string":"select 1;"}\n'
    )
    assert Batch(expected, 1, 1, 1) == batch


def test_event_has_level_and_event_after_the_run() -> None:
    """An event has level and event after the run, and otherwise follows the same rules."""
    batch = Encoder("sqmon", "r").event("info", "poll", {"target": "show_locks", "ts": 1.5}, now_ns=START_NS)

    assert batch.data == (
        b'{"ts":"2026-11-24T15:30:50.123456789Z","seq":1,"metric":"sqmon","run_id":"r","level":"info","event":"poll",'
        b'"target":"show_locks","ts_2":1.5}\n'
    )


def test_cluster_follows_the_metric_in_every_line() -> None:
    """With a name of the cluster, records and events have it after the metric, and a column of that name gives way."""
    encoder = Encoder("show_locks", "r", cluster='prod "1"')
    (batch,) = encoder.rows(("cluster",), [("theirs",)], poll=1, started_ns=START_NS)
    event = encoder.event("info", "start", {"cluster": "field"}, now_ns=START_NS + 1)

    (record,), (told,) = records_of([batch]), records_of([event])
    assert ["ts", "seq", "metric", "cluster", "run_id", "poll", "poll_rows", "cluster_2"] == list(record)
    assert ["ts", "seq", "metric", "cluster", "run_id", "level", "event", "cluster_2"] == list(told)
    assert ('prod "1"', "theirs") == (record["cluster"], record["cluster_2"])


def test_ts_and_seq_increase_without_holes_while_the_clock_is_a_second_behind() -> None:
    """ts and seq increase by one a row over several polls and many batches, while the clock is up to a second behind."""
    steps: list[ClockStep] = []
    encoder = Encoder("m", "r", on_step=steps.append)
    found = []
    for started_ns in (START_NS, START_NS + 3000 - 10**9, 1_795_534_259_999_999_000):
        found += records_of(list(encoder.rows(("x",), [(1,)] * 3000, poll=1, started_ns=started_ns)))
    stamps = [record["ts"] for record in found]

    assert list(range(1, 9001)) == [record["seq"] for record in found]
    assert sorted(set(stamps)) == stamps
    assert stamps[-1] == "2026-11-24T15:31:00.000001999Z"
    assert all(len(stamp) == len("2026-11-24T15:30:50.123456789Z") for stamp in stamps)
    assert steps == []


def test_ts_follows_the_last_run_when_it_is_known() -> None:
    """A new process continues after the newest stamp of the files when its clock is a little behind."""
    (batch,) = Encoder("m", "r", last_ns=START_NS).rows(("x",), [(1,)], poll=1, started_ns=START_NS - 10**9)

    assert strict(batch.data)["ts"] == "2026-11-24T15:30:50.123456790Z"


def test_ts_is_the_true_time_again_when_the_clock_was_set_back() -> None:
    """After the clock was set back ts is the true time, and the owner of the encoder hears once by how much."""
    steps: list[ClockStep] = []
    encoder = Encoder("m", "r", last_ns=START_NS + 7200 * 10**9, on_step=steps.append)
    polls = [list(encoder.rows(("x",), [(1,)] * 2, poll=1, started_ns=START_NS + number)) for number in (0, 5)]
    event = encoder.event("info", "start", {}, now_ns=START_NS - 2 * 10**9)

    assert [record["ts"][-10:] for batches in polls for record in records_of(batches)] == [
        "123456789Z",
        "123456790Z",
        "123456794Z",
        "123456795Z",
    ]
    assert strict(event.data)["ts"] == "2026-11-24T15:30:48.123456789Z"
    assert [step.back_s for step in steps] == [7200.0, 2.000000006]


def test_no_row_makes_no_batch() -> None:
    """No rows make no line."""
    encoder = Encoder("m", "r")

    assert (list(encoder.rows(("x",), [], poll=1, started_ns=START_NS)), encoder.seq) == ([], 0)


def test_seq_counts_only_what_was_handed_out() -> None:
    """A consumer that stops in the middle of a poll leaves no hole in seq."""
    encoder = Encoder("m", "r")
    first = next(encoder.rows(("x",), [(1,)] * 5000, poll=1, started_ns=START_NS))

    assert first.last_seq == encoder.seq < 5000


class Level(IntEnum):
    """A subclass of int."""

    HIGH = 3


class Words(str):
    """A subclass of str."""

    __slots__ = ()


class Broken:
    """A value that can't even be printed."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2**53, 2**53),
        (2**53 + 1, "9007199254740993"),
        (-(2**53) - 1, "-9007199254740993"),
        (1.5, 1.5),
        (float("nan"), None),
        (float("inf"), None),
        (float("-inf"), None),
        (Decimal("1.50"), "1.50"),
        (Decimal("NaN"), None),
        (Decimal("-Infinity"), None),
        (dt.date(2026, 11, 24), "2026-11-24"),
        (dt.datetime.fromisoformat("2026-11-24T15:30:50.005000"), "2026-11-24T15:30:50.005000"),
        (dt.time(1, 2, 3), "01:02:03"),
        (dt.timedelta(days=1), "1 day, 0:00:00"),
        (b"ab\xff", "ab\ufffd"),
        (bytearray(b"ab"), "ab"),
        ([1, None, "x", 2**60, float("nan")], '[1,null,"x","1152921504606846976",null]'),
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        ("line\nfeed\u2028\0\x1b[31m", "line\nfeed\u2028\0\x1b[31m"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("\ud83d\ude00", "\U0001f600"),
        ("bad \udcff byte", "bad \ufffd byte"),
        (Level.HIGH, 3),
        (Words("x"), "x"),
        (np.int64(5), 5),
        (np.float64("nan"), None),
        (np.bool_(True), True),
        (np.array([1, 2]), "[1,2]"),
        (np.datetime64("2026-11-24T15:30:50"), "2026-11-24T15:30:50"),
        (Broken(), "<Broken>"),
    ],
)
def test_values_keep_their_type_or_become_text(value: object, expected: object) -> None:
    """Values keep their type where JSON has it, and otherwise become text."""
    assert (expected, type(expected)) == (encoded(value), type(encoded(value)))


def test_no_int_is_too_long_to_be_written() -> None:
    """An int of more than 4300 digits, which Python refuses to print, is written."""
    assert encoded(10**5000) == "1" + "0" * 5000


def test_a_list_that_holds_itself_becomes_text() -> None:
    """A list that contains itself becomes text."""
    value: list[object] = []
    value.append(value)

    assert encoded(value) == "[[...]]"


def test_value_that_needs_work_changes_nothing_else_of_its_column() -> None:
    """A value that has to be converted doesn't change the others of its column."""
    values = [1, None, 2**60, "x", True, 1.5, dt.date(2026, 1, 2), Decimal(1), "\ud800"]
    found = records_of(list(Encoder("m", "r").rows(("x",), [(v,) for v in values], poll=1, started_ns=START_NS)))

    assert [1, None, str(2**60), "x", True, 1.5, "2026-01-02", "1", "\ufffd"] == [record["x"] for record in found]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("statement id", "LockMode", "a--b", "x (%)"), ("statement_id", "lockmode", "a_b", "x_")),
        (("", "a", ""), ("column_1", "a", "column_3")),
        (("a", "A", "a ", "a_2"), ("a", "a_2", "a_", "a_2_2")),
        (("ts", "seq", "truncated", "Poll Rows"), ("ts_2", "seq_2", "truncated_2", "poll_rows_2")),
        (("größe", "?column?", "_"), ("gr_e", "_column_", "_")),
        (("x" * 10_000_000,), ("x" * LONGEST_NAME,)),
    ],
)
def test_column_names_become_keys(columns: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Keys are in lower case, with one underscore for a run of other characters and a number where two would be the same."""
    assert expected == normalised(columns, [*METADATA, "truncated"])


def test_rows_may_be_lists() -> None:
    """Rows may be lists."""
    found = records_of(list(Encoder("m", "r").rows(["a", "b"], [[1, 2], [3, "x"]], poll=1, started_ns=START_NS)))

    assert [[record["a"], record["b"]] for record in found] == [[1, 2], [3, "x"]]


def test_changed_columns_are_noticed() -> None:
    """Columns that change between two polls, as after an upgrade, get their new keys."""
    encoder = Encoder("m", "r")
    batches = [
        *encoder.rows(("a", "b"), [(1, 2)], poll=1, started_ns=START_NS),
        *encoder.rows(("b", "a", "c"), [(3, 4, 5)], poll=2, started_ns=START_NS),
    ]

    assert [list(record)[6:] for record in records_of(batches)] == [["a", "b"], ["b", "a", "c"]]


@pytest.mark.parametrize("text", ["x" * 40_000, "é" * 30_000, "\n" * 30_000, "\U0001f600" * 9_000, "\x00" * 7_000, "x" * 10_000_000])
def test_longest_string_is_cut_at_a_character_and_named(text: str) -> None:
    """The longest string is cut at a character, by no more bytes than necessary, and named."""
    (batch,) = Encoder("m", "r").rows(("a", "text", "b"), [(1, text, "kept")], poll=1, started_ns=START_NS)
    record = strict(batch.data)

    assert len(batch.data) > MAX_LINE - 8
    assert record["truncated"] == ["text"]
    assert text.startswith(record["text"])
    assert (record["a"], record["b"], list(record)[-1]) == (1, "kept", "truncated")


def test_line_of_exactly_the_limit_is_not_cut() -> None:
    """A line of exactly the limit is not cut, and one that is a byte longer is."""
    (empty,) = Encoder("m", "r").rows(("x", "y"), [("", "")], poll=1, started_ns=START_NS)
    text = "x" * (MAX_LINE - len(empty.data) - 8000)
    (fits,) = Encoder("m", "r").rows(("x", "y"), [(text, "y" * 8000)], poll=1, started_ns=START_NS)
    (cut,) = Encoder("m", "r").rows(("x", "y"), [(text + "x", "y" * 8000)], poll=1, started_ns=START_NS)

    assert (len(fits.data), "truncated" in strict(fits.data), strict(cut.data)["truncated"]) == (MAX_LINE, False, ["x"])


def test_hundreds_of_huge_columns_make_one_line() -> None:
    """Hundreds of huge columns are all cut alike, and make one line."""
    columns = [f"c{number}" for number in range(400)]
    (batch,) = Encoder("m", "r").rows(columns, [("x" * 5000,) * 400], poll=1, started_ns=START_NS)
    record = strict(batch.data)

    assert [*METADATA, *columns, "truncated"] == list(record)
    assert columns == record["truncated"]


def test_thousands_of_huge_names_make_one_line() -> None:
    """Where not even the keys fit, the last columns are left out, and the line says how many."""
    columns = [f"{number}{'x' * 1000}" for number in range(3000)]
    (batch,) = Encoder("m", "r").rows(columns, [("x" * 50,) * 3000], poll=1, started_ns=START_NS)
    record = strict(batch.data)
    unnamed = re.fullmatch(r"and (\d+) more", record["truncated"][-1])

    assert unnamed is not None
    assert len(record["truncated"]) - 1 + int(unnamed[1]) == 3000


def test_large_poll_comes_in_small_batches() -> None:
    """Batches are bounded, however many rows there are and however long their strings."""
    rows = [(number, "x" * (number % 100) * 300) for number in range(3000)]
    batches = list(Encoder("m", "r").rows(("a", "b"), rows, poll=1, started_ns=START_NS))

    assert sum(batch.lines for batch in batches) == 3000
    assert max(len(batch.data) for batch in batches) < 4 * 1024 * 1024


def test_run_ids_tell_the_second_and_differ() -> None:
    """Run ids tell the second of the start, and those of processes that start together differ."""
    ids = {new_run_id(START_NS) for _ in range(20)}

    assert all(re.fullmatch(r"20261124T153050Z-[0-9a-f]{4}", run_id) for run_id in ids)
    assert len(ids) > 1


TEXTS = st.one_of(
    st.text(max_size=50),
    st.text(alphabet=st.characters(), max_size=20),
    st.sampled_from(["\ud800", "\udcff\udc80", "\0", "\u2028\r\n", "\x1b[31mred\x1b[0m", "\U0001f600" * 9000]),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=3), st.integers(0, 20_000)),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    TEXTS,
    st.binary(max_size=30),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.timezone.utc)),
    st.times(),
    st.decimals(),
    st.lists(st.one_of(st.integers(), st.none(), st.floats(), st.text(max_size=5)), max_size=4),
)


@given(
    st.lists(TEXTS, min_size=1, max_size=6).flatmap(
        lambda columns: st.tuples(st.just(columns), st.lists(st.tuples(*[VALUES] * len(columns)), min_size=1, max_size=8))
    )
)
@settings(max_examples=250, suppress_health_check=list(HealthCheck))
def test_any_rows_make_valid_lines_under_the_cap(table: tuple[list[str], list[tuple[object, ...]]]) -> None:
    """Any rows make one strict line each, which loses nothing but what it names and keeps plain values unchanged."""
    columns, rows = table
    found = records_of(list(Encoder("m", "r").rows(columns, rows, poll=1, started_ns=START_NS)))
    names = normalised(columns, [*METADATA, "truncated"])

    assert len(rows) == len(found)
    for row, record in zip(rows, found):
        cut = record.pop("truncated", [])
        assert [*METADATA, *names] == list(record)
        for name, value in zip(names, row):
            if name in cut:
                assert isinstance(record[name], str)
            elif isinstance(value, str):
                assert "\ufffd" in record[name] or value.encode("utf-16", "surrogatepass") == record[name].encode("utf-16")
            elif value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) <= 2**53):
                assert (value, type(value)) == (record[name], type(record[name]))
            elif isinstance(value, int):
                assert str(value) == record[name]
            elif isinstance(value, float):
                assert record[name] == (value if abs(value) < float("inf") else None)
