"""The watch for another monitor of the same cluster, which is seen among the statements that this one polls."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import Callable, Mapping, Optional, Sequence

from sqmon.config import catalogue
from sqmon.ipc.reports import SecondMonitor
from sqmon.records.column_names import normalised
from sqmon.result import Result

METRIC = "show_server_status"

_NEEDED = ("statement", "statementid", "user_name", "clientip")
_POLL = re.compile(r"\s*select\s+(\w+)\s*\(\s*\)[\s;]*", re.IGNORECASE)
_LONGEST_POLL = 200
_ENOUGH = 2
"""How many statements make a monitor: one may be somebody who looks by hand."""


class Watch:
    """Looks for polls of our role that come from an address which isn't this host's.

    This host's own polls are never meant: not those of the other workers, nor of `sqmon once` or `sqmon check`, nor of a service that
    was killed, whose statements are older than the first of ours.
    """

    def __init__(self, user: str, report: Callable[[SecondMonitor], None], is_local: Callable[[str], bool]) -> None:
        """`report` gets each address once, `is_local` says whether an address is this host's."""
        self._user = user
        self._report = report
        self._is_local = is_local
        self._columns: list[str] = []
        self._places: Optional[Mapping[str, int]] = None
        self._ours: set[str] = set()
        self._first_own: Optional[int] = None
        self._seen: dict[str, set[int]] = {}

    def look(self, part: Result) -> None:
        """Look at rows of one poll of show_server_status; rows of a server that doesn't send what is needed say nothing."""
        if part.columns != self._columns:
            self._columns, self._places = part.columns, _places(part.columns)
        if self._places is None or not part.rows:
            return
        polls = self._polls(part, self._places)
        own = [(number, address) for name, number, address in polls if name == METRIC]
        if len(own) == 1:  # the poll itself, since it is always among the rows
            self._ours.add(own[0][1])
            if self._first_own is None or own[0][0] < self._first_own:  # the server counts anew after a restart
                self._first_own = own[0][0]
        if self._first_own is None:
            return
        for _, number, address in polls:
            if address not in self._ours and number > self._first_own:
                self._sighted(address, number)

    def _polls(self, part: Result, places: Mapping[str, int]) -> list[tuple[str, int, str]]:
        """Return function, statement number and address of every poll of our role."""
        found = []
        for row, text in enumerate(part.data[places["statement"]]):
            match = _POLL.fullmatch(text) if isinstance(text, str) and len(text) <= _LONGEST_POLL else None
            if match is None or match[1].lower() not in catalogue.FUNCTIONS:
                continue
            user, number, address = (part.data[places[name]][row] for name in ("user_name", "statementid", "clientip"))
            with contextlib.suppress(TypeError, ValueError):
                if str(user).strip() == self._user and str(address or "").strip():
                    found.append((match[1].lower(), int(number), str(address).strip()))
        return found

    def _sighted(self, address: str, number: int) -> None:
        numbers = self._seen.setdefault(address, set())
        if len(numbers) >= _ENOUGH:
            return  # it was told
        numbers.add(number)
        if len(numbers) == _ENOUGH and not self._is_local(address):
            self._report(SecondMonitor(address))


def is_local(address: str) -> bool:
    """Return whether an address is one of this host's, whatever its interfaces: a socket can be bound to no other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _places(columns: Sequence[str]) -> Optional[Mapping[str, int]]:
    """Return where the needed columns are, under whatever name this server gives to them; None when one is missing."""
    aliases = catalogue.FUNCTIONS[METRIC].aliases
    names = [aliases.get(name, name) for name in normalised(columns, ())]
    return {name: names.index(name) for name in _NEEDED} if set(_NEEDED) <= set(names) else None
