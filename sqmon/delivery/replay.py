"""The replay of a bundle or a log directory: what Loki does not have of it is sent, under the agent's labels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, Iterable, Iterator, NamedTuple

from sqmon.clock import Clock, stamp_ns
from sqmon.delivery.drill_down import DrillDown
from sqmon.delivery.inspection import Inspected
from sqmon.delivery.local_lines import Lines, LocalLines
from sqmon.delivery.loki_client import LokiClient, NoAnswerError
from sqmon.delivery.loki_limits import limits_of
from sqmon.delivery.places import segments_at
from sqmon.delivery.push import Pusher, Refused
from sqmon.delivery.replay_labels import Labels, Line
from sqmon.delivery.replay_preflight import Preflight, preflight
from sqmon.delivery.verify import Verdict
from sqmon.delivery.verify_loki import LokiProof, LokiVerdict, SegmentVerdict
from sqmon.errors import SqmonError
from sqmon.storage.source import Segment

_SETTLE_SECONDS = 1.0  # in which Loki has done what it was asked to do before a replay that was killed
_SETTLE_ROUNDS = 10
_FLUSH_PAUSES = (2.0, 5.0, 10.0, 20.0)
_LEAVE_PAUSES = (30.0, 30.0, 60.0)  # in which a stream leaves Loki's memory after a flush
_FLUSHED = (200, 204)


class Missing(NamedTuple):
    """What Loki does not have of one segment."""

    inspected: Inspected
    seqs: list[tuple[str, int, int]]
    """`run_id`, first and last seq."""

    @property
    def lines(self) -> int:
        """How many lines they are."""
        return sum(last - first + 1 for _, first, last in self.seqs)


class Plan(NamedTuple):
    """What a replay will do."""

    missing: list[Missing]
    """The segment that began first comes first."""
    preflight: Preflight

    @property
    def lines(self) -> int:
        """How many lines are to be sent."""
        return sum(each.lines for each in self.missing)

    @property
    def bytes(self) -> int:
        """About how many bytes they have."""
        return sum(each.inspected.record_bytes * each.lines // each.inspected.records for each in self.missing)


class Done(NamedTuple):
    """What a replay has done."""

    sent: int
    too_old: int
    """Lines that were not even sent, because Loki said before that it takes none so old."""
    refused: list[tuple[str, Refused]]
    """Lines that Loki did not take, each with the segment."""


class Replay:
    """Brings what a verdict has found to one Loki."""

    def __init__(
        self,
        client: LokiClient,
        proof: LokiProof,
        matchers: str,
        *,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._proof = proof
        self._matchers = matchers
        self._clock = clock
        self._sleep = sleep
        self._configuration = ""
        self._hides = False
        """Whether Loki shows some of the lines only when they have been flushed."""

    def plan(self, verdict: Verdict) -> Plan:
        """Ask Loki what it does not have; raises SqmonError when it can't be asked, or can't show what it has."""
        self._configuration = self._client.configuration()
        asked = self._settled(verdict)
        if any(finding.kind == "unflushed" for each in asked.segments for finding in each.findings):
            asked = self._flushed(verdict)
        found = {each.sealed.file: each for each in verdict.found}
        ranges = ((each.file, _missing_of(each)) for each in asked.segments)
        missing = [Missing(found[file], seqs) for file, seqs in ranges if seqs]
        missing.sort(key=lambda each: (each.inspected.first_ts, each.inspected.sealed.file))
        times = [*_times_of(Path(verdict.log_dir), missing)]
        return Plan(missing, preflight(self._configuration, times, self._clock.time_ns()))

    def _settled(self, verdict: Verdict) -> LokiVerdict:
        """Ask until two answers are the same: a replay that was killed may have sent what Loki is only now taking."""
        asked = self._proof.ask(verdict)
        for _ in range(_SETTLE_ROUNDS):
            lacking = {each.file: each.in_loki for each in asked.segments if each.verdict in ("missing", "unflushed")}
            if not lacking:
                break
            self._sleep(_SETTLE_SECONDS)
            asked = self._proof.ask(verdict)
            # An agent may be sending other segments meanwhile.
            if {each.file: each.in_loki for each in asked.segments if each.file in lacking} == lacking:
                break
        return asked

    def _flushed(self, verdict: Verdict) -> LokiVerdict:
        """Have Loki flush what it hides until then, and ask again; what it still does not show is missing. Raises SqmonError."""
        status = self._flush()
        if status not in _FLUSHED:
            raise SqmonError(
                f"{self._client.url}: Loki hides old lines until they are flushed, and does not flush them when it is asked to "
                f"({status or 'no answer'}); set ingester: {{query_store_max_look_back_period: 192h}}"
            )
        self._proof.hides_nothing = self._hides = True
        asked = self._proof.ask(verdict)
        for pause in _FLUSH_PAUSES:
            self._sleep(pause)
            again = self._proof.ask(verdict)
            if [each.in_loki for each in again.segments] == [each.in_loki for each in asked.segments]:
                return again
            asked = again
        return asked

    def _flush(self) -> int:
        """Ask Loki to flush, and return the status of its answer, 0 when there was none."""
        try:
            return self._client.send("/flush", b"").status
        except NoAnswerError:
            return 0
        finally:
            self._client.close()

    def check(self, verdict: Verdict) -> LokiVerdict:
        """Ask again what Loki has."""
        return self._flushed(verdict) if self._hides else self._proof.ask(verdict)

    def run(self, path: Path, plan: Plan, labels: Labels, progress: Callable[[int], None]) -> Done:
        """Send what is missing, oldest first; raises SqmonError when Loki stops answering."""
        try:
            return self._run(path, plan, labels, progress)
        finally:
            self._client.close()

    def _run(self, path: Path, plan: Plan, labels: Labels, progress: Callable[[int], None]) -> Done:
        pusher = Pusher(
            self._client,
            labels,
            rate=plan.preflight.rate,
            sleep=self._sleep,
            monotonic=self._clock.monotonic,
            progress=progress,
        )
        too_old, refused = 0, list[tuple[str, Refused]]()
        segments = segments_at(path, [each.inspected for each in plan.missing])
        for each in plan.missing:
            segment = segments.get(each.inspected.sealed.file)
            if segment is None:  # retention has deleted it meanwhile
                continue
            sending = _Sending(self._client, self._matchers, segment, each, limits_of(self._configuration).most_entries)
            places = [*sending.places(plan.preflight.accepts_from_ns)]
            too_old += each.lines - len(places)
            left = self._pushed(pusher, sending, places)
            refused += [(segment.name, found) for found in left]
        return Done(pusher.sent, too_old, refused)

    def _pushed(self, pusher: Pusher, sending: _Sending, places: list[int]) -> list[Refused]:
        def look(lines: list[Line]) -> set[int]:
            if self._hides and self._flush() in _FLUSHED:
                self._sleep(_FLUSH_PAUSES[0])
            return sending.look(lines)

        refused = pusher.push(sending.name, sending.lines(places), look)
        for pause in _LEAVE_PAUSES:
            behind = [line.place for found in refused if found.for_now for line in found.lines]
            if not behind or self._flush() not in _FLUSHED:
                break
            # They fit into their stream once that has left Loki's memory.
            self._sleep(pause)
            others = [found for found in refused if not found.for_now]
            refused = [*others, *pusher.push(sending.name, sending.lines(sorted(behind)), look)]
        return refused


class _Sending:
    """One segment on its way."""

    def __init__(self, client: LokiClient, matchers: str, segment: Segment, missing: Missing, most_entries: int) -> None:
        self.name = segment.name
        self._client = client
        self._matchers = matchers
        self._most_entries = most_entries
        self._missing = missing
        self._local = LocalLines(segment, missing.inspected)

    def places(self, from_ns: int) -> Iterator[int]:
        """Yield the places of the missing lines that are not older than that."""
        for run_id, first, last in self._missing.seqs:
            start = self._local.place(run_id, first)
            if start is not None:
                yield from (place for place in range(start, start + last - first + 1) if self._local.times[place] >= from_ns)

    def lines(self, places: Iterable[int]) -> Iterator[Line]:
        """Yield the lines at these places."""
        with self._local.texts() as text:
            for place in places:
                yield Line(place, self._local.times[place], text(place))

    def look(self, lines: list[Line]) -> set[int]:
        """See Look."""
        search = DrillDown(self._client, self._matchers, self._local, most_entries=self._most_entries)
        wanted = {line.place for line in lines}
        return wanted.intersection(search.present(Lines(min(wanted), max(wanted))))


def _times_of(path: Path, missing: list[Missing]) -> Iterator[int]:
    """Yield when the first and the last line were made that each segment lacks."""
    segments = segments_at(path, [each.inspected for each in missing])
    for each in missing:
        segment = segments.get(each.inspected.sealed.file)
        if each.lines == each.inspected.records or segment is None:
            yield stamp_ns(each.inspected.first_ts)
            yield stamp_ns(each.inspected.last_ts)
            continue
        local = LocalLines(segment, each.inspected)
        for run_id, first, last in each.seqs:
            yield from (local.times[place] for place in (local.place(run_id, first), local.place(run_id, last)) if place is not None)


def _missing_of(segment: SegmentVerdict) -> list[tuple[str, int, int]]:
    # What Loki no longer keeps is told by the preflight.
    return [(each.run_id, each.first_seq, each.last_seq) for each in segment.findings if each.kind in ("missing", "expired")]
