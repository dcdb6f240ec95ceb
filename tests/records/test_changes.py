"""Change-only emission: what is written of each poll, and that folding it gives each poll again, with proof."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection, Metric
from sqmon.records.changes import Changes
from sqmon.records.encoder import Encoder
from sqmon.records.fold import Fold
from sqmon.records.pipeline import Pipeline
from sqmon.result import by_column
from sqmon.simulator import Simulator
from sqmon.storage.reader import StreamReader
from tests.support.program import service, wait_until

CONNECTION = Connection("127.0.0.1", 5000, "master", "sqream", "monitor", password=PasswordSource("sqream"))
METRIC = Metric("show_locks", 2.0, 10.0, "select show_locks();", emit="changes", keyframe_s=600.0)
COLUMNS = ["statement_id", "statement_string", "lock_start_time"]
START_NS = 1_795_534_250_000_000_000

Row = tuple[Any, ...]


class Site:
    """One run of a metric that emits changes, two seconds between its polls."""

    def __init__(self) -> None:
        self.pipeline = Pipeline(METRIC, CONNECTION, "full", Encoder(METRIC.name, "run"))
        self.polls = 0

    def poll(self, rows: Sequence[Row], columns: Sequence[str] = COLUMNS, *, later: float = 0.0) -> tuple[list[dict[str, Any]], Changes]:
        """Return the lines of the next poll and what it says of them."""
        self.polls += 1
        now = 2.0 * self.polls + later
        batches = self.pipeline.lines(by_column([*columns], rows), poll=self.polls, now=now, started_ns=START_NS + int(now * 1e9))
        lines = [json.loads(line) for batch in batches for line in batch.data.splitlines()]
        assert self.pipeline.changes is not None
        return lines, self.pipeline.changes


def row(number: object, text: str = "select 1") -> Row:
    """A row of show_locks."""
    return (number, text, "2026-11-24 15:29:00")


def said(lines: Iterable[dict[str, Any]]) -> list[tuple[str, Any]]:
    """What the lines say has become of which row."""
    return [(line["change"], line["statement_id"]) for line in lines]


def test_first_poll_is_whole_and_the_others_are_what_changed() -> None:
    """The first poll is written whole and later ones as their changes; an age that grows is none."""
    site = Site()

    lines, changes = site.poll([row(1), row(2)])
    assert ([("key", 1), ("key", 2)], (True, 2, 0, 0)) == (said(lines), changes[:4])
    lines, changes = site.poll([row(1), row(2)])
    assert ([], (False, 0, 0, 2)) == (said(lines), changes[:4])
    lines, changes = site.poll([row(2), row(3)])
    assert ([("removed", 1), ("added", 3)], (False, 1, 1, 1)) == (said(lines), changes[:4])


def test_line_says_what_a_record_says() -> None:
    """`change` follows the metadata, the row's hash comes last, and poll_rows is the number of rows."""
    site = Site()
    site.poll([row(1), row(2)])
    ((removed,), _) = site.poll([row(2)])

    assert ["ts", "seq", "metric", "run_id", "poll", "poll_rows", "change", *COLUMNS] == list(removed)[:10]
    assert list(removed)[10:] == ["lock_age_s", "statement_hash", "row_hash"]
    assert (1, "removed", 1) == (removed["poll_rows"], removed["change"], removed["statement_id"])


@pytest.mark.parametrize(("columns", "later", "restart"), [([*COLUMNS, "more"], 0.0, False), (COLUMNS, 600.0, False), (COLUMNS, 0.0, True)])
def test_keyframes(columns: list[str], later: float, *, restart: bool) -> None:
    """A poll is written whole after a change of columns, every ten minutes, and when earlier lines are of no use."""
    site = Site()
    site.poll([row(1)])
    site.poll([row(1)])
    if restart:
        site.pipeline.restart()
    lines, changes = site.poll([(*row(1), *columns[3:])], columns, later=later)

    assert ([("key", 1)], True) == (said(lines), changes.key)


