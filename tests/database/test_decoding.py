"""Columns that we decode hold what the real pysqream, whichever version is installed, makes of the same bytes."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import itertools
import random
import struct
import tracemalloc
from decimal import Decimal
from typing import Any, Callable, Iterator

import pytest

from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection
from sqmon.database.client import Database
from sqmon.errors import DatabaseError
from sqmon.result import UNKNOWN, Result
from sqmon.simulator import Column, Simulator
from sqmon.simulator.columns import Chunk

MODERN = importlib.metadata.version("pysqream").startswith("6.")
PLENTY = 40.0
ASK = "select f()"
TEXTS = ["", "a", "blanks  ", "  ", "nul\0inside\0", "\0", "tab\t\n", "x" * 255, "y" * 256]
UNICODE = [*TEXTS, "Zürich", "東京 \U0001f600", "é", "\u00a0", "\u2028"]
MOMENT = dt.datetime(2026, 11, 25, 15, 30, 15, 123000)  # noqa: DTZ001 - the server knows no zones
VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "tinyint": [0, 1, 255],
    "smallint": [-(2**15), -1, 0, 2**15 - 1],
    "int": [-(2**31), -1, 0, 2**31 - 1],
    "bigint": [-(2**63), -(2**53) - 1, -(2**53), -1, 0, 1, 2**48, 2**53, 2**53 + 1, 2**63 - 1],
    "real": [0.0, -1.5, float("nan"), float("inf")],
    "double": [0.1, -1e308, float("nan"), float("-inf")],
    "date": [dt.date(1900, 1, 1), dt.date(2024, 2, 29)],
    "datetime": [MOMENT, dt.datetime(1900, 1, 1)],  # noqa: DTZ001
    "numeric(38,4)": [Decimal("12.5"), Decimal("-0.0001")],
    "varchar(1)": ["", "a"],
    "varchar(19)": ["2026-11-25 15:30:50"],
    "varchar(12)": ["", "a", "blanks  ", "  lead", "n\0u\0l", "\0", "tab\t\n", "unit\x1f", "exactly 12 c"],
    "text": UNICODE,
    "int[]": [[], [1, None, 3]],
    "text[]": [[], ["ABC", "é", None]],
    **({"datetime2": [MOMENT.replace(tzinfo=dt.timezone.utc)]} if MODERN else {}),
}


@pytest.fixture
def asked(simulator: Simulator) -> Iterator[Database]:
    """An adapter that is logged in."""
    to = Connection("127.0.0.1", simulator.port, "master", "sqream", "monitor", password=PasswordSource("sqream"))
    with contextlib.closing(Database(to)) as adapter:
        adapter.connect(PLENTY)
        yield adapter


def decoded(database: Database) -> Result:
    """Return what the adapter makes of the answer."""
    database.execute(ASK, PLENTY)
    return database.fetch(PLENTY)


def driver_rows(database: Database) -> list[tuple[Any, ...]]:
    """Return what pysqream makes of the answer on a cursor that nothing is attached to."""
    with database._step(PLENTY):
        cursor = database._connection.cursor()
        cursor.execute(ASK)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
    return rows


def assert_like_the_driver(database: Database) -> Result:
    """Every value is equal and of the same type, also NaN, whether columns are taken in slices or whole, in order or not."""
    rows, result = driver_rows(database), decoded(database)
    expected = list(map(repr, rows))

    assert (len(rows), [len(rows)] * len(result.columns)) == (result.rows, list(map(len, result.data)))
    assert expected == list(map(repr, result.tuples()))
    assert expected == list(map(repr, zip(*result.data)))
    assert expected == [repr(row) for part in result.parts(7) for row in zip(*part.data)]
    assert expected == [repr(row) for part in result.parts(512) for row in zip(*part.data)]
    assert expected[::-1] == list(map(repr, zip(*(values[::-1] for values in result.data))))
    for place in random.Random(len(rows)).sample(range(len(rows)), min(5, len(rows))):
        assert expected[place] == repr(tuple(values[place] for values in result.data))
        assert expected[place - 1 :] == list(map(repr, result.tuples(place - 1))) or not place
    assert_facts(result)
    return result


def assert_facts(result: Result) -> None:
    """What is said of a column holds for each of its values."""
    for values, facts in zip(result.data, result.facts):
        if facts.plain:
            assert {type(value) for value in values} <= {type(None), bool, int, float, str}
            assert all(abs(value) <= 2**53 for value in values if type(value) is int)
            assert all(len(value.encode()) <= facts.longest for value in values if type(value) is str)


@pytest.mark.parametrize("type_", VALUES)
@pytest.mark.parametrize("nullable", [False, True])
def test_every_type(simulator: Simulator, asked: Database, type_: str, *, nullable: bool) -> None:
    """Every type's special values are decoded, with and without NULL, also more of them than are taken at once."""
    values = [*VALUES[type_], *([None] if nullable else [])] * 150
    simulator.set_result("f", [Column("c", type_, nullable)], [(value,) for value in values])

    assert_like_the_driver(asked)


