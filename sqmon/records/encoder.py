"""The encoder of rows and events: a row with its metadata is a record, a record as JSON text is a line."""

from __future__ import annotations

import datetime as dt
import os
import sys
from itertools import repeat
from typing import TYPE_CHECKING, Annotated, Any, Callable, NamedTuple, Optional, Union

import msgspec

from sqmon.clock import STEP_NS, ClockStep
from sqmon.records import truncation
from sqmon.records.column_names import normalised
from sqmon.records.values import LARGEST_INT, plain, plain_column
from sqmon.result import Facts, Result, by_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MAX_LINE = 32 * 1024 - 1  # bytes of a line, its newline included: Fluent Bit stops reading a file at a longer one

PART_ROWS = 512
"""How many rows of a poll are encoded together: enough to be fast, few enough to need little memory."""

_METADATA = ("ts", "seq", "metric", "run_id", "poll", "poll_rows", truncation.KEY)
_CLUSTER = "cluster"
_CHANGES = {"": b"", **{change: b',"change":"%b"' % change.encode() for change in ("added", "removed", "key")}}
_EVENT_METADATA = ("ts", "seq", "metric", "run_id", "level", "event", truncation.KEY)

_BATCH_BYTES = 120 * 1024  # below the size from which malloc maps new pages for each batch
_LONG = 8 * 1024  # characters; rows with longer strings are encoded one by one, which limits the memory of a batch

# One call of msgspec checks all values of a column in C; a loop here would take longer than the encoding.
_Simple = Union[
    None,
    bool,
    Annotated[int, msgspec.Meta(ge=-LARGEST_INT, le=LARGEST_INT)],
    Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)],  # Decimals pass too, NaN does not
    Annotated[str, msgspec.Meta(max_length=_LONG)],
]


class _SimpleColumns(msgspec.Struct):
    """As a Struct, since msgspec works out the type of one once and that of a list at each call."""

    columns: list[list[_Simple]]


_encoder = msgspec.json.Encoder()
_NANOSECONDS = tuple(f"{number:03d}Z" for number in range(1000))
_TS = slice(len('{"ts":"'), len('{"ts":"2026-11-24T15:30:50.123456000Z'))
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


class Batch(NamedTuple):
    """Whole lines, each with its newline, numbered without a hole from `first_seq` to `last_seq`."""

    data: bytes
    lines: int
    first_seq: int
    last_seq: int

    @property
    def first_ts(self) -> bytes:
        """The `ts` of the first line; stamps sort like their text."""
        return self.data[_TS]

    def last_ts(self, end: int) -> bytes:
        """Return the `ts` of the last line that begins before byte `end`."""
        start = self.data.rfind(b"\n", 0, end - 1) + 1
        return self.data[start : start + _TS.stop][_TS]


def new_run_id(now_ns: int) -> str:
    """Return an id for one process: the UTC second and four random hexadecimal digits."""
    return f"{_moment(now_ns // 1000):%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}"


