"""The decoding of pysqream's column buffers, which are kept as they arrived and decoded one slice at a time.

pysqream does the login, the statement, the frames and the errors. From each chunk that it fetches it would make a list of tuples, value
by value. Instead, the buffers are kept, and a slice of a column is decoded in one go; what the wire says of a type holds for all values
of the column. Types that utility functions don't return and malformed buffers go to pysqream's own decoder, and so does everything from
a version that looks different inside.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from itertools import accumulate
from typing import Any, Callable, NamedTuple, Optional

from sqmon.database.columns import Buffer, Column, Joined, Memory, Numbers, Text, Values, Varchar
from sqmon.result import Result, by_column

_NAMES_IN_5 = {"data_columns", "col_type_tups", "col_tvc", "extracted_cols", "unparsed_row_amount"}
_ARGUMENTS_IN_6 = ("self", "unsorted_data_columns", "col_types", "col_sizes", "col_nul", "col_tvc", "col_scales")
_NUMBERS = {"ftBool": "?", "ftUByte": "B", "ftShort": "h", "ftInt": "i", "ftLong": "q", "ftFloat": "f", "ftDouble": "d"}
_REMEMBERED_ROWS, _REMEMBERED_BYTES = 2048, 128 << 10  # of a column: some megabytes in the worst case, whatever the poll
# Codecs that a server may name and in which bytes below 0x80 are ASCII.
_SUPERSETS_OF_ASCII = frozenset({"ascii", "us-ascii", "utf8", "utf-8", "latin-1", "latin1", "iso-8859-1", "cp1252"})


class Raw(NamedTuple):
    """One column of one chunk, as it came: the wire's type, and its buffers as far as that type has them."""

    tag: str
    size: int
    is_text: bool
    nulls: Optional[Buffer]
    lengths: Optional[memoryview]
    data: Buffer


class Fetched:
    """The chunks of a cursor's statement, which arrive while pysqream fetches and leave as one result."""

    def __init__(self) -> None:
        self._chunks: list[list[Column]] = []
        self._memories: dict[int, Memory] = defaultdict(Memory)

    def take(self, columns: list[str], rows: list[tuple[Any, ...]]) -> Result:
        """Return all that has arrived, or `rows` where pysqream has decoded them itself."""
        chunks, self._chunks = self._chunks, []
        if rows or not chunks:
            return by_column(columns, rows)
        data = chunks[0] if len(chunks) == 1 else [Joined(parts) for parts in zip(*chunks)]
        return Result(columns, data, [column.facts for column in data], len(data[0]))

    def add(self, raw: list[Raw], encoding: str, decoded_by_driver: Callable[[int], Any]) -> None:
        """Take a chunk; `decoded_by_driver` returns the values of the column at a place as pysqream decodes them."""
        memory = self._memories.__getitem__ if not self._chunks else lambda _: None
        parts: list[Column] = [
            _part(column, encoding, memory(place)) or Values(list(decoded_by_driver(place))) for place, column in enumerate(raw)
        ]
        rows = {part.rows for part in parts}
        if len(rows) > 1:  # pysqream makes as many rows as the shortest column has values
            parts = [Values(part[: min(rows)]) for part in parts]
        self._chunks.append(parts)


def attach(cursor: Any) -> Fetched:
    """Return where the chunks of this cursor go from now on; where a version looks different, pysqream goes on decoding everything."""
    fetched = Fetched()
    buffer = getattr(cursor, "_Cursor__buffer", None)
    parse, unpack = getattr(cursor, "_parse_fetched_cols", None), getattr(buffer, "unpack_columns", None)
    if parse is not None and set(parse.__code__.co_names) >= _NAMES_IN_5:
        cursor._parse_fetched_cols = _parser(cursor, fetched)  # noqa: SLF001 - 5.0.0 has no other seam
    elif buffer is not None and unpack is not None and unpack.__code__.co_varnames[: unpack.__code__.co_argcount] == _ARGUMENTS_IN_6:
        buffer.unpack_columns = _unpacker(buffer, fetched)
    return fetched


def _parser(cursor: Any, fetched: Fetched) -> Callable[[], list[Any]]:
    """Return what stands in for 5.0.0's Cursor._parse_fetched_cols: it takes the chunk and returns no columns to make rows of."""
    original = type(cursor)._parse_fetched_cols  # noqa: SLF001

    def parse() -> list[Any]:
        if not cursor.data_columns:
            return []

        def decoded(place: int) -> Any:
            alone = copy.copy(cursor)
            for name in ("data_columns", "col_type_tups", "col_tvc", "col_nul"):
                setattr(alone, name, [getattr(cursor, name)[place]])
            return original(alone)[0]

        raw = [
            Raw(
                kind[0],
                kind[1],
                bool(is_text),
                column["nullable"] if nullable else None,
                column["true_nvarchar"] if is_text else None,
                column["data_column"],
            )
            for kind, is_text, nullable, column in zip(cursor.col_type_tups, cursor.col_tvc, cursor.col_nul, cursor.data_columns)
        ]
        fetched.add(raw, cursor.conn.varchar_enc, decoded)
        cursor.unparsed_row_amount, cursor.data_columns = 0, []
        return []

    return parse


