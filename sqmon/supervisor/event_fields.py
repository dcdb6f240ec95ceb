"""The fields of events that the supervisor writes for workers and for its own stream alike."""

from __future__ import annotations

from typing import Any

from sqmon.clock import ClockStep, utc_stamp
from sqmon.storage.writer import Dropped


def step_fields(target: str, run_id: str, step: ClockStep) -> dict[str, Any]:
    """Return the fields of a `clock_step` event."""
    return {"target": target, "target_run_id": run_id, "back_s": round(step.back_s, 3), "newest": utc_stamp(step.newest_ns)}


def dropped_fields(target: str, run_id: str, dropped: Dropped) -> dict[str, Any]:
    """Return the fields of a `gap` event for records that were given up."""
    return {
        "target": target,
        "target_run_id": run_id,
        "reason": dropped.reason,
        "since": utc_stamp(dropped.since_ns),
        "until": utc_stamp(dropped.until_ns),
        "first_seq": dropped.first_seq,
        "last_seq": dropped.last_seq,
    }