@pytest.mark.parametrize("type_", ["int", "text", "varchar(12)", "date", "int[]"])
def test_nothing_but_null(simulator: Simulator, asked: Database, type_: str) -> None:
    """A column of NULLs alone is decoded."""
    simulator.set_result("f", [Column("c", type_)], [(None,)] * 600)

    assert assert_like_the_driver(asked).data[0][:] == [None] * 600


def test_no_rows(simulator: Simulator, asked: Database) -> None:
    """Without rows every column is there, and empty."""
    simulator.set_result("f", [Column(type_, type_) for type_ in VALUES], [])

    assert [[]] * len(VALUES) == [values[:] for values in assert_like_the_driver(asked).data]


@pytest.mark.parametrize("seed", range(20))
def test_random_columns(seed: int) -> None:
    """Any columns and values are decoded, in chunks of any size."""
    rng = random.Random(seed)
    columns = [Column(f"c{place}", rng.choice([*VALUES, "text"]), rng.random() < 0.7) for place in range(rng.randrange(1, 14))]
    ascii_only = rng.random() < 0.5
    choices = [
        [*(TEXTS if column.type == "text" and ascii_only else VALUES[column.type]), *([None] if column.nullable else [])]
        for column in columns
    ]
    rows = [tuple(map(rng.choice, choices)) for _ in range(rng.choice([1, 2, 511, 512, 513, 1300]))]
    with Simulator(chunk_rows=rng.choice([1, 7, 100, 512, 5000])) as simulator:
        simulator.set_result("f", columns, rows)
        to = Connection("127.0.0.1", simulator.port, "master", "sqream", "monitor", password=PasswordSource("sqream"))
        with contextlib.closing(Database(to)) as database:
            database.connect(PLENTY)

            assert_like_the_driver(database)
            assert_like_the_driver(database)


def test_statements_of_one_cursor_do_not_mix(simulator: Simulator, asked: Database) -> None:
    """Nothing is remembered of an earlier statement with as many columns of other types."""
    for type_ in ("int", "date", "numeric(38,4)", "text", "varchar(12)", "int[]", "bool"):
        simulator.set_result("f", [Column("c", type_)], [(value,) for value in VALUES[type_]])

        assert_like_the_driver(asked)


@pytest.mark.parametrize("seed", range(5))
def test_polls_that_resemble_each_other(simulator: Simulator, asked: Database, seed: int) -> None:
    """What is remembered of the poll before is used for no value that has changed, be it by a byte, a length, a NULL or its type."""
    rng = random.Random(seed)
    columns = [Column("a", "text"), Column("b", "varchar(12)"), Column("c", "text"), Column("d", "varchar(6)")]
    values = ["", "ab", "ba", "abc", "é", None, "blanks", "ab\0"]
    rows = [[rng.choice(values[:4]) for _ in columns] for _ in range(rng.choice([3, 700]))]
    for _ in range(12):
        for _ in range(rng.randrange(3)):
            rng.choice(rows)[rng.choice([0, 1, 3])] = rng.choice([value for value in values if value != "é"])
            rng.choice(rows)[2] = rng.choice(values)
        if rng.random() < 0.2:
            columns[1], columns[3] = columns[3], columns[1]
        simulator.set_result("f", columns, [tuple(row) for row in rows])

        assert_like_the_driver(asked)


