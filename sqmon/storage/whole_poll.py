"""A good poll with all of its rows, and the records that it is made of."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple, Optional

import msgspec

from sqmon.clock import stamp_ns
from sqmon.storage.source import Position

Record = Mapping[str, Any]

MISSING = "lines since the last poll that was written whole are missing"
"""The problem of a poll that has written changes which can't be folded."""

_decode = msgspec.json.Decoder(dict).decode


class WholePoll(NamedTuple):
    """A good poll with all of its rows."""

    metric: str
    run_id: str
    poll: int
    began_ns: int
    """In nanoseconds since 1970."""
    rows: list[Record]
    """The records of its rows, also where it wrote only changes; a record keeps the poll in which its row was written."""
    problem: str
    """Why `rows` is not all that the poll returned, "" when it is."""
    start: Position
    end: Position
    """Where what tells of it begins and ends, for the steps from here."""


def by_poll(records: list[Record]) -> Iterator[list[Record]]:
    """Yield the records of each poll, given in order."""
    group: list[Record] = []
    for record in records:
        if group and record["poll"] != group[0]["poll"]:
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def record_of(line: bytes) -> Optional[dict[str, Any]]:
    """Return the record of a line, None when it is none."""
    try:
        record: dict[str, Any] = _decode(line)
        stamp_ns(record["ts"])
    except (KeyError, TypeError, ValueError):
        return None
    return record if {"seq", "run_id", "poll"} <= record.keys() else None
