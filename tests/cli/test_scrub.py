"""`sqmon scrub`, as a person and as a program use it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Sequence

import pytest

from sqmon.config.settings import SegmentOptions
from sqmon.records.sql_text import statement_hash
from sqmon.storage.archive import Card, frame_of
from sqmon.storage.knowledge import Knowledge
from tests.support.program import Ended, command, ended, environment
from tests.support.segment_files import Stream, segments

TEXT = "select * from t where name = 'Ann' and age > 42"
MASKED = "select * from t where name = ? and age > ?"


def piped(data: bytes, *words: str) -> Ended:
    """Run `sqmon scrub -` with this on its standard input."""
    end = subprocess.run(command("scrub", "-", *words), input=data, env=environment(), capture_output=True, check=False)
    return Ended(end.returncode, end.stdout.decode(), end.stderr.decode())


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """Return a segment with two records of the same text."""
    stream = Stream(tmp_path / "logs", SegmentOptions())
    stream.poll(2, TEXT)
    stream.writer.close()
    (path,) = segments(tmp_path / "logs")
    return path


def test_records_are_shown_before_and_after(segment: Path, tmp_path: Path) -> None:
    """Each text of a segment is shown once, with its place and its hash; the columns that stay are named."""
    shown = ended("scrub", str(segment), cwd=tmp_path)

    first = json.loads(segment.read_bytes().splitlines()[0])
    assert (0, "") == (shown.code, shown.stderr)
    assert [
        f"{statement_hash(TEXT)}  column statement_string, run_id {first['run_id']}, seq 1",
        f"- {TEXT}",
        f"+ {MASKED}",
        "--sql masked: 2 texts in 2 records, 2 changed",
        "These columns stay as they are: statement_id, username.",
    ] == shown.stdout.splitlines()


def test_programs_get_every_text(segment: Path, tmp_path: Path) -> None:
    """With --json there is a line for each text; `none` leaves nothing of it."""
    shown = ended("scrub", str(segment), "--sql", "none", "--json", cwd=tmp_path)

    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [1, 2] == [line["seq"] for line in lines]
    assert {(TEXT, None, statement_hash(TEXT))} == {(line["before"], line["after"], line["statement_hash"]) for line in lines}


def test_archive_is_read_as_its_segment(segment: Path, tmp_path: Path) -> None:
    """A compressed segment shows what the segment does; one that is cut is refused in one line."""
    import zstandard  # noqa: PLC0415 - no other test of commands needs it

    data = segment.read_bytes()
    archive = tmp_path / f"{segment.name}.zst"
    card = Card(bytes=len(data), sha256="", last_line="", knowledge=Knowledge.READ, unread_bytes=0, unread=None, events=[])
    archive.write_bytes(zstandard.compress(data) + frame_of(card))
    plain, packed = (ended("scrub", str(path), cwd=tmp_path).stdout for path in (segment, archive))
    archive.write_bytes(archive.read_bytes()[:-1])
    cut = ended("scrub", str(archive), cwd=tmp_path)

    assert plain == packed
    assert (1, "", 1) == (cut.code, cut.stdout, cut.stderr.count("\n"))


@pytest.mark.parametrize(
    ("sql", "words", "expected"),
    [
        (b"select 'Ann;'; select a from t;", (), ["- select 'Ann;'", "+ select ?", "= select a from t"]),
        (b"select 1;\nselect 'open \x1b[31m\xff", (), ["- select 1", "+ select ?", "- select 'open \\x1b[31m\ufffd", "+ select ?"]),
        (b"grant password 'x';select 2", ("--sql", "full"), ["- grant password 'x'", "+ grant password ?", "= select 2"]),
        (b"\n\nselect\n 'a'", (), ["- select", "-  'a'", "+ select", "+  ?"]),
        (b"", (), []),
    ],
)
def test_sql_is_shown_before_and_after(sql: bytes, words: Sequence[str], expected: list[str]) -> None:
    """SQL is shown statement by statement, whatever is in it, and steers no terminal."""
    shown = piped(sql, *words)

    assert (0, "") == (shown.code, shown.stderr)
    assert expected == [line for line in shown.stdout.splitlines() if line[:2] in ("- ", "+ ", "= ")]


def test_lines_that_are_no_records_are_counted() -> None:
    """Half a line at the end of a segment is passed over and said."""
    shown = piped(b'{"seq":1,"sql":"select 1"}\n{"seq":2,"sq')

    assert shown.stdout.endswith("--sql masked: 1 text in 1 record, 1 changed\nPassed over: 1 line that can't be read as a record.\n")


@pytest.mark.parametrize(("name", "reason"), [("nowhere", "no such file or directory"), (".", "is a directory")])
def test_what_can_not_be_read_is_an_error_in_one_line(name: str, reason: str, tmp_path: Path) -> None:
    """A file that is not there, or is none, is named with the reason."""
    assert (1, "", f"sqmon: {name}: can't be read: {reason}\n") == ended("scrub", name, cwd=tmp_path)
