"""What it means that lines of a segment are not in Loki as they are in the file, and on which hop they were lost."""

from __future__ import annotations

import bisect
from typing import Iterable, Iterator, NamedTuple, Optional

from sqmon.clock import utc_stamp
from sqmon.delivery.drill_down import Difference
from sqmon.delivery.local_lines import Lines, LocalLines
from sqmon.delivery.loki_limits import Limits

_SETTLED_NS = 600 * 10**9  # in which a running agent reads what there is, unless Loki is down
_SPLIT_NS = 3600 * 10**9  # the parts into which Loki splits a query, which decides at its parts' edges what to look for where

ORDER = ("ok", "pending", "expired", "unflushed", "stored_twice", "altered", "missing")
"""The verdicts, the worst one last."""
POLLED, WRITTEN, READ, LOKI = "polled", "written", "read", "loki"
"""The stations of a line; a hop leads from one to another."""


class Finding(NamedTuple):
    """Lines of one run that are not in Loki exactly once, as they are in the file."""

    kind: str
    """One of ORDER."""
    run_id: str
    first_seq: int
    last_seq: int
    hop: str
    """Where they were lost or are waiting, as in `read -> loki`; `written -> loki` when the agent may have read them or not."""
    fails: bool
    text: str
    since: str = ""
    """The `ts` of the first of them, "" where that is not known."""


class Position(NamedTuple):
    """How far the agent is known to have read a segment, at least."""

    offset: int
    looked_ns: int
    """When the agent last wrote down its positions."""


class Judge(NamedTuple):
    """What decides about the lines of a segment, beside the lines themselves."""

    now_ns: int
    lag_ns: int
    """How old a line may be and still be on its way."""
    limits: Limits
    position: Optional[Position] = None
    """None where nothing is known of the agent."""
    file_altered: bool = False
    """Whether the file is not what was written."""

    def findings(self, local: LocalLines, differences: Iterable[Difference]) -> list[Finding]:
        """Judge every difference."""
        found: list[Finding] = []
        missing: list[tuple[Lines, str, str]] = []
        for kind, lines in differences:
            if kind == "missing":
                missing += self._lost(local, lines)
            elif kind == "altered":
                hop = f"{POLLED} -> {WRITTEN}" if self.file_altered else f"{READ} -> {LOKI}"
                found += _told(local, "altered", lines, hop, fails=True, text="in Loki with another text")
            elif kind == "shown_twice":
                found += _told(local, "stored_twice", lines, f"{READ} -> {LOKI}", fails=True, text="in Loki more than once")
            else:
                text = "stored more than once: queries show them once, and those that count may count copies"
                found += _told(local, "stored_twice", lines, f"{READ} -> {LOKI}", fails=False, text=text)
        for lines, kind, hop in _merged(missing):
            found += _told(local, kind, lines, hop, fails=kind != "pending", text=_TEXTS[kind])
        return sorted(found, key=lambda each: (each.run_id, each.first_seq))

    def _lost(self, local: LocalLines, lines: Lines) -> Iterator[tuple[Lines, str, str]]:
        """Yield the parts of a range that is not in Loki, each with its kind and hop."""
        expired_ns, unflushed_ns = (self._before(seconds) for seconds in (self.limits.kept_s, self.limits.unflushed_s))
        edges = [bisect.bisect_left(local.times, moment) for moment in (expired_ns, unflushed_ns, self.now_ns - self.lag_ns)]
        if self.position:
            edges.append(bisect.bisect_right(local.ends, self.position.offset))
        after = lines.last + 1
        hidden = after == len(local) or local.times[after] > unflushed_ns - _SPLIT_NS
        starts = sorted({lines.first, *(edge for edge in edges if lines.first < edge <= lines.last)})
        for start, end in zip(starts, [*(start - 1 for start in starts[1:]), lines.last]):
            part, ts = Lines(start, end), local.times[start]
            hop, waiting = self._hop(local, start)
            if ts < expired_ns:
                yield part, "expired", ""
            elif waiting or ts >= self.now_ns - self.lag_ns:
                yield part, "pending", hop
            elif ts < unflushed_ns and hidden:
                yield part, "unflushed", f"{READ} -> {LOKI}"
            else:
                yield part, "missing", f"{POLLED} -> {WRITTEN}" if self.file_altered else hop

    def _before(self, seconds: Optional[float]) -> int:
        return self.now_ns - int(seconds * 1e9) if seconds else 0

    def _hop(self, local: LocalLines, place: int) -> tuple[str, bool]:
        """Return the hop that a line that is not in Loki did not make, and whether the agent has yet to come to it."""
        if self.position is None:
            return f"{WRITTEN} -> {LOKI}", False
        if local.ends[place] <= self.position.offset:
            return f"{READ} -> {LOKI}", False
        settled = self.position.looked_ns - local.times[-1] > _SETTLED_NS
        if not settled:
            return f"{WRITTEN} -> {READ}", True
        # Alloy leaves the position of a file that it read at one go at the first line.
        return f"{WRITTEN} -> {LOKI}" if self.position.offset else f"{WRITTEN} -> {READ}", False


_TEXTS = {
    "pending": "not in Loki yet",
    "expired": "older than what Loki keeps",
    "unflushed": "too old to be seen before Loki has flushed them; see query_store_max_look_back_period",
    "missing": "not in Loki",
}


def _merged(parts: Iterable[tuple[Lines, str, str]]) -> list[tuple[Lines, str, str]]:
    merged: list[tuple[Lines, str, str]] = []
    for lines, kind, hop in sorted(parts):
        if merged and merged[-1][1:] == (kind, hop) and merged[-1][0].last + 1 == lines.first:
            merged[-1] = (Lines(merged[-1][0].first, lines.last), kind, hop)
        else:
            merged.append((lines, kind, hop))
    return merged


def _told(local: LocalLines, kind: str, lines: Lines, hop: str, *, fails: bool, text: str) -> Iterator[Finding]:
    for run_id, first, last in local.seqs(lines):
        place = local.place(run_id, first)
        yield Finding(kind, run_id, first, last, hop, fails, text, "" if place is None else utc_stamp(local.times[place]))
