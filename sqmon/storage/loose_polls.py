"""The polls of a stream without events, such as a segment on its own: the lines themselves tell which there were."""

from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Optional

from sqmon.clock import stamp_ns
from sqmon.records.fold import Fold
from sqmon.storage.source import Position
from sqmon.storage.stream_lines import PlacedLine, StreamLines
from sqmon.storage.whole_poll import MISSING, Record, WholePoll, record_of


class LoosePolls:
    """Polls of which only their lines tell."""

    def __init__(self, lines: StreamLines, metric: str) -> None:
        self._lines = lines
        self._metric = metric

    def close(self) -> None:
        """See Polls."""
        self._lines.close()

    def at(self, moment_ns: int) -> Optional[WholePoll]:
        """See Polls."""
        # The rows of one poll have stamps that differ by nanoseconds.
        position = self._lines.position_at(moment_ns + 1)
        newest = next(self._lines.backward(position), None) if position is not None else None
        rest = next(self.after(newest.start), None) if newest is not None else None
        return next(self.before(rest.end), None) if rest is not None else None

    def before(self, position: Optional[Position]) -> Iterator[WholePoll]:
        """Yield the polls before a position, the newest first; without one, from the end."""
        position = position or self._lines.end()
        for group in _grouped(self._lines.backward(position)) if position is not None else ():
            yield self._whole(group[::-1])

    def after(self, position: Position) -> Iterator[WholePoll]:
        """Yield the polls that follow a position."""
        for group in _grouped(self._lines.forward(position)):
            yield self._whole(group)

    def _whole(self, group: list[_Line]) -> WholePoll:
        first, last = group[0], group[-1]
        record = first.record
        rows: list[Record] = [line.record for line in group]
        problem = ""
        if "change" in record:
            rows, problem = self._folded(group)
        elif len(rows) != record.get("poll_rows"):
            problem = f"only {len(rows)} of {record.get('poll_rows')} rows are there"
        began_ns = stamp_ns(record["ts"])
        return WholePoll(self._metric, record["run_id"], record["poll"], began_ns, rows, problem, first.line.start, last.line.end)

    def _folded(self, group: list[_Line]) -> tuple[list[Record], str]:
        groups = [group]
        for earlier in _grouped(self._lines.backward(group[0].line.start)) if not _is_key(group) else ():
            groups.append(earlier[::-1])
            if _is_key(earlier):
                break
        fold = Fold()
        for each in reversed(groups):
            fold.take(line.record for line in each)
        return [*fold.rows], "" if fold.whole else MISSING


class _Line(NamedTuple):
    record: dict[str, Any]
    line: PlacedLine


def _is_key(group: list[_Line]) -> bool:
    return group[0].record.get("change") == "key"


def _grouped(lines: Iterator[PlacedLine]) -> Iterator[list[_Line]]:
    """Yield the lines of each poll; those that are no records are passed over."""
    group: list[_Line] = []
    for line in lines:
        record = record_of(line.data)
        if record is None:
            continue
        if group and (record["run_id"], record["poll"]) != (group[0].record["run_id"], group[0].record["poll"]):
            yield group
            group = []
        group.append(_Line(record, line))
    if group:
        yield group
