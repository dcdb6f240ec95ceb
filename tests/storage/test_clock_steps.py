"""A host's clock that was wrong and is set right, while the service runs and between two runs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from sqmon.simulator import Simulator
from tests.support.program import service

FUTURE = "2031-01-01T00:00:00.000000000Z"
METRICS = {"show_locks": 0.2}


def line_of_2031(log_dir: Path, stream: str, rest: str) -> None:
    """Write the line of a run whose clock was years ahead."""
    directory = log_dir / stream
    directory.mkdir(parents=True)
    line = f'{{"ts":"{FUTURE}","seq":1,"metric":"{stream}","run_id":"20310101T000000Z-aaaa",{rest}}}\n'
    (directory / f"{stream}-20310101T000000.000000Z-000001.jsonl").write_text(line, "utf-8")


def test_line_from_the_future_does_not_stay(simulator: Simulator, tmp_path: Path) -> None:
    """The next run writes the true time and says once for each stream by how much the clock was wrong, and the one after it doesn't."""
    log_dir = tmp_path / "logs"
    line_of_2031(log_dir, "show_locks", '"poll":1,"poll_rows":1')
    line_of_2031(log_dir, "sqmon", '"level":"info","event":"start"')
    told = []
    before = dt.datetime.now(dt.timezone.utc).isoformat()
    for _ in range(2):
        with service(simulator.port, log_dir, metrics=METRICS) as run:
            run.wait_for_polls("show_locks")
            assert run.end() == 0
            stamps = [line["ts"] for line in run.events() + run.records("show_locks") if line["ts"] != FUTURE]
            assert before < min(stamps) < max(stamps) < dt.datetime.now(dt.timezone.utc).isoformat()
            told.append([(step["target"], step["newest"], step["level"]) for step in run.events("clock_step")])
            steps = run.events("clock_step")
            assert all(step["back_s"] > 24 * 3600 for step in steps)
            assert run.records("show_locks")[0]["ts"] == FUTURE

    assert sorted(told[0]) == [("show_locks", FUTURE, "warning"), ("sqmon", FUTURE, "warning")]
    assert told[1] == []
