"""When calls that change the server ran last, read back from events."""

from __future__ import annotations

import json
from pathlib import Path

from sqmon.clock import utc_stamp
from sqmon.config.settings import Metric
from sqmon.supervisor.state_changes import last_runs

NOW = 1_795_521_600 * 10**9
HOUR = 3600 * 10**9
RESET = Metric("reset_leveldb_stats", 2 * 3600.0, 10.0, "select reset_leveldb_stats();", is_command=True)
OTHER = Metric("show_locks", 2.0, 10.0, "select show_locks();")


def event(ago_ns: int, name: str = "state_change", target: str = RESET.name) -> str:
    """Return the line of an event."""
    return json.dumps({"ts": utc_stamp(NOW - ago_ns), "metric": "sqmon", "event": name, "target": target}, separators=(",", ":")) + "\n"


def written(path: Path, *lines: str) -> Path:
    """Write lines and return the path."""
    path.write_text("".join(lines), "utf-8")
    return path


def test_latest_run_counts(tmp_path: Path) -> None:
    """Of several runs in several files, it is the last; other events and what is no event are passed over."""
    old = written(tmp_path / "1", event(HOUR + 5), event(HOUR), event(HOUR - 5, "poll"))
    new = written(tmp_path / "2", event(9, "poll"), '"event":"state_change"\n', event(7, target="another"), "{half")

    assert last_runs([new, old], [OTHER, RESET], now_ns=NOW) == {RESET.name: NOW - HOUR}


def test_run_that_is_an_interval_ago_does_not_count(tmp_path: Path) -> None:
    """The call is due anyhow, so older files need not be read."""
    path = written(tmp_path / "1", event(3 * HOUR), event(5 * HOUR // 2, "poll"))

    assert last_runs([path], [RESET], now_ns=NOW) == {}


def test_nothing_is_read_without_such_a_call(tmp_path: Path) -> None:
    """A service that changes nothing does not look through its events."""
    assert last_runs((path for path in [tmp_path] if not path), [OTHER], now_ns=NOW) == {}
