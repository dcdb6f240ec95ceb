"""What changes in the licence."""

from __future__ import annotations

from typing import Any, Iterable, Optional

import msgspec

from sqmon.clock import utc_stamp
from sqmon.config import catalogue
from sqmon.lifetimes.lines import Line, line
from sqmon.lifetimes.polls import Poll

METRIC = "get_license_info"

_STEP = 0.01
"""The share by which a size must have changed since it was told last."""
_LICENCE_COLUMNS = catalogue.FUNCTIONS[METRIC].columns


class LicenceState(msgspec.Struct):
    """What the licence's changes are compared with."""

    told: dict[str, Any]
    poll: Optional[Poll]


class Licence:
    """The one row of the licence; the first one is where changes begin."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}
        self._poll: Optional[Poll] = None

    def take(self, poll: Poll) -> Iterable[Line]:
        """Take a good poll of get_license_info and yield a line for each column that has changed."""
        if len(poll.rows) != 1:
            return
        before, self._poll = self._poll, poll.bare()
        for name in _LICENCE_COLUMNS:
            if name not in poll.rows[0]:
                continue
            now = poll.rows[0][name]
            was = self._told.setdefault(name, now)
            if before is None or not _differs(name, was, now):
                continue
            self._told[name] = now
            fields = {
                "column": name,
                "before": was,
                "now": now,
                "began_after": utc_stamp(before.began_ns),
                "began_before": utc_stamp(poll.ended_ns),
            }
            yield line("licence_changed", poll, fields, certainty="seen")

    def state(self) -> LicenceState:
        """Return what another one can go on from."""
        return LicenceState(self._told, self._poll)

    def resume(self, state: LicenceState) -> None:
        """Go on from there."""
        self._told, self._poll = state.told, state.poll


def _differs(name: str, was: object, now: object) -> bool:
    if was == now:
        return False
    if "cluster_size" not in name or name == "cluster_size_limit":
        return True
    try:
        size, size_now = float(was), float(now)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True
    return abs(size_now - size) >= _STEP * max(abs(size), abs(size_now))
