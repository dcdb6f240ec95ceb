"""From which values on something is wrong: the alerts fire at them and the panels change colour at them.

They are proposals. Change them here and run `python -m alloy.source`.
"""

from __future__ import annotations

from typing import NamedTuple

MINUTE, HOUR = 60, 3600


class Levels(NamedTuple):
    """A value that deserves a look, and one at which somebody must get up."""

    warning: float
    critical: float


ORPHANED_LOCK_SECONDS = 5 * MINUTE
"""A lock whose statement is gone: nobody will release it, but a dying statement gets a moment."""

LOCK_SECONDS = 30 * MINUTE
"""Longer than loads usually hold their locks; sites with nightly loads raise it."""

QUEUE_DEPTH = 10
"""Waiting statements per service, as the mean of five minutes."""

QUEUED_SECONDS = 15 * MINUTE
"""One statement that waits for its turn."""

STUCK_SECONDS = 10 * MINUTE
"""Preparing or stopping: neither takes minutes unless it waits for a lock or can't be stopped."""

EXECUTING_SECONDS = Levels(1 * HOUR, 5 * HOUR)
"""One statement that runs; the second is when SQreamDB's own healer takes it for stuck."""

HEARTBEAT_SECONDS = 30
"""Since a worker last spoke to the metadata server."""

LICENCE_USED = Levels(0.9, 0.98)
"""Of the size that the licence allows."""

LICENCE_DAYS = Levels(60, 14)
"""Until the licence expires: time to order a new one, and time to run for it."""

METADATA_MS = 1000
"""The longest answer of the metadata server per message type since its statistics were reset."""

CLOCK_SECONDS = 60
"""By which the age of the poll's own statement may differ from nothing before clocks or --server_timezone must be wrong."""

FAILURES = 3
"""Failed polls and ended workers of one metric within five minutes."""

LATE_MS = 1000
"""By which a poll may start after its time before the machine is too busy for it."""
