"""The milestones of what lasts: how long something must have gone on to be told again."""

from __future__ import annotations

from bisect import bisect_right

from sqmon.config import thresholds
from sqmon.lifetimes.lines import Level

_DAY = 86400
_LOCK = (thresholds.ORPHANED_LOCK_SECONDS, thresholds.LOCK_SECONDS)
_STATEMENT = (thresholds.QUEUED_SECONDS, thresholds.STUCK_SECONDS, *thresholds.EXECUTING_SECONDS)
# The times at which alerts fire are among them, so that none fires late.
_MILESTONES = sorted({10, 60, 300, 900, 3600, 4 * 3600, *map(int, (*_LOCK, *_STATEMENT))})


def milestone(lasted_s: float) -> int:
    """Return the longest time worth telling, in seconds, that `lasted_s` has passed; 0 for none."""
    if lasted_s >= _DAY:
        return int(lasted_s // _DAY) * _DAY
    passed = bisect_right(_MILESTONES, lasted_s)
    return _MILESTONES[passed - 1] if passed else 0


def level_of_lock(reached_s: int, *, orphaned: bool) -> Level:
    """Return the level of a line about a lock whose longest milestone so far is `reached_s`."""
    return "warning" if orphaned or reached_s >= min(_LOCK) else "info"


def level_of_statement(reached_s: int) -> Level:
    """Return the level of a line about a statement whose longest milestone in one status is `reached_s`."""
    return "warning" if reached_s >= min(_STATEMENT) else "info"
