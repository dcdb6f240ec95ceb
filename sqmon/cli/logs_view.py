"""The forms in which `sqmon logs` prints lines: for people, as JSON, as CSV, and as tables."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from typing import IO, Any, Iterable, Mapping, NamedTuple, Optional, Protocol, Sequence

import msgspec

from sqmon.cli import lifetime_words
from sqmon.cli.aligned import aligned
from sqmon.cli.console import Console
from sqmon.cli.event_words import sentence
from sqmon.cli.shown_lines import shown_lines
from sqmon.clock import stamp_ns
from sqmon.errors import ConfigError, shown
from sqmon.storage.findings import Findings

METADATA = ("ts", "seq", "metric", "cluster", "run_id", "poll", "poll_rows")
"""The keys that describe a record and are not the server's."""

_UNSAID = frozenset((*METADATA, "statement_hash", "row_hash"))
_LONGEST = 60  # characters of a cell in a table
_AHEAD = 200  # lines whose widths a table knows before it prints the first
_LEVELS = {"error": "31", "warning": "33"}
_DIM, _METRIC, _BOLD = "2", "36", "1"

Record = Mapping[str, Any]
_decode = msgspec.json.Decoder(dict).decode


class Chosen(NamedTuple):
    """A line to be printed."""

    cluster: str
    line: bytes
    """With its newline."""


class Form(Protocol):
    """One form."""

    def write(self, chosen: Chosen) -> None:
        """Write one line; a form may keep it for a while."""
        ...

    def flush(self) -> None:
        """Write what was kept."""
        ...


class Painter:
    """Colours for a terminal, nothing elsewhere."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    @classmethod
    def of(cls, console: Console) -> Painter:
        """Return the colours that a console shows."""
        return cls(colour=console.is_terminal and console.color_system is not None and not console.no_color)

    def __call__(self, style: str, text: str) -> str:
        """Return the text in a style, which is the number of an SGR sequence; "" is none."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and style and text else text