def test_rows_are_a_multiset() -> None:
    """The same row twice is two rows, and one of them can go."""
    site = Site()
    site.poll([row(1), row(1), row(1)])
    lines, changes = site.poll([row(1)])

    assert ([("removed", 1)] * 2, 1) == (said(lines), changes.unchanged)


@pytest.mark.parametrize(("before", "after"), [(-1, -2), (1, "1"), (None, 0), (0.5, "0.5"), ([1, 2], [1, 3]), ("", None)])
def test_any_difference_counts(before: object, after: object) -> None:
    """Any difference is a change, also between arrays and between values with the same hash in Python."""
    site = Site()
    site.poll([row(before)])
    lines, _ = site.poll([row(after)])

    assert ["removed", "added"] == [line["change"] for line in lines]


def test_empty_polls() -> None:
    """A poll without rows, then with rows, then without: each change is written."""
    site = Site()

    assert ([], True) == (said(site.poll([])[0]), True)
    assert [("added", 1)] == said(site.poll([row(1)])[0])
    assert [("removed", 1)] == said(site.poll([])[0])


def test_secrets_are_not_in_the_hash() -> None:
    """Statements that differ in their password alone have the same row hash, so that no password can be tried against it."""
    hashes = [Site().poll([row(1, f"grant password '{password}' to x")])[0][0]["row_hash"] for password in ("one", "two")]

    assert hashes[0] == hashes[1]


TIMES = st.sampled_from(["2026-11-24 15:29:00", None])
ROWS = st.lists(st.tuples(st.integers(-2, 3), st.sampled_from(["a", "b", None]), TIMES), max_size=12)


@given(st.lists(st.tuples(ROWS, st.booleans()), min_size=1, max_size=12))
def test_fold_gives_each_poll_again(polls: list[tuple[list[Row], bool]]) -> None:
    """Folding gives the rows of every poll, as a multiset, and the digest of its event."""
    site, fold = Site(), Fold()
    for rows, restart in polls:
        if restart:
            site.pipeline.restart()
        lines, changes = site.poll(rows)
        fold.clear() if changes.key and not lines else fold.take(lines)

        assert fold.whole
        assert sorted(map(repr, rows)) == sorted(repr(tuple(line[name] for name in COLUMNS)) for line in fold.rows)
        assert changes.digest == fold.digest


def test_lost_or_doubled_line_is_found() -> None:
    """After a lost or doubled line the digest differs until the next whole poll."""
    rng = random.Random(1)
    for _ in range(50):
        site, fold = Site(), Fold()
        fold.take(site.poll([row(number) for number in range(20)])[0])
        lines, changes = site.poll([row(number) for number in range(rng.randint(1, 19), 30)])
        damaged = rng.choice([lines[1:], [*lines, lines[-1]], lines[:-1]])
        fold.take(damaged)

        assert changes.digest != fold.digest


def test_service_emits_changes(simulator: Simulator, tmp_path: Path) -> None:
    """Across restarts and rotations every segment begins with a whole poll, and each poll can be folded and proved."""
    metrics = {"show_locks": {"interval": 0.1, "emit": "changes", "keyframe_s": 5}}
    with service(simulator.port, tmp_path / "logs", "--segment_mb", "0.01", metrics=metrics) as running:
        for rows in (None, 20, 3, 0, 40):
            simulator.set_rows({"show_locks": rows})
            running.wait_for_polls("show_locks")
        wait_until(lambda: len(running.segments("show_locks")) > 1)
        running.end()
        polls = [event for event in running.events("poll") if event["status"] in ("ok", "empty")]
        firsts = [json.loads(path.read_bytes().split(b"\n")[0]) for path in running.segments("show_locks")]
    records: dict[int, list[dict[str, Any]]] = {}
    for record in StreamReader(tmp_path / "logs", "show_locks").read():
        records.setdefault(record["poll"], []).append(record)

    fold: Optional[Fold] = Fold()
    for event in polls:
        lines = records.get(event["poll"], [])
        assert fold is not None
        fold.clear() if event["key"] and not lines else fold.take(lines)
        assert (event["digest"], event["rows"]) == (fold.digest, len(fold.rows))
        assert event["rows"] == event["added"] + event["unchanged"]
    assert "key" in {first["change"] for first in firsts}
