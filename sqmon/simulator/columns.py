"""Column buffers: rows of Python values become the bytes that a fetch carries, and their sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, Sequence

import numpy as np

from sqmon.simulator.arrays import fixed_array, text_array
from sqmon.simulator.numerals import numerics

# Day 0 is 1 March of the year 0; numpy counts from 1970.
EPOCH_DAY = 719468
MILLISECONDS_OF_DAY = 86_400_000

_SIMPLE = {
    "bool": ("ftBool", 1, "u1"),
    "tinyint": ("ftUByte", 1, "u1"),
    "smallint": ("ftShort", 2, "<i2"),
    "int": ("ftInt", 4, "<i4"),
    "bigint": ("ftLong", 8, "<i8"),
    "real": ("ftFloat", 4, "<f4"),
    "double": ("ftDouble", 8, "<f8"),
    "date": ("ftDate", 4, ""),
    "datetime": ("ftDateTime", 8, ""),
    "datetime2": ("ftTimestampTz", 16, ""),
    "text": ("ftBlob", 0, ""),
}
_SIZED = re.compile(r"(varchar)\((\d+)\)|(numeric)\(\d+,\s*(\d+)\)")


class Kind(NamedTuple):
    """What the wire calls a type: its tag, bytes a value, decimal scale, numpy's name, and whether it is an array of it."""

    tag: str
    size: int
    scale: int
    dtype: str
    array: bool


class Chunk(NamedTuple):
    """The answer to one fetch: the number of rows, the size of every part, and the parts."""

    rows: int
    sizes: list[int]
    payload: bytes


@cache
def kind_of(sql: str) -> Kind:
    """Return the wire type of `int`, `varchar(8)`, `numeric(38,4)`, `text[]` and so on; raises ValueError for an unknown one."""
    scalar = sql.removesuffix("[]")
    array = scalar != sql
    if scalar in _SIMPLE:
        tag, size, dtype = _SIMPLE[scalar]
        return Kind(tag, size, 0, dtype, array)
    sized = _SIZED.fullmatch(scalar)
    if sized is None or (array and sized[1]):
        allowed = ", ".join([*_SIMPLE, "varchar(n)", "numeric(p,s)"])
        raise ValueError(f"unknown column type {sql!r}: {allowed}, and arrays of all but varchar as type[]")
    if sized[1]:
        return Kind("ftVarchar", int(sized[2]), 0, "", array)
    return Kind("ftNumeric", 16, int(sized[4]), "", array)


@dataclass(frozen=True)
class Column:
    """A column of a result: its name as it is sent, its SQL type, and whether it can hold NULL."""

    name: str
    type: str
    nullable: bool = True

    def __post_init__(self) -> None:
        kind_of(self.type)

    def described(self) -> dict[str, Any]:
        """Return its entry in the answer to queryTypeOut."""
        kind = kind_of(self.type)
        wire: list[object] = [kind.tag, kind.size, kind.scale]
        return {
            "isTrueVarChar": kind.tag == "ftBlob" and not kind.array,
            "name": self.name,
            "nullable": self.nullable,
            "type": ["ftArray", *wire] if kind.array else wire,
        }


def encode_column(column: Column, values: Sequence[Any]) -> list[bytes]:
    """Return the parts of one column: NULL flags and lengths where the type has them, then the data."""
    kind = kind_of(column.type)
    nulls = np.fromiter((value is None for value in values), dtype=bool, count=len(values))
    if nulls.any() and not column.nullable:
        raise ValueError(f"column {column.name!r} is not nullable and holds NULL")
    parts = [nulls.astype("u1").tobytes()] if column.nullable else []
    if kind.array or kind.tag == "ftBlob":
        blobs = [b"" if value is None else _blob(kind, value) for value in values]
        parts.append(np.fromiter(map(len, blobs), dtype="<i4", count=len(blobs)).tobytes())
        parts.append(b"".join(blobs))
    elif kind.tag == "ftVarchar":
        parts.append(b"".join(_padded(column, kind.size, value) for value in values))
    else:
        parts.append(_fixed(kind, values))
    return parts


def encode(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Chunk:
    """Return all rows as one chunk."""
    by_column: list[Sequence[Any]] = list(zip(*rows)) if rows else [()] * len(columns)
    if rows and len(by_column) != len(columns):
        raise ValueError(f"{len(columns)} columns, but rows of {len(by_column)} values")
    parts = [part for column, values in zip(columns, by_column) for part in encode_column(column, values)]
    return Chunk(len(rows), [len(part) for part in parts], b"".join(parts))


def chunked(columns: Sequence[Column], rows: Sequence[Sequence[Any]], chunk_rows: int) -> list[Chunk]:
    """Return the rows in chunks of at most `chunk_rows`; no chunk if there are no rows."""
    return [encode(columns, rows[start : start + chunk_rows]) for start in range(0, len(rows), chunk_rows)]


def _blob(kind: Kind, value: Any) -> bytes:
    if not kind.array:
        return str(value).encode()
    if kind.tag == "ftBlob":
        return text_array(value)
    return fixed_array([item is None for item in value], _fixed(kind, value))


def _padded(column: Column, size: int, value: str | None) -> bytes:
    data = (value or "").encode("ascii")
    if len(data) > size:
        raise ValueError(f"column {column.name!r}: {len(data)} characters do not fit {column.type}")
    return data.ljust(size)


def _fixed(kind: Kind, values: Sequence[Any]) -> bytes:
    """Return the data of a type of fixed size, with zero bytes for NULL."""
    if kind.dtype:
        return np.array([0 if value is None else value for value in values], dtype=kind.dtype).tobytes()
    if kind.tag == "ftNumeric":
        return numerics([None if value is None else Decimal(value) for value in values], kind.scale)
    if kind.tag == "ftTimestampTz":
        return np.array([_instant(value) for value in values], dtype="<i4").tobytes()
    nulls = np.fromiter((value is None for value in values), dtype=bool, count=len(values))
    if kind.tag == "ftDate":
        days = np.array(values, dtype="datetime64[D]").astype("i8") + EPOCH_DAY
        return np.where(nulls, 0, days).astype("<i4").tobytes()
    stamps = np.array(values, dtype="datetime64[us]").astype("i8") // 1000
    packed = ((stamps // MILLISECONDS_OF_DAY + EPOCH_DAY) << 32) | (stamps % MILLISECONDS_OF_DAY)
    return np.where(nulls, 0, packed).astype("<i8").tobytes()


def _instant(value: datetime | None) -> tuple[int, int, int, int]:
    """Return the offset from UTC in seconds and, in UTC, nanoseconds within the millisecond, millisecond of the day, and day."""
    if value is None:
        return (0, 0, 0, 0)
    offset = value.utcoffset() or timedelta(0)
    utc = value.replace(tzinfo=timezone.utc) - offset
    milliseconds, micro = divmod(utc.microsecond, 1000)
    midnight = utc.replace(hour=0, minute=0, second=0, microsecond=0)
    seconds = (utc - midnight).seconds
    day = midnight.toordinal() - datetime(1970, 1, 1, tzinfo=timezone.utc).toordinal() + EPOCH_DAY
    return (int(offset.total_seconds()), micro * 1000, seconds * 1000 + milliseconds, day)
