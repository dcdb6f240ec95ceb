"""The files of a service, written line by line without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

from sqmon.clock import utc_stamp
from tests.lifetimes.site import NOON_NS, SECOND

RUNS = ("20261124T120000Z-0001", "20261124T120100Z-0002")


class Files:
    """The segments of show_locks and of the service, written line by line."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self._seqs = dict.fromkeys((*RUNS, "sqmon"), 0)
        self.number = 1
        self._known: set[int] = set()

    def _write(self, stream: str, run_id: str, at: float, fields: dict[str, Any], *, torn: bool = False) -> int:
        self._seqs[run_id] += 1
        line = {"ts": utc_stamp(NOON_NS + round(at * SECOND)), "seq": self._seqs[run_id], "metric": stream, "run_id": run_id, **fields}
        (self.log_dir / stream).mkdir(parents=True, exist_ok=True)
        path = self.log_dir / stream / f"{stream}-20261124T120000.000000Z-{self.number:06d}.jsonl"
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line)[: 40 if torn else None] + ("" if torn else "\n"))
        return self._seqs[run_id]

    def started(self, run_id: str, at: float) -> None:
        """Write the event of a worker that has started."""
        self._write("sqmon", "sqmon", at, {"level": "info", "event": "worker_start", "target": "show_locks", "target_run_id": run_id})

    def rows(self, run_id: str, poll: int, at: float, *ids: int, torn: bool = False) -> list[int]:
        """Write the records of a poll and return their seq."""
        rows = ({"poll": poll, "poll_rows": len(ids), "stmt_id": number, "lockmode": "Exclusive"} for number in ids)
        return [self._write("show_locks", run_id, at + place / 1e9, row, torn=torn) for place, row in enumerate(rows)]

    def event(
        self, run_id: str, poll: int, at: float, status: str = "ok", *, rows: int = 0, seqs: Optional[list[int]] = None, **more: Any
    ) -> None:
        """Write the event of a poll that took half a second."""
        first, last = (seqs[0], seqs[-1]) if seqs else (None, None)
        fields = {"level": "info", "event": "poll", "target": "show_locks", "target_run_id": run_id, "status": status, "poll": poll}
        fields |= {
            "began": utc_stamp(NOON_NS + round(at * SECOND)),
            "rows": rows,
            "duration_ms": 500.0,
            "first_seq": first,
            "last_seq": last,
        }
        self._write("sqmon", "sqmon", at + 0.6, {**fields, **more})

    def poll(self, run_id: str, poll: int, at: float, *ids: int) -> None:
        """Write a good poll."""
        self.event(run_id, poll, at, "ok" if ids else "empty", rows=len(ids), seqs=self.rows(run_id, poll, at, *ids))

    def changes(self, run_id: str, poll: int, at: float, *ids: int) -> None:
        """Write a good poll of a metric that emits changes; every fifth poll of a run is a keyframe."""
        key = poll % 5 == 1 or not self._known
        gone, come = self._known.difference(ids), set(ids) - self._known
        kinds = {"key": set(ids)} if key else {"removed": gone, "added": come}
        self._known = set(ids)
        seqs = [
            self._write(
                "show_locks",
                run_id,
                at + number / 1e9,
                {"poll": poll, "poll_rows": len(ids), "change": change, "statement_id": number, "row_hash": f"{number:032x}"},
            )
            for change, numbers in kinds.items()
            for number in sorted(numbers)
        ]
        more = {"digest": f"{sum(ids):032x}", "key": key}
        self.event(run_id, poll, at, "ok" if ids else "empty", rows=len(ids), seqs=seqs, **more)
