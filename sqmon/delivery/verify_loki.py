"""Whether every line of a log directory is in Loki, once and unchanged: judged segment by segment."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple, Optional

from sqmon.clock import Clock, stamp_ns
from sqmon.delivery.drill_down import Difference, DrillDown
from sqmon.delivery.inspection import Inspected
from sqmon.delivery.local_lines import Lines, LocalLines
from sqmon.delivery.loki_client import LokiClient
from sqmon.delivery.loki_figures import NOTHING, Figures, figures_in_loki, figures_of
from sqmon.delivery.loki_limits import limits_of
from sqmon.delivery.loki_verdict import ORDER, POLLED, WRITTEN, Finding, Judge, Position
from sqmon.delivery.places import segments_at
from sqmon.delivery.verify import Verdict
from sqmon.storage.agent_positions import Positions, read_positions
from sqmon.storage.source import Segment
from sqmon.storage.writer import Sealed

_DAY_NS = 24 * 3600 * 10**9
_AGAIN_NS = 3600 * 10**9  # after which a proof that goes on asks again for what was proved


class Share(NamedTuple):
    """A part of the segments, another one each day, so that all have had their turn after `of` days divided by `parts`."""

    parts: int
    of: int

    def has(self, file: str, now_ns: int) -> bool:
        """Return whether it is the turn of this segment."""
        return (zlib.crc32(file.encode()) - now_ns // _DAY_NS * self.parts) % self.of < self.parts


class SegmentVerdict(NamedTuple):
    """What Loki has of one segment."""

    file: str
    verdict: str
    """The worst of what was found: ok, pending, expired, unflushed, stored_twice, altered or missing."""
    lines: int
    in_loki: int
    """Lines that Loki counts; copies count as well."""
    deep: bool
    """Whether every byte was read and compared."""
    findings: list[Finding]


class LokiVerdict(NamedTuple):
    """The proof that the lines are in Loki, or why there is none."""

    url: str
    proved: bool
    """Whether nothing is wrong; lines that are still on their way are not."""
    queries: int
    segments: list[SegmentVerdict]


class LokiProof:
    """Asks one Loki, once or again and again; what was proved and can't change any more is asked for again after an hour."""

    def __init__(
        self,
        client: LokiClient,
        matchers: str,
        *,
        clock: Clock,
        lag_s: float,
        positions: Optional[Path] = None,
        deep: Optional[Share] = None,
    ) -> None:
        self._client = client
        self._matchers = matchers
        self._clock = clock
        self._lag_ns = int(lag_s * 1e9)
        self._positions = positions
        self._deep = deep
        self.hides_nothing = False
        """Whether Loki has just flushed what it hides until then."""
        self._proved: dict[str, tuple[Sealed, int, SegmentVerdict]] = {}

    def ask(self, verdict: Verdict, *, since_ns: int = 0) -> LokiVerdict:
        """Judge the segments that have a record since then, as `verdict` found them; raises SqmonError when Loki can't be asked."""
        try:
            return self._asked(verdict, since_ns)
        finally:
            self._client.close()

    def _asked(self, verdict: Verdict, since_ns: int) -> LokiVerdict:
        before, now_ns = self._client.queries, self._clock.time_ns()
        bad = {problem.file for problem in verdict.problems}
        there = {inspected.sealed.file for inspected in verdict.found}
        self._proved = {file: proved for file, proved in self._proved.items() if file in there}
        known: list[Inspected] = []
        asked: list[Inspected] = []
        timeless: list[SegmentVerdict] = []
        for inspected in verdict.found:
            if not inspected.records:
                continue
            times = _times(inspected)
            if times is None:
                timeless.append(_timeless(inspected))
            elif times[1] >= since_ns:
                (known if self._is_proved(inspected, now_ns) else asked).append(inspected)
        segments = [*timeless, *(self._proved[each.sealed.file][2] for each in known)]
        if asked:
            limits = limits_of(self._client.configuration())
            if self.hides_nothing:
                limits = limits._replace(unflushed_s=None)
            judge = Judge(now_ns, self._lag_ns, limits)
            positions = self._read_positions()
            figures = figures_in_loki(self._client, self._matchers, asked)
            segments_there = segments_at(Path(verdict.log_dir), asked)
            for inspected in asked:
                file = inspected.sealed.file
                own = judge._replace(position=_position(positions, file), file_altered=file in bad)
                judged = self._judged(segments_there.get(file), inspected, figures.get(file, NOTHING), own)
                if judged is not None:
                    segments.append(judged)
                    if judged.verdict == "ok":
                        self._proved[file] = (inspected.sealed, now_ns, judged)
        segments.sort()
        proved = not any(finding.fails for each in segments for finding in each.findings)
        return LokiVerdict(self._client.url, proved, self._client.queries - before, segments)

    def _is_proved(self, inspected: Inspected, now_ns: int) -> bool:
        sealed, asked_ns, _ = self._proved.get(inspected.sealed.file, (None, 0, None))
        return sealed == inspected.sealed and now_ns - asked_ns < _AGAIN_NS

    def _read_positions(self) -> Optional[Positions]:
        return read_positions(self._positions) if self._positions else None

    def _judged(self, segment: Optional[Segment], inspected: Inspected, found: Figures, judge: Judge) -> Optional[SegmentVerdict]:
        """Return the verdict on a segment, None when it is gone from the directory by now."""
        file, findings = inspected.sealed.file, list[Finding]()
        deep = self._deep is not None and self._deep.has(file, judge.now_ns)
        if deep or found != figures_of(inspected):
            if segment is None:
                return None
            try:
                findings = self._findings(segment, inspected, found, judge, deep=deep)
            except FileNotFoundError:  # retention has deleted it meanwhile
                return None
            except (OSError, ValueError) as error:
                return _unreadable(inspected, str(error))
        worst = max((finding.kind for finding in findings), key=ORDER.index, default="ok")
        return SegmentVerdict(file, worst, inspected.records, found.lines, deep, findings)

    def _findings(self, segment: Segment, inspected: Inspected, found: Figures, judge: Judge, *, deep: bool) -> list[Finding]:
        local = LocalLines(segment, inspected)
        if not found.lines:
            return judge.findings(local, [Difference("missing", Lines(0, len(local) - 1))])
        search = DrillDown(self._client, self._matchers, local, most_entries=judge.limits.most_entries)
        findings = judge.findings(local, search.differences(found, whole=deep))
        if search.strangers:
            text = f"{search.strangers} lines of this segment in Loki are none of the file's"
            findings.append(Finding("altered", "", 0, 0, f"{POLLED} -> {WRITTEN}" if judge.file_altered else "read -> loki", True, text))
        return findings


def _position(positions: Optional[Positions], file: str) -> Optional[Position]:
    """Return how far the agent is known to have read a segment, which it may know under another path."""
    if positions is None:
        return None
    known = [offset for path, offset in positions.offsets.items() if "/".join(path.parts[-2:]) == file]
    return Position(min(known, default=0), positions.written_ns)


def _times(inspected: Inspected) -> Optional[tuple[int, int]]:
    """Return when the first and the last record were made, in nanoseconds since 1970; None when they don't say it."""
    try:
        return stamp_ns(inspected.first_ts), stamp_ns(inspected.last_ts)
    except ValueError:
        return None


def _timeless(inspected: Inspected) -> SegmentVerdict:
    return _unreadable(inspected, "its first or last line has no time, so Loki can't be asked for it")


def _unreadable(inspected: Inspected, text: str) -> SegmentVerdict:
    sealed = inspected.sealed
    finding = Finding("altered", "", sealed.first_seq, sealed.last_seq, f"{POLLED} -> {WRITTEN}", True, text)
    return SegmentVerdict(sealed.file, "altered", inspected.records, 0, False, [finding])
