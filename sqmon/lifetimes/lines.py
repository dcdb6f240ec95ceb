"""The lines of lifetimes: flat, each with its bounds and with the poll that revealed it."""

from __future__ import annotations

import math
from typing import Any, Literal, Mapping, Optional

from sqmon.clock import utc_stamp
from sqmon.lifetimes.polls import Poll
from sqmon.lifetimes.population import Member

METRIC = "lifetimes"
STATE = "state"
"""The event of a line that tells people nothing: it holds what the process goes on from after a kill."""

Line = dict[str, Any]
Certainty = Literal["seen", "inferred"]
Level = Literal["info", "warning"]


def line(event: str, poll: Poll, fields: Mapping[str, Any], *, certainty: Certainty, level: Level = "info") -> Line:
    """Return the line of an event that this poll has revealed; `level` is warning for what somebody should look at, and for its end."""
    return {
        "ts": utc_stamp(poll.began_ns),
        "metric": METRIC,
        "level": level,
        "event": event,
        **fields,
        "certainty": certainty,
        "from_metric": poll.metric,
        "from_run_id": poll.run_id,
        "from_poll": poll.poll,
    }


def state_line(poll: Poll, text: str, *, part: int, parts: int) -> Line:
    """Return a line that holds a part of the state after this poll."""
    return {
        "ts": utc_stamp(poll.began_ns),
        "metric": METRIC,
        "level": "info",
        "event": STATE,
        "part": part,
        "parts": parts,
        "state": text,
        "from_metric": poll.metric,
        "from_run_id": poll.run_id,
        "from_poll": poll.poll,
    }


def life(member: Member, *, server: Optional[tuple[int, int]] = None, gone_before_ns: Optional[int] = None) -> dict[str, Any]:
    """Return the bounds of a member's life, which goes on unless `gone_before_ns` says when it was over.

    `server` is the interval in which the server says that it began: it counts where no poll before could have seen the member.
    """
    began_after, began_before, known = member.began_after_ns, member.began_before_ns, "polls"
    if began_after is None:
        known = "no"
        if server is not None and server[0] <= began_before:
            began_after, began_before, known = server[0], min(began_before, server[1]), "server"
    return {
        **bounds(began_after, began_before, member.seen_ns, gone_before_ns, so_far_ns=member.seen_before_ns, stepped=member.stepped),
        "began_known": known,
        "polls_seen": member.polls_seen,
    }


def bounds(
    began_after_ns: Optional[int],
    began_before_ns: int,
    ended_after_ns: int,
    ended_before_ns: Optional[int],
    *,
    so_far_ns: int,
    stepped: bool = False,
) -> dict[str, Any]:
    """Return the instants between which something began and ended, and for how many seconds it lasted at least and at most.

    What has not ended has lasted until `so_far_ns` at most. Nobody knows how long it lasted when the clock was set back meanwhile.
    """
    over_ns = so_far_ns if ended_before_ns is None else ended_before_ns
    return {
        "began_after": _stamp(began_after_ns),
        "began_before": _stamp(began_before_ns),
        "ended_after": _stamp(ended_after_ns),
        "ended_before": _stamp(ended_before_ns),
        "held_min_s": None if stepped else max(0.0, math.floor((ended_after_ns - began_before_ns) / 1e6) / 1e3),
        "held_max_s": None if stepped or began_after_ns is None else math.ceil((over_ns - began_after_ns) / 1e6) / 1e3,
        "clock_stepped": stepped,
    }


def _stamp(ns: Optional[int]) -> Optional[str]:
    return None if ns is None else utc_stamp(ns)
