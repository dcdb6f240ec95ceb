"""From rows to lines: what the values become, what the keys are called, and that no line is ever too long."""

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

METADATA = ["ts", "seq", "metric", "run_id", "poll", "poll_rows"]
START_NS = 1_795_534_250_123_456_789


def strict(line: bytes) -> dict[str, Any]:
    """The record of a line that must be one flat, strict JSON object with unique keys and one newline at its end."""

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
    """The records of all batches, whose own figures must be right."""
    found = []
    for batch in batches:
        lines = batch.data.splitlines(keepends=True) if b"\r" not in batch.data else batch.data.split(b"\n")
        part = [strict(line) for line in lines]
        assert (len(part), part[0]["seq"], part[-1]["seq"]) == (batch.lines, batch.first_seq, batch.last_seq)
        found += part
    return found


def encoded(value: object) -> object:
    """What one value becomes in a record."""
    (record,) = records_of(list(Encoder("m", "r").rows(("x",), [(value,)], poll=1, started_ns=START_NS)))
    return record["x"]


def test_record_has_the_metadata_first_and_the_columns_in_server_order() -> None:
    """The bytes of a whole line, as the contract shows them."""
    (batch,) = Encoder("show_locks", "20261124T153000Z-3f9a").rows(
        ("statement id", "Statement String"), [("2", "select 1;")], poll=57, started_ns=START_NS
    )

    expected = (
        b'{"ts":"2026-11-24T15:30:50.123456789Z","seq":1,"metric":"show_locks","run_id":"20261124T153000Z-3f9a",'
        b'"poll":57,"poll_rows":1,"statement_id":"2","statement_string":"select 1;"}\n'
    )
    assert Batch(expected, 1, 1, 1) == batch


def test_event_has_level_and_event_after_the_run() -> None:
    """The service's own stream follows the same rules."""
    batch = Encoder("sqmon", "r").event("info", "poll", {"target": "show_locks", "ts": 1.5}, now_ns=START_NS)

    assert batch.data == (
        b'{"ts":"2026-11-24T15:30:50.123456789Z","seq":1,"metric":"sqmon","run_id":"r","level":"info","event":"poll",'
        b'"target":"show_locks","ts_2":1.5}\n'
    )


def test_ts_and_seq_increase_without_holes_while_the_clock_is_a_second_behind() -> None:
    """Over several polls and many batches, one nanosecond a row, across a change of the second."""
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
    """A new process can go on after the newest stamp of the files, though its clock is a little behind."""
    (batch,) = Encoder("m", "r", last_ns=START_NS).rows(("x",), [(1,)], poll=1, started_ns=START_NS - 10**9)

    assert strict(batch.data)["ts"] == "2026-11-24T15:30:50.123456790Z"


def test_ts_is_the_true_time_again_when_the_clock_was_set_back() -> None:
    """A stamp from the future is followed by no other, and whoever owns the encoder hears once by how much the clock stepped."""
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
    """Zero rows write no line."""
    encoder = Encoder("m", "r")

    assert (list(encoder.rows(("x",), [], poll=1, started_ns=START_NS)), encoder.seq) == ([], 0)


def test_seq_counts_only_what_was_handed_out() -> None:
    """A consumer that stops in the middle of a poll leaves no hole."""
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
    """What the driver can return, and what it should not."""
    assert (expected, type(expected)) == (encoded(value), type(encoded(value)))


def test_no_int_is_too_long_to_be_written() -> None:
    """Python itself refuses to print more than 4300 digits."""
    assert encoded(10**5000) == "1" + "0" * 5000


def test_a_list_that_holds_itself_becomes_text() -> None:
    """No value can send the encoder into an endless recursion."""
    value: list[object] = []
    value.append(value)

    assert encoded(value) == "[[...]]"


def test_value_that_needs_work_changes_nothing_else_of_its_column() -> None:
    """The decision for a column never spoils the values that were fine."""
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
    """Lower case, one underscore for a run of anything else, a number where two would be the same."""
    assert expected == normalised(columns, [*METADATA, "truncated"])


