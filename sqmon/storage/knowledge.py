"""What is known of a segment's way to Loki."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Knowledge(enum.IntEnum):
    """What is known of a segment's way to Loki, in the order in which segments are given up."""

    PROVED = 0  # its lines were seen in Loki
    READ = 1  # the agent has read it to its end
    BEGUN = 2  # the agent has begun to read it, and was still running ten minutes after its last line
    UNKNOWN = 3


class Unread(NamedTuple):
    """Records that the agent isn't known to have read; `since` and `until` are the `ts` of the first and the last."""

    metric: str
    run_id: str
    since: str
    until: str
    first_seq: int
    last_seq: int
