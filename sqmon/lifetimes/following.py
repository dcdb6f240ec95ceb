"""The lines of lifetimes that a directory reveals, going on where their stream ends."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Iterator

from sqmon.lifetimes.directory import Directory, Event
from sqmon.lifetimes.lifetimes import METRICS, Lifetimes
from sqmon.lifetimes.lines import Line, state_line
from sqmon.lifetimes.packed_state import pack
from sqmon.lifetimes.polls import Poll
from sqmon.lifetimes.stream_end import StreamEnd, Told

_STATE_NS = 600 * 10**9
"""After how much time, by the polls, the state is written again: so much has to be read again after a kill."""


class Following:
    """Reads what a service writes as it is written; the files alone decide which lines come, however often it begins anew.

    The state is among the lines: the first poll has it, and then one each ten minutes.
    """

    def __init__(self, log_dir: Path, end: StreamEnd) -> None:
        """Go on where the stream ends: what follows the state is read again, and what it reveals is not told again."""
        state = end.state
        self._told = end.told
        self._directory = Directory(log_dir, METRICS, state.directory if state else None)
        self._lifetimes = Lifetimes()
        self._state_ns = state.at_ns if state else None
        if state is not None:
            self._lifetimes.resume(state.lifetimes, last_ns=end.state_ns)
        self.read_to = ""
        """The `ts` of the newest event that was read."""

    def read(self) -> Iterator[Iterator[Line]]:
        """Yield the lines of what was added since the last call, for each event of the service; ask for all of them before going on."""
        for event, poll in self._directory.read():
            self.read_to = event.get("ts", "")
            lines = self._lines(poll) if poll is not None else iter(())
            if self._told is not None:
                lines = self._new(lines, self._told, event)
            yield lines
        self._told = None  # where its poll was not met, the files are gone that tell of it

    def _lines(self, poll: Poll) -> Iterator[Line]:
        yield from self._lifetimes.lines(poll)
        if self._state_ns is None or abs(poll.began_ns - self._state_ns) >= _STATE_NS:
            self._state_ns = poll.began_ns
            texts = pack(poll.began_ns, self._directory.state(), self._lifetimes.state())
            for part, text in enumerate(texts, start=1):
                yield self._lifetimes.stamped(state_line(poll, text, part=part, parts=len(texts)), poll)

    def _new(self, lines: Iterator[Line], told: Told, event: Event) -> Iterator[Line]:
        """Leave out what is told already: everything up to the newest lines of the stream."""
        is_newest = (event.get("target"), event.get("target_run_id"), event.get("poll")) == told.origin
        if is_newest:
            self._told = None
        yield from itertools.islice(lines, told.lines if is_newest else sys.maxsize, None)