def _unpacker(buffer: Any, fetched: Fetched) -> Callable[..., list[Any]]:
    """Return what stands in for 6.3.0's ColumnsBuffer.unpack_columns: it takes the chunk and returns no columns to make rows of."""
    original = buffer.unpack_columns

    def unpack(  # noqa: PLR0917 - as 6.3.0 has it
        unsorted_data_columns: list[memoryview],
        col_types: list[Any],
        col_sizes: list[int],
        col_nul: list[bool],
        col_tvc: list[bool],
        col_scales: list[int],
    ) -> list[Any]:
        coming, raw, buffers = iter(unsorted_data_columns), [], []
        for kind, size, nullable, is_text in zip(col_types, col_sizes, col_nul, col_tvc):
            nulls = next(coming) if nullable else None
            lengths = next(coming) if is_text or "ftArray" in kind else None
            data = next(coming)
            buffers.append([part for part in (nulls, lengths, data) if part is not None])
            raw.append(Raw(kind if isinstance(kind, str) else "ftArray", size, bool(is_text), nulls, lengths, data))

        def decoded(place: int) -> Any:
            # It remembers the columns' types as long as their number stays the same, even when the statement changes.
            buffer.metadata_cache = []
            one = slice(place, place + 1)
            return original(buffers[place], col_types[one], col_sizes[one], col_nul[one], col_tvc[one], col_scales[one])[0]

        fetched.add(raw, "ascii", decoded)
        return []

    return unpack


def _part(raw: Raw, encoding: str, memory: Optional[Memory]) -> Optional[Column]:
    """Return the column ready to be decoded, or None where pysqream has to do it."""
    nulls = None if raw.nulls is None else bytes(raw.nulls)
    if raw.tag in _NUMBERS and not raw.is_text:
        part: Optional[Column] = _numbers(_NUMBERS[raw.tag], raw, nulls)
    elif raw.tag == "ftBlob" and raw.is_text and raw.lengths is not None:
        part = _text(raw.data, raw.lengths.cast("B").cast("i"), nulls, memory)
    elif raw.tag == "ftVarchar" and not raw.is_text and encoding.lower() in _SUPERSETS_OF_ASCII:
        part = _varchar(raw.data, raw.size, nulls, memory)
    else:
        return None
    return None if part is None or (nulls is not None and len(nulls) != part.rows) else part


def _numbers(letter: str, raw: Raw, nulls: Optional[bytes]) -> Numbers:
    view = memoryview(raw.data)
    return Numbers(view if view.format == letter else view.cast("B").cast(letter), nulls)  # type: ignore[call-overload]


def _text(data: Buffer, lengths: memoryview, nulls: Optional[bytes], memory: Optional[Memory]) -> Optional[Text]:
    sizes = lengths.tobytes()
    if sizes[3::4].strip(b"\0"):  # negative, or 16 MiB and more: not the length of a text in a row
        return None
    longest = max(lengths, default=0) if (sizes[1::4] + sizes[2::4]).strip(b"\0") else 0xFF
    whole = bytes(data)
    if not whole.isascii() and not _divides_between_characters(whole, lengths):
        return None
    return Text(data, lengths, nulls, longest, memory if _is_small(len(lengths), whole) else None)


_CONTINUATION = bytes(range(0x80, 0xC0))


def _divides_between_characters(data: bytes, lengths: memoryview) -> bool:
    """Return whether `data` is UTF-8 and so is each of its pieces."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    firsts = bytes(map(data.__getitem__, filter(len(data).__gt__, accumulate(lengths))))
    return len(firsts.translate(None, _CONTINUATION)) == len(firsts)


def _varchar(data: Buffer, size: int, nulls: Optional[bytes], memory: Optional[Memory]) -> Optional[Varchar]:
    if size <= 0 or len(data) % size or not bytes(data).isascii():
        return None
    return Varchar(data, size, nulls, memory if _is_small(len(data) // size, data) else None)


def _is_small(rows: int, data: Buffer) -> bool:
    return rows <= _REMEMBERED_ROWS and len(data) <= _REMEMBERED_BYTES
