"""Change-only emission: the rows that a poll added or removed, and a digest of the whole set."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Any, Collection, Mapping, NamedTuple, Sequence

import msgspec

from sqmon.records.values import plain
from sqmon.result import Facts, Result

HASH = "row_hash"
"""The last column of each line: what identifies the row, whatever of its text had to be cut."""

BITS = 128
_HASHED = Facts(plain=True, longest=BITS // 4)
_encode = msgspec.json.Encoder().encode


class Changes(NamedTuple):
    """What a poll wrote, beside its lines."""

    key: bool
    """Whether it wrote all rows."""
    added: int
    removed: int
    unchanged: int
    digest: str
    """The sum of all row hashes modulo 2**128, in hexadecimal: it does not depend on the order, and a repeated row counts each time."""


class Group(NamedTuple):
    """Rows that share the value of `change`."""

    change: str
    """added, removed or key."""
    rows: Result


class ChangeTracker:
    """Compares each good poll of one metric with the one before.

    Rows are compared by the server's columns; computed columns, such as ages, make no row another one. Rows are a multiset. A keyframe
    holds all rows: the first poll, one each `keyframe_s` seconds, one after a change of columns, and one after `restart`.
    """

    def __init__(self, keyframe_s: float) -> None:
        self._keyframe_s = keyframe_s
        self._columns: list[str] = []
        self._before = _Set(Result([], [], [], 0), 0)
        self._hashes: dict[int, int] = {}
        self._sum = 0
        self._key_due = -math.inf

    def restart(self) -> None:
        """Make the next poll a keyframe: what was written before is not to be had where the next lines go."""
        self._key_due = -math.inf

    def compare(self, result: Result, width: int, *, now: float) -> tuple[Changes, list[Group]]:
        """Return what has changed since the poll before, and the rows to write.

        The first `width` columns are the server's; `now` is monotonic seconds.
        """
        key = now >= self._key_due or result.columns != self._columns
        if key:
            self._columns, self._key_due = result.columns, now + self._keyframe_s
        before, found = self._before, _Set(result, width)
        come, gone = found.without(before), before.without(found)
        self._hashes.update((identity, found.digest(identity)) for identity in come)
        self._sum += sum(map(self._hashes.__getitem__, come)) - sum(map(self._hashes.__getitem__, gone))
        self._sum %= 1 << BITS
        if key:
            groups = [Group("key", found.chosen(found.places, self._hashes))]
        else:
            groups = [Group("removed", before.chosen(gone, self._hashes)), Group("added", found.chosen(come, self._hashes))]
        for identity in gone:
            del self._hashes[identity]
        self._before = found
        return Changes(key, len(come), len(gone), result.rows - len(come), f"{self._sum:032x}"), groups


class _Set:
    """The rows of a poll, each under a number that is equal for equal rows.

    The number is Python's hash, 64 bits that differ from one process to the next: two rows of a thousand share one once in some 10**13
    polls, and the next keyframe puts it right. Comparing the rows themselves would take three times as long.
    """

    def __init__(self, result: Result, width: int) -> None:
        self._result = result
        self._columns = [_comparable(values, facts) for values, facts in zip(result.data[:width], result.facts)]
        # zip makes one tuple after the other in the same place as long as nobody keeps them.
        self.places = dict(zip(map(hash, zip(*self._columns)), range(result.rows)))
        """Where each row stands; a row that is there again has another number each time."""
        if len(self.places) < result.rows:
            self._number_repeated()

    def without(self, other: _Set) -> list[int]:
        """Return the rows that the other set lacks, in order."""
        return sorted(set(self.places).difference(other.places), key=self.places.__getitem__)

    def digest(self, identity: int) -> int:
        """Return the 128 bits that stand for a row in the lines."""
        row = [values[self.places[identity]] for values in self._columns]
        return int.from_bytes(hashlib.blake2b(_encode(row), digest_size=BITS // 8).digest(), "big")

    def chosen(self, identities: Collection[int], hashes: Mapping[int, int]) -> Result:
        """Return these rows, with their hashes as the last column."""
        places = [self.places[identity] for identity in identities]
        data = [[values[place] for place in places] for values in self._result.data]
        written = [f"{hashes[identity]:032x}" for identity in identities]
        return Result([*self._result.columns, HASH], [*data, written], [*self._result.facts, _HASHED], len(places))

    def _number_repeated(self) -> None:
        seen: Counter[int] = Counter()
        self.places.clear()
        for place, identity in enumerate(map(hash, zip(*self._columns))):
            seen[identity] += 1
            self.places[identity if seen[identity] == 1 else hash((identity, seen[identity]))] = place


def _comparable(values: Sequence[Any], facts: Facts) -> Sequence[Any]:
    """The values in a form whose hashes differ when their lines do; only a NaN differs from itself, and comes and goes at each poll."""
    if not facts.plain:
        values = [plain(value) for value in values]
    # -1 has the hash of -2.
    return [str(value) if value == -1 else value for value in values] if -1 in values else values