class Encoder:
    """The lines of one stream in one run; owns their `seq`, counted from 1, and their `ts`.

    `ts` increases strictly, from `last_ns` on, with one exception: if the clock is more than a second behind the last
    `ts`, that `ts` was wrong. The next one is the true time, and `on_step` is called before its batch is yielded.
    """

    def __init__(
        self, metric: str, run_id: str, *, cluster: str = "", last_ns: int = 0, on_step: Callable[[ClockStep], None] = lambda _: None
    ) -> None:
        """With a `cluster`, each line has it after its metric."""
        self.seq = 0
        self.last_ns = last_ns
        self._on_step = on_step
        self._begun_ns = 0
        # The raw value of "metric" and the keys that follow it, as in `common` below.
        named = b',"%b":%b' % (_CLUSTER.encode(), _encoder.encode(cluster)) if cluster else b""
        self._identity = b'%b%b,"run_id":%b' % (_encoder.encode(metric), named, _encoder.encode(run_id))
        self._reserved = (_CLUSTER,) if cluster else ()
        self._columns: Sequence[str] = ()
        self._shape = _Shape(())
        self._batch_rows = 16  # until the size of the rows is known

    def part(self, part: Result, *, poll: int, poll_rows: int, started_ns: int, change: str = "") -> Iterator[Batch]:
        """Yield the records of a part of a poll in batches of bounded size, each ready for one append; no row, no batch.

        With change-only emission, `change` says what became of the rows: added, removed or key.

        `started_ns` is the poll's start; a row's `ts` is one nanosecond after that of the row before it. `seq` counts
        a batch as soon as it is yielded.
        """
        if part.columns != self._columns:
            reserved = (*_METADATA, *self._reserved, *(("change",) if change else ()))
            self._columns, self._shape = part.columns, _Shape(normalised(part.columns, reserved))
        # A raw value is copied as it is, so one field can carry the keys that are the same for all rows.
        common = msgspec.Raw(b'%b,"poll":%d,"poll_rows":%d%b' % (self._identity, poll, poll_rows, _CHANGES[change]))
        self._begin(started_ns)
        start = 0
        while start < part.rows:
            count = min(self._batch_rows, part.rows - start)
            values = [column[start : start + count] for column in part.data]
            batch = self._fast(values, part.facts, count, common)
            if batch is None:
                yield from self._one_by_one(zip(*values), common)
            else:
                self._advance(count)
                yield batch
                self._batch_rows = max(1, min(PART_ROWS, count * _BATCH_BYTES // len(batch.data)))
            start += count

    def rows(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, poll: int, started_ns: int) -> Iterator[Batch]:
        """Yield the records of a poll whose result is given as rows, as `part` does."""
        for part in by_column([*columns], rows).parts(PART_ROWS):
            yield from self.part(part, poll=poll, poll_rows=len(rows), started_ns=started_ns)

    def event(self, level: str, event: str, fields: Mapping[str, Any], *, now_ns: int) -> Batch:
        """Return the line of an event of the service's own stream."""
        self._begin(now_ns)
        common = b'%b,"level":%b,"event":%b' % (self._identity, _encoder.encode(plain(level, 16)), _encoder.encode(plain(event, 64)))
        names = normalised(tuple(fields), (*_EVENT_METADATA, *self._reserved))
        return self._single(common, dict(zip(names, map(plain, fields.values()))))

    def timed(self, at_ns: int, fields: Mapping[str, Any]) -> Batch:
        """Return the line of what happened at `at_ns`; the names need no change."""
        self._begin(at_ns)
        return self._single(self._identity, {name: plain(value) for name, value in fields.items()})

    def _fast(self, values: list[Sequence[Any]], facts: Sequence[Facts], count: int, common: msgspec.Raw) -> Optional[Batch]:
        """Return all rows, encoded together; None if a line must be cut or a string is not valid text."""
        unsure = [place for place, known in enumerate(facts) if not known.plain or known.longest > _LONG]
        if not _are_simple([values[place] for place in unsure]):
            for place in unsure:
                worked = plain_column(values[place], _LONG)
                if worked is None:
                    return None
                values[place] = worked
        numbers = range(self.seq + 1, self.seq + 1 + count)
        try:
            # Everything per row stays in C.
            records = list(map(self._shape.struct, _stamps(self.last_ns + 1, count), numbers, repeat(common), *values))
            data = _encoder.encode_lines(records)
        except (UnicodeEncodeError, TypeError):  # the second for subclasses of str
            return None
        return Batch(data, count, numbers[0], numbers[-1]) if _lines_fit(data) else None

    def _one_by_one(self, rows: Iterable[tuple[Any, ...]], common: msgspec.Raw) -> Iterator[Batch]:
        lines: list[Batch] = []
        size = 0
        for row in rows:
            line = self._single(bytes(common), dict(zip(self._shape.names, map(plain, row))))
            lines.append(line)
            size += len(line.data)
            if size > _BATCH_BYTES:
                yield _joined(lines)
                lines, size = [], 0
        if lines:
            yield _joined(lines)

    def _single(self, common: bytes, fields: dict[str, Any]) -> Batch:
        (ts,) = _stamps(self.last_ns + 1, 1)
        head = msgspec.Raw(b'"%b","seq":%d,"metric":%b' % (ts.encode(), self.seq + 1, common))
        data = truncation.shortened(head, fields, MAX_LINE)
        self._advance(1)
        return Batch(data, 1, self.seq, self.seq)

    def _begin(self, now_ns: int) -> None:
        """Make the next `ts` `now_ns`, or the earliest possible one while the clock is behind it."""
        # The parts of a poll have the same start: the rows of the first ones are no step of the clock.
        if self.last_ns - now_ns > STEP_NS and now_ns != self._begun_ns:
            step = ClockStep(self.last_ns, now_ns)
            self.last_ns = now_ns - 1
            self._on_step(step)
        else:
            self.last_ns = max(now_ns, self.last_ns + 1) - 1
        self._begun_ns = now_ns

    def _advance(self, count: int) -> None:
        self.seq += count
        self.last_ns += count


class _Shape:
    """Everything that is the same for all rows with the same columns."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        keys = ("ts", "seq", "metric", *names)
        # The keys need not be identifiers, so the fields have names of their own; gc=False because rows hold no cycles.
        fields = [f"f{number}" for number in range(len(keys))]
        self.struct: Any = msgspec.defstruct("Record", [(field, object) for field in fields], rename=dict(zip(fields, keys)), gc=False)


def _are_simple(columns: list[Sequence[Any]]) -> bool:
    """Return whether the encoder can write all of these values as they are."""
    try:
        msgspec.convert({"columns": columns}, _SimpleColumns)
    except (msgspec.ValidationError, ValueError):  # the second for a signalling NaN
        return False
    return True


def _joined(lines: list[Batch]) -> Batch:
    return Batch(b"".join(line.data for line in lines), len(lines), lines[0].first_seq, lines[-1].last_seq)


def _moment(microseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=microseconds)


def _stamps(first_ns: int, count: int) -> list[str]:
    """Return RFC 3339 stamps with nine digits, one nanosecond apart."""
    stamps: list[str] = []
    while count > 0:
        microsecond, nanosecond = divmod(first_ns, 1000)
        ends = _NANOSECONDS[nanosecond : nanosecond + count]
        start = f"{_moment(microsecond):%Y-%m-%dT%H:%M:%S.%f}"
        stamps += [start + end for end in ends]
        first_ns += len(ends)
        count -= len(ends)
    return stamps


def _lines_fit(data: bytes) -> bool:
    """Return whether no line exceeds MAX_LINE, by hopping from the last newline within reach to the next."""
    start = 0
    while len(data) - start > MAX_LINE:
        start = data.rfind(b"\n", start, start + MAX_LINE) + 1
        if start == 0:
            return False
    return True