def test_slices_that_are_taken_again_are_the_same(simulator: Simulator, asked: Database) -> None:
    """A slice that did not change since the last poll is not decoded again."""
    simulator.set_result("f", [Column("a", "text"), Column("b", "varchar(12)")], [(f"a{number}", f"b{number}") for number in range(600)])
    first, second = decoded(asked), decoded(asked)

    for before, now in zip(first.data, second.data):
        assert before[512:600] is now[512:600]


def lengths(*values: int) -> bytes:
    """Return the lengths of texts as they are sent."""
    return struct.pack(f"<{len(values)}i", *values)


TEXT, TEXT_NOT_NULL, FIXED = Column("c", "text"), Column("c", "text", nullable=False), Column("c", "varchar(4)", nullable=False)
ODD: dict[str, tuple[Column, int, list[bytes]]] = {
    "a character between two values": (TEXT_NOT_NULL, 2, [lengths(1, 1), "é".encode()]),
    "a character between two values, whole ones around it": (TEXT_NOT_NULL, 4, [lengths(1, 2, 1, 2), "aé€".encode()]),
    "no UTF-8": (TEXT_NOT_NULL, 2, [lengths(1, 1), b"a\xff"]),
    "a surrogate": (TEXT_NOT_NULL, 1, [lengths(3), b"\xed\xa0\x80"]),
    "less data than the lengths say": (TEXT_NOT_NULL, 3, [lengths(2, 2, 2), b"abc"]),
    "more data than the lengths say": (TEXT_NOT_NULL, 2, [lengths(1, 1), b"abc"]),
    "more data, which begins within a character": (TEXT_NOT_NULL, 1, [lengths(1), "é".encode()]),
    "a length below zero": (TEXT_NOT_NULL, 3, [lengths(3, -1, 2), b"abcdef"]),
    "a length beyond everything": (TEXT_NOT_NULL, 2, [lengths(1, 2**31 - 1), b"abc"]),
    "NULL with a text": (TEXT, 3, [b"\0\1\0", lengths(1, 2, 1), b"abbc"]),
    "flags that are neither": (TEXT, 3, [b"\0\2\xff", lengths(1, 1, 1), b"abc"]),
    "fewer flags than rows": (TEXT, 3, [b"\0\1", lengths(1, 1, 1), b"abc"]),
    "more flags than rows": (TEXT, 2, [b"\0\1\0", lengths(1, 1), b"ab"]),
    "other bytes than ASCII in a varchar": (FIXED, 2, [b"ab\xe9 \xff\x80cd"]),
    "half a varchar": (FIXED, 2, [b"abcd  "]),
    "bools that are neither": (Column("c", "bool", nullable=False), 3, [b"\0\1\7"]),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_buffers(simulator: Simulator, asked: Database, case: str) -> None:
    """Whatever the server sends, the values or the error are the driver's, and the error comes with the fetch."""
    column, rows, parts = ODD[case]
    simulator.set_chunks("f", [column], [Chunk(rows, list(map(len, parts)), b"".join(parts))])
    outcomes: list[Any] = []
    for fetch in (driver_rows, lambda database: decoded(database).tuples()):
        with contextlib.closing(Database(asked._to)) as database:
            database.connect(PLENTY)
            try:
                outcomes.append(list(map(repr, fetch(database))))
            except DatabaseError as error:
                outcomes.append(str(error))

    assert outcomes[0] == outcomes[1]


def test_columns_of_unequal_length(simulator: Simulator, asked: Database) -> None:
    """There are as many rows as the shortest column has values, as with pysqream."""
    parts = [struct.pack("<3i", 1, 2, 3), struct.pack("<2i", 4, 5), lengths(1, 1, 1), b"abc"]
    columns = [Column("a", "int", nullable=False), Column("b", "int", nullable=False), TEXT_NOT_NULL]
    simulator.set_chunks("f", columns, [Chunk(3, list(map(len, parts)), b"".join(parts))])

    assert assert_like_the_driver(asked).tuples() == [(1, 4, "a"), (2, 5, "b")]


@pytest.mark.parametrize(
    ("type_", "values", "facts"),
    [
        ("int", [-(2**31), 2**31 - 1, None], (True, 0)),
        ("bigint", [0, 2**48 - 1], (True, 0)),
        ("bigint", [-(2**53), 2**53], (True, 0)),
        ("bigint", [2**53 + 1], UNKNOWN),
        ("bigint", [-(2**53) - 1], UNKNOWN),
        ("double", [float("nan")], (True, 0)),
        ("text", ["a", None, "é"], (True, 255)),
        ("text", ["é" * 200], (True, 400)),
        ("text", ["a" * 70_000, "b"], (True, 70_000)),
        ("varchar(12)", ["a"], (True, 12)),
        ("date", [dt.date(2024, 2, 29)], UNKNOWN),
    ],
)
def test_facts(simulator: Simulator, asked: Database, type_: str, values: list[Any], facts: tuple[bool, int]) -> None:
    """What the type on the wire tells is known of each of its columns, and no more."""
    simulator.set_result("f", [Column("c", type_)], [(value,) for value in values])

    assert [facts] == assert_like_the_driver(asked).facts


def test_facts_hold_for_all_chunks() -> None:
    """The facts hold for every chunk, wherever the longest text or the large number is."""
    with Simulator(chunk_rows=1) as simulator:
        simulator.set_result("f", [Column("a", "text"), Column("b", "bigint")], [("a", 1), ("b" * 999, 2**60), ("c", 1)])
        to = Connection("127.0.0.1", simulator.port, "master", "sqream", "monitor", password=PasswordSource("sqream"))
        with contextlib.closing(Database(to)) as database:
            database.connect(PLENTY)

            assert assert_like_the_driver(database).facts == [(True, 999), (False, 0)]


def different(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same and looks like nothing that is known."""

    def calling(*given: Any, **named: Any) -> Any:
        return original(*given, **named)

    return calling


def test_version_that_looks_different(monkeypatch: pytest.MonkeyPatch, simulator: Simulator, asked: Database) -> None:
    """With a version that looks different pysqream decodes everything, and nothing is known of the values."""
    owner, name = (type(asked._cursor._Cursor__buffer), "unpack_columns") if MODERN else (type(asked._cursor), "_parse_fetched_cols")
    monkeypatch.setattr(owner, name, different(getattr(owner, name)))
    simulator.set_result("f", [Column(type_, type_) for type_ in ("int", "text")], [(1, "a"), (None, "é")])
    with contextlib.closing(Database(asked._to)) as database:
        database.connect(PLENTY)
        result = assert_like_the_driver(database)

    assert result.facts == [UNKNOWN] * 2
    assert all(isinstance(values, list) for values in result.data)


def test_large_result_is_kept_as_it_came() -> None:
    """Fetching a large result and taking it a part at a time needs at most twice its bytes."""
    rows = [(number, f"statement {number % 7}", f"table${number}", None) for number in range(20_000)]
    columns = [Column("a", "int"), Column("b", "text"), Column("c", "varchar(16)"), Column("d", "text")]
    size = sum((1 + 4) + (1 + 4 + len(row[1])) + (1 + 16) + (1 + 4) for row in rows)
    # In small chunks, because what the simulator makes of one on its way out is counted, too.
    with Simulator(chunk_rows=1000) as simulator:
        simulator.set_result("f", columns, rows)
        to = Connection("127.0.0.1", simulator.port, "master", "sqream", "monitor", password=PasswordSource("sqream"))
        with contextlib.closing(Database(to)) as database:
            database.connect(PLENTY)
            decoded(database)
            database.execute(ASK, PLENTY)
            tracemalloc.start()
            try:
                result = database.fetch(PLENTY)
                taken = sum(len(part.data[0]) for part in result.parts(512))
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert taken == len(rows)
    assert peak <= 2 * size


def test_slices_meet_at_the_borders_of_chunks() -> None:
    """Whatever the slices and the chunks are, each value is there once, in its place."""
    with Simulator(chunk_rows=5) as simulator:
        simulator.set_result("f", [Column("a", "int"), Column("b", "text")], [(number, "x" * number) for number in range(23)])
        to = Connection("127.0.0.1", simulator.port, "master", "sqream", "monitor", password=PasswordSource("sqream"))
        with contextlib.closing(Database(to)) as database:
            database.connect(PLENTY)
            numbers, texts = decoded(database).data
        for start, stop in itertools.product(range(-24, 25), repeat=2):
            assert numbers[start:stop] == list(range(23))[start:stop]
            assert [len(text) for text in texts[start:stop]] == numbers[start:stop]
        with pytest.raises(IndexError):
            numbers[23]