def test_rows_may_be_lists() -> None:
    """Not every driver returns tuples."""
    found = records_of(list(Encoder("m", "r").rows(["a", "b"], [[1, 2], [3, "x"]], poll=1, started_ns=START_NS)))

    assert [[record["a"], record["b"]] for record in found] == [[1, 2], [3, "x"]]


def test_changed_columns_are_noticed() -> None:
    """A server that is upgraded between two polls gets its new keys."""
    encoder = Encoder("m", "r")
    batches = [
        *encoder.rows(("a", "b"), [(1, 2)], poll=1, started_ns=START_NS),
        *encoder.rows(("b", "a", "c"), [(3, 4, 5)], poll=2, started_ns=START_NS),
    ]

    assert [list(record)[6:] for record in records_of(batches)] == [["a", "b"], ["b", "a", "c"]]


@pytest.mark.parametrize("text", ["x" * 40_000, "é" * 30_000, "\n" * 30_000, "\U0001f600" * 9_000, "\x00" * 7_000, "x" * 10_000_000])
def test_longest_string_is_cut_at_a_character_and_named(text: str) -> None:
    """Bytes count, not characters, and as few of them are lost as possible."""
    (batch,) = Encoder("m", "r").rows(("a", "text", "b"), [(1, text, "kept")], poll=1, started_ns=START_NS)
    record = strict(batch.data)

    assert len(batch.data) > MAX_LINE - 8
    assert record["truncated"] == ["text"]
    assert text.startswith(record["text"])
    assert (record["a"], record["b"], list(record)[-1]) == (1, "kept", "truncated")


def test_line_of_exactly_the_limit_is_not_cut() -> None:
    """The last byte that fits is used, the first that doesn't is cut."""
    (empty,) = Encoder("m", "r").rows(("x", "y"), [("", "")], poll=1, started_ns=START_NS)
    text = "x" * (MAX_LINE - len(empty.data) - 8000)
    (fits,) = Encoder("m", "r").rows(("x", "y"), [(text, "y" * 8000)], poll=1, started_ns=START_NS)
    (cut,) = Encoder("m", "r").rows(("x", "y"), [(text + "x", "y" * 8000)], poll=1, started_ns=START_NS)

    assert (len(fits.data), "truncated" in strict(fits.data), strict(cut.data)["truncated"]) == (MAX_LINE, False, ["x"])


def test_hundreds_of_huge_columns_make_one_line() -> None:
    """All strings are cut alike when no single one is to blame."""
    columns = [f"c{number}" for number in range(400)]
    (batch,) = Encoder("m", "r").rows(columns, [("x" * 5000,) * 400], poll=1, started_ns=START_NS)
    record = strict(batch.data)

    assert [*METADATA, *columns, "truncated"] == list(record)
    assert columns == record["truncated"]


def test_thousands_of_huge_names_make_one_line() -> None:
    """The last columns are left out when not even the keys fit, and the line says how many."""
    columns = [f"{number}{'x' * 1000}" for number in range(3000)]
    (batch,) = Encoder("m", "r").rows(columns, [("x" * 50,) * 3000], poll=1, started_ns=START_NS)
    record = strict(batch.data)
    unnamed = re.fullmatch(r"and (\d+) more", record["truncated"][-1])

    assert unnamed is not None
    assert len(record["truncated"]) - 1 + int(unnamed[1]) == 3000


def test_large_poll_comes_in_small_batches() -> None:
    """Memory is bounded by the batch, however many rows and however long their strings."""
    rows = [(number, "x" * (number % 100) * 300) for number in range(3000)]
    batches = list(Encoder("m", "r").rows(("a", "b"), rows, poll=1, started_ns=START_NS))

    assert sum(batch.lines for batch in batches) == 3000
    assert max(len(batch.data) for batch in batches) < 4 * 1024 * 1024


def test_run_ids_tell_the_second_and_differ() -> None:
    """Two processes that start together are still told apart."""
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
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_rows_make_valid_lines_under_the_cap(table: tuple[list[str], list[tuple[object, ...]]]) -> None:
    """Whatever the server sends: one strict line a row, nothing lost but what is named, plain values unchanged."""
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