class Words:
    """A line for people: its time, its metric, and what it says."""

    def __init__(self, out: IO[bytes], paint: Painter, *, clusters: bool) -> None:
        """With `clusters`, the name of the cluster follows the time."""
        self._out = out
        self._paint = paint
        self._clusters = clusters

    def write(self, chosen: Chosen) -> None:
        """See Form."""
        self._out.write(self._text(chosen).encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """See Form."""

    def _text(self, chosen: Chosen) -> str:
        record = _decode(chosen.line)
        metric, level = str(record.get("metric")), str(record.get("level", ""))
        life = lifetime_words.sentence(record) if metric == "lifetimes" else None
        if "event" in record and metric == "sqmon":
            said = self._paint(_LEVELS.get(level, ""), shown(sentence(record)))
        elif life is not None:
            said = shown(life)
        else:
            said = " ".join(f"{name}={_value(value)}" for name, value in record.items() if name not in _UNSAID and value is not None)
        where = f"{shown(chosen.cluster)} " if self._clusters else ""
        when = self._paint(_DIM, local_time(str(record.get("ts"))))
        return f"{when} {where}{self._paint(_METRIC, shown(metric))} {said}\n"


class Json:
    """The lines as they are; on a terminal, what it would obey is written as an escape of JSON."""

    def __init__(self, out: IO[bytes], *, terminal: bool) -> None:
        self._out = out
        self._terminal = terminal

    def write(self, chosen: Chosen) -> None:
        """See Form."""
        self._out.write(shown_lines(chosen.line) if self._terminal else chosen.line)

    def flush(self) -> None:
        """See Form."""


class Csv:
    """Comma-separated values of one metric, with the columns of its first line."""

    def __init__(self, out: IO[bytes], *, terminal: bool) -> None:
        self._out = out
        self._terminal = terminal
        self._columns: Sequence[str] = ()
        self.left_out: dict[str, None] = {}
        """Columns that only later lines have."""

    def write(self, chosen: Chosen) -> None:
        """See Form."""
        record = _decode(chosen.line)
        if not self._columns:
            self._columns = [*record]
            self._row(self._columns)
        self.left_out.update(dict.fromkeys(name for name in record if name not in self._columns))
        self._row([_cell(record.get(name)) for name in self._columns])

    def flush(self) -> None:
        """See Form."""

    def _row(self, cells: Sequence[str]) -> None:
        text = io.StringIO()
        csv.writer(text).writerow(map(shown, cells) if self._terminal else cells)
        self._out.write(text.getvalue().encode("utf-8", "backslashreplace"))


class Tables:
    """Lines below headings, which are repeated where the metric or its columns change."""

    def __init__(self, out: IO[bytes], paint: Painter, *, whole: bool) -> None:
        """A cell is cut after 60 characters unless it is to be `whole`."""
        self._out = out
        self._paint = paint
        self._longest = None if whole else _LONGEST
        self._columns: tuple[str, ...] = ()
        self._rows: list[tuple[str, ...]] = []

    def write(self, chosen: Chosen) -> None:
        """See Form; widths are those of up to 200 lines at a time."""
        record = _decode(chosen.line)
        names = tuple(name for name in record if name not in METADATA)
        columns = (str(record.get("metric")), *names)
        if columns != self._columns or len(self._rows) >= _AHEAD:
            self.flush()
        if columns != self._columns:
            self._columns = columns
            self._rows.append((f"{columns[0]}: time", *names))
        self._rows.append((local_time(str(record.get("ts"))), *(cell_of(record[name], longest=self._longest) for name in names)))

    def flush(self) -> None:
        """See Form."""
        heading = bool(self._rows) and self._rows[0][1:] == self._columns[1:]
        for number, row in enumerate(aligned(self._rows)):
            self._out.write((self._paint("" if number or not heading else _BOLD, row) + "\n").encode("utf-8", "backslashreplace"))
        self._rows = []


class Printer:
    """Prints lines; one that turns out to be broken is noted and left out."""

    def __init__(self, form: Form, out: IO[bytes], findings: Findings) -> None:
        self._form, self._out, self._findings = form, out, findings

    def take(self, lines: Iterable[Chosen]) -> int:
        """Print lines, and return how many there were."""
        count = sum(map(self._is_written, lines))
        self._form.flush()
        self._out.flush()
        return count

    def _is_written(self, chosen: Chosen) -> bool:
        try:
            self._form.write(chosen)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._findings.torn += 1
            return False
        return True


def form_of(name: str, out: IO[bytes], paint: Painter, *, terminal: bool, streams: Sequence[str], clusters: bool) -> Form:
    """Return the form with this name: json, csv, table or "" for words. Raises ConfigError when CSV is asked of several metrics."""
    if name == "json":
        return Json(out, terminal=terminal)
    if name == "csv":
        if len(streams) != 1:
            raise ConfigError(["--csv: writes the columns of one metric; name it, as in sqmon logs show_locks --csv"])
        return Csv(out, terminal=terminal)
    if name == "table":
        return Tables(out, paint, whole=not terminal)
    return Words(out, paint, clusters=clusters)


def local_time(stamp: str) -> str:
    """Return the `ts` of a record as a time of this host with its zone, to the millisecond."""
    try:
        ns = stamp_ns(stamp)
    except ValueError:
        return shown(stamp)
    moment = dt.datetime.fromtimestamp(ns // 10**9, dt.timezone.utc).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ns % 10**9 // 10**6:03d} {moment:%Z}"


def cell_of(value: object, *, longest: Optional[int] = _LONGEST) -> str:
    """Return a value as it stands in a table: on one line, and cut where it has more characters than the longest."""
    text = " ".join(_cell(value).split())
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(value: object) -> str:
    """Return a value behind its name: a text that has blanks or quotes in quotes."""
    text = _cell(value)
    if isinstance(value, str) and (not text or any(character in text for character in ' "=\n\t')):
        return shown(json.dumps(text, ensure_ascii=False))
    return shown(text)
