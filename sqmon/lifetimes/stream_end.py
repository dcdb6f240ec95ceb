"""The end of the stream of lifetimes: how far a process before this one has come, and the state from which that can be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Optional

import msgspec

from sqmon.clock import stamp_ns
from sqmon.lifetimes.lines import METRIC, STATE, Line
from sqmon.lifetimes.packed_state import State, unpack
from sqmon.storage.look_back import BackwardReader
from sqmon.storage.reader import segments

_MOST_BYTES = 1 << 30  # between two states

_decode = msgspec.json.Decoder(dict[str, Any]).decode

Origin = tuple[str, str, int]
"""The metric, the run and the number of a poll."""


class Told(NamedTuple):
    """The newest lines of the stream, which one poll has revealed."""

    origin: Origin
    lines: int
    """How many of them are there: a kill may have come between two."""


class StreamEnd(NamedTuple):
    """Where the stream ends."""

    told: Optional[Told] = None
    """What is told already of what comes after the state; None when that is nothing."""
    state: Optional[State] = None
    """The newest state that is whole; None for none, so that everything has to be read again."""
    state_ns: int = 0
    """The time of its last line."""


def origin_of(line: Line) -> Origin:
    """Return which poll has revealed a line."""
    return line["from_metric"], line["from_run_id"], line["from_poll"]


def stream_end(log_dir: Path) -> StreamEnd:
    """Read the stream backwards to its newest state; raises OSError when it can't be read."""
    told: Optional[Told] = None
    counting = True
    parts: list[str] = []
    state_ns = 0
    for text in BackwardReader(reversed(segments(log_dir, METRIC)), max_bytes=_MOST_BYTES):
        try:
            line = _decode(text)
            origin = origin_of(line)
        except (ValueError, KeyError):  # a line that somebody else has written
            continue
        if line["event"] == STATE:
            if line["part"] == line["parts"]:
                parts, state_ns = [], stamp_ns(line["ts"])
            parts.insert(0, line["state"])
            state = unpack(parts) if line["part"] == 1 and len(parts) == line["parts"] else None
            if state is not None:
                follows = told is not None and told.origin != origin
                return StreamEnd(told if follows else None, state, state_ns)
        counting = counting and (told is None or told.origin == origin)
        if counting:
            told = Told(origin, 1 if told is None else told.lines + 1)
    return StreamEnd(told)
