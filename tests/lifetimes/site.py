"""A site without a database: polls that were answered at an instant between their beginning and their end."""

from __future__ import annotations

import datetime as dt
from typing import Any, Optional, Sequence

from sqmon.lifetimes.lifetimes import Lifetimes
from sqmon.lifetimes.lines import Line
from sqmon.lifetimes.polls import Poll

NOON_NS = 1_795_521_600 * 10**9
SECOND = 10**9
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the server's times carry no zone


def server_time(seconds: float, *, skew: float = 0.0) -> str:
    """Return a time after noon, in seconds, as a server writes it whose clock is UTC and so far ahead."""
    return f"{_EPOCH + dt.timedelta(seconds=int(NOON_NS / SECOND + seconds + skew)):%Y-%m-%d %H:%M:%S}"


def lock(number: int, locked: str = "table$master$public$t$Update", *, since: float = 0.0, mode: str = "Exclusive", **more: Any) -> Line:
    """Return a row of show_locks."""
    return {
        "statement_id": str(number),
        "statement_string": f"update t set x = {number}",
        "username": "etl",
        "locked_object": locked,
        "lock_mode": mode,
        "statement_start_time": server_time(since),
        "lock_start_time": server_time(since),
        "statement_hash": "00000000000000ff",
        **more,
    }


def statement(number: int, text: str = "select 1", *, since: float = 0.0, status: str = "Executing", **more: Any) -> Line:
    """Return a row of show_server_status."""
    return {
        "service": "sqream",
        "database_name": "master",
        "user_name": "etl",
        "statementid": number,
        "statement": text,
        "statementstarttime": server_time(since),
        "statementstatus": status,
        "statementstatusstart": server_time(since),
        "is_self": False,
        **more,
    }


def own(number: int, at: float, *, skew: float = 0.0) -> Line:
    """Return the row of the statement that a poll of show_server_status consists of."""
    return {
        **statement(number, "select show_server_status()"),
        "statementstarttime": server_time(at, skew=skew),
        "user_name": "sq_monitor",
        "is_self": True,
    }


class Site:
    """Polls and what they reveal; times are seconds after noon."""

    def __init__(self) -> None:
        self.lifetimes = Lifetimes()
        self.lines: list[Line] = []
        self._polls = 0

    def poll(self, metric: str, at: float, rows: Sequence[Line], *, lasts: float = 0.5, run_id: str = "run") -> list[Line]:
        """Take a good poll that began at `at`, and return the lines that it reveals."""
        self._polls += 1
        began_ns = NOON_NS + round(at * SECOND)
        lines = self.lifetimes.take(Poll(metric, run_id, self._polls, began_ns, began_ns + round(lasts * SECOND), rows))
        self.lines += lines
        return lines

    def locks(self, at: float, *rows: Line, lasts: float = 0.5) -> list[Line]:
        """Take a poll of show_locks."""
        return self.poll("show_locks", at, rows, lasts=lasts)

    def statements(self, at: float, *rows: Line, own_id: Optional[int] = None, skew: float = 0.0) -> list[Line]:
        """Take a poll of show_server_status, whose own statement began 0.1 s after it."""
        self_id = 1000 + self._polls if own_id is None else own_id
        return self.poll("show_server_status", at, [*rows, own(self_id, at + 0.1, skew=skew)])


def events(lines: Sequence[Line], *names: str) -> list[Line]:
    """Return the lines of these events."""
    return [line for line in lines if line["event"] in names]


def told(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Return the event and the statement of each line."""
    return [(line["event"], line.get("statement_id", "")) for line in lines]


def after_noon(stamp: Optional[str]) -> Optional[float]:
    """Return how many seconds after noon a time of a line is."""
    if stamp is None:
        return None
    moment = dt.datetime.fromisoformat(stamp[:26]) - _EPOCH
    return round(moment.total_seconds() - NOON_NS / SECOND, 6)


def life(line: Line) -> tuple[Optional[float], ...]:
    """Return the bounds of a line, in seconds after noon: began after, began before, ended after, ended before."""
    return tuple(after_noon(line[name]) for name in ("began_after", "began_before", "ended_after", "ended_before"))
