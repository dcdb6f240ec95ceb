"""The values from which something is wrong: alerts fire at them, and panels change colour.

They are proposals. After a change, `python -m alloy.source` writes the rules and dashboards again.
"""

from __future__ import annotations

from typing import NamedTuple

MINUTE, HOUR = 60, 3600


class Levels(NamedTuple):
    """A value that deserves a look, and one that somebody has to act on at once."""

    warning: float
    critical: float


ORPHANED_LOCK_SECONDS = 5 * MINUTE
"""The age of a lock whose statement is gone: nobody will release it, but a statement that is ending gets a moment."""

LOCK_SECONDS = 30 * MINUTE
"""The age of any lock: longer than loads usually hold theirs. Sites with nightly loads raise it."""

QUEUE_DEPTH = 10
"""The number of waiting statements per service, as the mean of five minutes."""

QUEUED_SECONDS = 15 * MINUTE
"""How long one statement waits for its turn."""

STUCK_SECONDS = 10 * MINUTE
"""How long a statement prepares or stops: minutes mean that it waits for a lock or can't be stopped."""

BLOCKED_STATEMENTS = 10
"""The number of statements that had to wait for a lock within five minutes. A few waits are ordinary: each is over within seconds."""

EXECUTING_SECONDS = Levels(1 * HOUR, 5 * HOUR)
"""How long one statement runs; at the second, SQreamDB's own healer considers it stuck."""

HEARTBEAT_SECONDS = 30
"""How long ago a worker last spoke to the metadata server."""

LICENCE_USED = Levels(0.9, 0.98)
"""The used share of the size that the licence allows."""

LICENCE_DAYS = Levels(60, 14)
"""How many days the licence is still valid: enough to order a new one, and hardly enough."""

METADATA_MS = 1000
"""The longest answer of the metadata server per message type since its statistics were reset."""

CLOCK_SECONDS = 60
"""How far the age of the poll's own statement may be from zero before the clocks or --server_timezone must be wrong."""

PLANNED_GAP_SECONDS = 60
"""How long the service may have been stopped on purpose, as for an upgrade, before that is a gap worth an alert."""

SILENT_SECONDS = 5 * MINUTE
"""How long nothing may come from sqmon."""

FAILURES = 3
"""The number of failed polls and ended workers of one metric within five minutes."""

LATE_MS = 1000
"""How late a poll may start before the machine counts as too busy."""
