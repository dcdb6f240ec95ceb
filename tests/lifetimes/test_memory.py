"""What lifetimes hold in memory: each text of a row once, and no state as one text."""

from __future__ import annotations

import binascii
import json
import tracemalloc
import zlib
from typing import Any, Iterator

import msgspec

from sqmon.lifetimes.directory import DirectoryState, MetricState
from sqmon.lifetimes.packed_state import State, pack, unpack
from sqmon.lifetimes.polls import Row
from sqmon.lifetimes.shared_rows import SharedRows
from sqmon.storage.reader import Place
from tests.lifetimes.site import Site, lock, statement

LOCKS = 2000


def records(poll: int) -> Iterator[dict[str, Any]]:
    """The records of a poll, each with texts of its own, as they are read from a file."""
    for number in range(LOCKS):
        yield json.loads(json.dumps({"ts": f"{poll}", "seq": poll * LOCKS + number, "poll": poll, **lock(number)}))


def test_rows_that_stay_are_held_once() -> None:
    """Rows that a second poll returns again are those of the first, and their texts take no more memory than before."""
    shared = SharedRows("show_locks")
    tracemalloc.start()
    try:
        first = shared.poll(records(1))
        held, _ = tracemalloc.get_traced_memory()
        second = shared.poll(records(2))
        held_later, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [*map(id, second)] == [*map(id, first)]
    assert held_later < 1.1 * held


def test_packed_state_is_the_encoded_state() -> None:
    """The parts of a state are what compressing its whole text at once gives, without that text being in memory."""
    site = Site()
    site.locks(0, *map(lock, range(LOCKS)))
    site.statements(1, statement(7, "update t set x = 1", status="Preparing"))
    folded: list[Row] = [lock(number, row_hash=f"{number:032x}") for number in range(LOCKS)]
    metrics = {
        "show_locks": MetricState("run", 1, folded, Place("show_locks-1.jsonl", 9), ["run"]),
        "none": MetricState("", None, None, None, []),
    }
    directory, lifetimes = DirectoryState(None, metrics), site.lifetimes.state()
    whole = msgspec.json.encode(State(1, 5, directory, lifetimes))
    tracemalloc.start()
    try:
        parts = pack(5, directory, lifetimes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "".join(parts) == binascii.b2a_base64(zlib.compress(whole, 1), newline=False).decode()
    assert peak < len(whole)
    state = unpack(parts)
    assert state is not None
    assert msgspec.json.encode(state) == whole
