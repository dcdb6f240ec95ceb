"""`sqmon scrub`: shows what --sql leaves of SQL text, before and after, for the records of a segment or for SQL itself."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from pathlib import Path
from typing import Any, BinaryIO, Iterable, Iterator, NamedTuple, Optional

import msgspec
from rich.text import Text

from sqmon.cli import exit_codes
from sqmon.cli.console import Console
from sqmon.config import options
from sqmon.errors import SqmonError, reason_of, shown
from sqmon.records.sql_columns import HASH, NAMES, REWRITE
from sqmon.records.sql_text import statement_hash, statements
from sqmon.storage.archive import open_archive
from sqmon.storage.segment_names import ARCHIVED
from sqmon.words import counted

OPTIONS = {
    "scrub": (
        options.Option("sql", "masked", "what is left of SQL text: full, masked or none", str, choices=tuple(REWRITE)),
        options.Option("json", False, "one JSON object a line for each text, for programs"),
    )
}

_MOST_BYTES = 64 << 20
"""Of a text, which is held in memory."""
_REMEMBERED = 100_000
_METADATA = frozenset({"ts", "seq", "metric", "cluster", "run_id", "poll", "poll_rows", "change", "row_hash", "level", "event", HASH})

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Before(NamedTuple):
    """A text as it is in the file, and where: column, run and seq of a record, or the number of a statement."""

    text: str
    place: dict[str, Any]


class Columns:
    """What was seen of records beside their texts."""

    def __init__(self) -> None:
        self.records = 0
        self.broken = 0
        """Lines that are no records."""
        self.kept: dict[str, None] = {}
        """The columns that stay as they are, in the order in which they were seen."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file."""
    parser.add_argument("file", metavar="FILE", help="a segment, an archive or a file with SQL; - is standard input")


def run(args: argparse.Namespace) -> int:
    """Print each text before and after; people see one that comes again only once."""
    console, columns, rewrite = Console(), Columns(), REWRITE[args.sql]
    texts = changed = 0
    told: set[int] = set()
    with _reading(args.file) as file:
        for before, place in _texts(_lines(file, args.file), columns):
            after = rewrite(before)
            texts, changed = texts + 1, changed + (after != before)
            if args.json:
                pair = {**place, "before": before, "after": after, HASH: statement_hash(before)}
                console.out(msgspec.json.encode(pair).decode(), highlight=False)
            elif hash(before) not in told:
                if len(told) == _REMEMBERED:
                    told.clear()
                told.add(hash(before))
                _show(before, after, place, console)
    if not args.json:
        _sum_up(args.sql, texts, changed, columns, console)
    return exit_codes.OK


@contextlib.contextmanager
def _reading(name: str) -> Iterator[BinaryIO]:
    """Give the content of the file; raises SqmonError when it can't be read."""
    try:
        if name == "-":
            yield sys.stdin.buffer
        else:
            with open_archive(Path(name)) if name.endswith(ARCHIVED) else Path(name).open("rb") as file:
                yield file
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise SqmonError(f"{name}: can't be read: {reason_of(error)}") from None


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    for line in iter(lambda: file.readline(_MOST_BYTES + 1), b""):
        if len(line) > _MOST_BYTES:
            raise SqmonError(f"{name}: has a line of more than {_MOST_BYTES >> 20} MiB; give a part of it")
        yield line


def _texts(lines: Iterator[bytes], columns: Columns) -> Iterator[Before]:
    """Yield the texts of records where the first line that isn't blank is one, and else the statements of a file with SQL."""
    first = next((line for line in lines if line.strip()), b"")
    if _record(first) is not None:
        yield from _of_records(itertools.chain([first], lines), columns)
        return
    parts, size = [first], len(first)
    for line in lines:
        parts.append(line)
        size += len(line)
        if size > _MOST_BYTES:
            raise SqmonError(f"more than {_MOST_BYTES >> 20} MiB of SQL; give a part of it")
    for number, text in enumerate(statements(b"".join(parts).decode("utf-8", "replace")), start=1):
        yield Before(text, {"statement": number})


def _of_records(lines: Iterable[bytes], columns: Columns) -> Iterator[Before]:
    for line in lines:
        record = _record(line)
        if record is None:
            columns.broken += 1
            continue
        columns.records += 1
        for name, value in record.items():
            if name in NAMES and isinstance(value, str):
                yield Before(value, {"column": name, "run_id": record.get("run_id"), "seq": record.get("seq")})
            elif name not in NAMES and name not in _METADATA:
                columns.kept[name] = None


def _record(line: bytes) -> Optional[dict[str, Any]]:
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _show(before: str, after: Optional[str], place: dict[str, Any], console: Console) -> None:
    where = ", ".join(f"{name} {value}" for name, value in place.items())
    console.print(Text(shown(f"{statement_hash(before)}  {where}"), "dim"), soft_wrap=True)
    if after == before:
        _show_lines("=", before, "", console)
        return
    _show_lines("-", before, "red", console)
    _show_lines("+", "(nothing)" if after is None else after, "green", console)


def _show_lines(sign: str, text: str, style: str, console: Console) -> None:
    for line in text.splitlines() or [""]:
        console.print(Text(f"{sign} {shown(line)}", style), soft_wrap=True)


def _sum_up(mode: str, texts: int, changed: int, columns: Columns, console: Console) -> None:
    found = counted(texts, "text") + (f" in {counted(columns.records, 'record')}" if columns.records else "")
    console.print(f"--sql {mode}: {found}, {changed:,} changed", highlight=False, soft_wrap=True)
    if columns.kept:
        console.print(Text(shown(f"These columns stay as they are: {', '.join(columns.kept)}.")), soft_wrap=True)
    if columns.broken:
        console.print(f"Passed over: {counted(columns.broken, 'line')} that can't be read as a record.", highlight=False, soft_wrap=True)
