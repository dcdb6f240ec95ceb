"""Whole lifetimes, put together from the lines that tell of them."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Mapping, NamedTuple, Optional

from sqmon.lifetimes.lines import Line

_LOCK = ("statement_id", "statement_start_time", "locked_object", "lock_mode", "lock_start_time", "nth")
_STATEMENT = ("statement_id", "statement_start_time")

_Kinds = Mapping[str, tuple[str, tuple[str, ...], bool]]
_KINDS: _Kinds = {
    "lock_acquired": ("locks", _LOCK, False),
    "lock_held": ("locks", _LOCK, False),
    "lock_orphaned": ("locks", _LOCK, False),
    "lock_released": ("locks", _LOCK, True),
    "statement_seen": ("statements", _STATEMENT, False),
    "statement_status": ("statements", _STATEMENT, False),
    "statement_ended": ("statements", _STATEMENT, True),
    "statement_blocked": ("waits", _STATEMENT, False),
    "statement_unblocked": ("waits", _STATEMENT, True),
    "node_up": ("nodes", ("instance_id", "server", "port"), False),
    "node_down": ("nodes", ("instance_id", "server", "port"), True),
}
_OF_A_LINE = ("metric", "level", "event")


class Range(NamedTuple):
    """A range of time, in stamps as lines have them; None leaves a side open."""

    since: Optional[str]
    until: Optional[str]

    def has(self, life: Line) -> bool:
        """Return whether the lifetime may have been going on within the range."""
        begun = life["began_after"] or life["began_before"]
        over = life["ended_before"]
        return (self.until is None or begun <= self.until) and (self.since is None or over is None or over >= self.since)


class History:
    """The lifetimes of locks, statements, waits and nodes, by kind; each is its newest line."""

    def __init__(self, within: Range, kept: Callable[[str, Line], bool] = lambda _kind, _line: True) -> None:
        """Only lifetimes within the range are kept, and only those that `kept` wants, which is called with the kind and the line."""
        self._within = within
        self._kept = kept
        self._open: dict[tuple[Any, ...], Line] = {}
        self._waiters: Optional[dict[tuple[str, str], list[Line]]] = None
        self._over: dict[str, list[Line]] = {kind: [] for kind, _, _ in _KINDS.values()}

    def take(self, line: Line) -> None:
        """Take one line of the stream of lifetimes, in order."""
        found = _KINDS.get(line["event"])
        if found is None:
            return
        kind, names, ends = found
        self._waiters = None
        key = (kind, *(line.get(name) for name in names))
        life = {**self._open.get(key, {}), **{name: value for name, value in line.items() if name not in _OF_A_LINE}}
        if not ends:
            self._open[key] = life
            return
        self._open.pop(key, None)
        if self._within.has(life) and self._kept(kind, life):
            self._over[kind].append(life)

    def of(self, kind: str) -> list[Line]:
        """Return the lifetimes of a kind (locks, statements, waits or nodes) in the order in which they were first seen."""
        going = [life for key, life in self._open.items() if key[0] == kind and self._within.has(life) and self._kept(kind, life)]
        return sorted((*self._over[kind], *going), key=lambda life: str(life["began_before"]))

    def waiters(self, lock: Line) -> list[Line]:
        """Return the waits for a lock, those that may have overlapped with it."""
        if self._waiters is None:
            self._waiters = {}
            for wait in self.of("waits"):
                for holder, wanted in itertools.product(wait["blocked_by"].split(","), wait["locked_object"].split(",")):
                    self._waiters.setdefault((holder, wanted), []).append(wait)
        return [
            wait
            for wait in self._waiters.get((lock["statement_id"], lock["locked_object"]), ())
            if (wait["ended_before"] is None or wait["ended_before"] >= (lock["began_after"] or ""))
            and (lock["ended_before"] is None or (wait["began_after"] or "") <= lock["ended_before"])
        ]
