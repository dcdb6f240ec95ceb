"""The detection of server restarts: statement ids begin again, and everything from before has ended."""

from __future__ import annotations

from typing import Iterable, NamedTuple, Optional

import msgspec

from sqmon.clock import utc_stamp
from sqmon.lifetimes.lines import Line, line
from sqmon.lifetimes.polls import Poll, server_seconds, text_of
from sqmon.lifetimes.population import Member


class OwnBefore(NamedTuple):
    """The statement that a poll of show_server_status consisted of."""

    poll: Poll
    number: int
    start_s: Optional[int]
    """When it began by the server's clock, in seconds."""


class RestartsState(msgspec.Struct):
    """The newest poll's own statement, and the polls before and after the last restart."""

    own: Optional[OwnBefore]
    between: Optional[tuple[Poll, Poll]]


class Restarts:
    """Notices that the poll's own statement has a smaller number than the one before."""

    def __init__(self) -> None:
        self._own: Optional[OwnBefore] = None
        self._between: Optional[tuple[Poll, Poll]] = None

    def take(self, poll: Poll, own_id: int, own_start_s: Optional[int]) -> Iterable[Line]:
        """Take the number and the start of the statement that a poll of show_server_status consisted of."""
        before, self._own = self._own, OwnBefore(poll.bare(), own_id, own_start_s)
        if before is None or own_id >= before.number:
            return
        earlier, earlier_id, earlier_s = before
        self._between = earlier, poll.bare()
        starts = [server_seconds(row.get("statementstarttime")) for row in poll.rows]
        newer = earlier_s is not None and all(start is not None and start >= earlier_s for start in starts)
        fields = {
            "statement_id": text_of(own_id),
            "statement_id_before": text_of(earlier_id),
            "began_after": utc_stamp(earlier.began_ns),
            "began_before": utc_stamp(poll.ended_ns),
        }
        yield line("server_restarted", poll, fields, certainty="seen" if newer else "inferred", level="warning")

    def end_of(self, member: Member, poll: Poll) -> tuple[str, int]:
        """Return why a member ended that this poll no longer sees, and before when, in nanoseconds since 1970."""
        gone_before = poll.ended_ns
        if self._between is None:
            return "gone", gone_before
        earlier, later = self._between
        # What may have come after the restart and gone before anybody knew of it has not ended with it.
        lived = member.began_before_ns <= earlier.began_ns or (poll.metric == earlier.metric and member.seen_ns <= earlier.began_ns)
        if lived and earlier.began_ns <= gone_before and member.seen_before_ns <= later.ended_ns:
            return "server_restarted", min(gone_before, later.ended_ns)
        return "gone", gone_before

    def state(self) -> RestartsState:
        """Return what another one can go on from."""
        return RestartsState(self._own, self._between)

    def resume(self, state: RestartsState) -> None:
        """Go on from there."""
        self._own, self._between = state.own, state.between
