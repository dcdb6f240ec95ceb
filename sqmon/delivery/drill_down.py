"""Which lines of a segment are not in Loki as they are in the file: first by a histogram, then page by page."""

from __future__ import annotations

from collections import Counter
from typing import Iterator, NamedTuple

from sqmon.delivery.inspection import parsed
from sqmon.delivery.local_lines import Lines, LocalLines, ranges
from sqmon.delivery.loki_client import Entry, LokiClient
from sqmon.delivery.loki_figures import Figures, summed
from sqmon.delivery.loki_queries import Streams
from sqmon.errors import SqmonError

_LINES_A_STEP = 2000
_MOST_STEPS = 10_000  # Loki gives 11,000 points a series
_SERIES = 400  # Loki gives 500 a query
_HOUR_NS = 3600 * 10**9
_PAGE_BYTES = 3 << 20  # Loki does not answer with more than 4 MiB of lines
_SLACK_NS = 1000  # some agents send a time that is a nanosecond early


class Difference(NamedTuple):
    """Lines that are not in Loki as they are in the file."""

    kind: str
    """`missing`, `altered`, `shown_twice` (every query finds them twice) or `counted_twice` (queries that count do)."""
    lines: Lines


class DrillDown:
    """The search in one segment."""

    def __init__(self, client: LokiClient, matchers: str, local: LocalLines, *, most_entries: int) -> None:
        self._client = client
        self._local = local
        self._streams = Streams(matchers, (local.file,))
        self._limit = max(1, min(most_entries, _PAGE_BYTES // local.longest))
        self._seen = bytearray(len(local))
        """How often each record was seen as it is."""
        self._altered: set[int] = set()
        self._astray: Counter[int] = Counter()
        """How many lines were seen that are not as in the file, by the seq that they give."""
        self.strangers = 0
        """Lines of this segment in Loki that are none of the file's."""

    def differences(self, found: Figures, *, whole: bool = False) -> list[Difference]:
        """Return what differs, given the figures that Loki has of the segment; the `whole` segment is read where that is asked for.

        Raises SqmonError, and OSError when the file can't be read any more.
        """
        everything = Lines(0, len(self._local) - 1)
        in_one_go = whole or everything.total <= self._limit
        suspects = [(everything, found.lines)] if in_one_go else list(self._suspects())
        twice: list[int] = []
        for lines, _ in _joined(suspects):
            self._compare(lines)
        for lines, count in suspects:
            if count > sum(self._seen[lines.first : lines.last + 1]):
                twice += self._counted_twice(lines)
        read = [place for lines, _ in suspects for place in range(lines.first, lines.last + 1)]
        missing = [place for place in read if not self._seen[place] and place not in self._altered]
        shown = [place for place in read if self._seen[place] > 1 and place not in self._altered]
        kinds = {"missing": missing, "altered": sorted(self._altered), "shown_twice": shown}
        kinds["counted_twice"] = sorted({*twice} - {*shown} - self._altered)
        return [Difference(kind, lines) for kind, places in kinds.items() for lines in ranges(places)]

    def present(self, lines: Lines) -> list[int]:
        """Return which of these records are in Loki, with whichever text; raises as `differences`."""
        self._compare(lines)
        return [place for place in range(lines.first, lines.last + 1) if self._seen[place] or place in self._altered]

    def _suspects(self) -> Iterator[tuple[Lines, int]]:
        """Yield the records of each step in which a figure differs, and how many lines Loki counts there."""
        times = self._local.times
        span_s = (times[-1] - times[0]) // 10**9 + 1
        step_s = max(1, span_s * _LINES_A_STEP // len(times), span_s // _MOST_STEPS + 1)
        step_ns = step_s * 10**9
        ours = self._histogram(step_ns)
        theirs: dict[int, list[int]] = {}
        first, last = min(ours) * step_ns, max(ours) * step_ns
        for number, query in enumerate((self._streams.counts, self._streams.sizes, self._streams.sums)):
            for sample in self._client.matrix(query(f"{step_s}s", fresh=True), first, last, step_s):
                theirs.setdefault(sample.at_ns // step_ns, [0, 0, 0])[number] += sample.value
        for step in sorted(ours):
            lines, figures = ours[step]
            if theirs.get(step) != [*figures]:
                yield lines, theirs.get(step, [0])[0]

    def _histogram(self, step_ns: int) -> dict[int, tuple[Lines, Figures]]:
        """Return the records and figures of each step; the one with number n has what is later than n - 1 steps and not later than n."""
        found: dict[int, tuple[Lines, Figures]] = {}
        place, end = 0, len(self._local)
        while place < end:
            step = -(-self._local.times[place] // step_ns)
            lines = self._local.between(self._local.times[place], step * step_ns) or Lines(place, place)
            seqs = sum((first + last) * (last - first + 1) // 2 for _, first, last in self._local.seqs(lines))
            found[step] = (lines, Figures(lines.total, self._local.size(lines), seqs))
            place = lines.last + 1
        return found

    def _compare(self, lines: Lines) -> None:
        """Note how the records are in Loki."""
        times = self._local.times
        with self._local.texts() as text:
            for page in self._pages(times[lines.first] - _SLACK_NS, times[lines.last] + _SLACK_NS + 1):
                for entry in page:
                    line = entry.line.encode("utf-8", "surrogatepass")
                    head = parsed(line)
                    place = self._local.place(head.run_id, head.seq) if head else None
                    if place is not None and text(place) == line:
                        if lines.first <= place <= lines.last:
                            self._seen[place] = min(255, self._seen[place] + 1)
                        continue
                    self._astray[head.seq if head else 0] += 1
                    # What has another seq than its time says is known by its time.
                    at = self._local.place_at(entry.ts_ns)
                    place = place if at is None else at
                    if place is None:
                        self.strangers += 1
                    elif lines.first <= place <= lines.last:
                        self._altered.add(place)

    def _pages(self, start_ns: int, end_ns: int) -> Iterator[list[Entry]]:
        """Yield what Loki has from `start_ns` to before `end_ns`, each line once."""
        query = self._streams.selector()
        seen: set[Entry] = set()
        while start_ns < end_ns:
            page = self._client.page(query, start_ns, end_ns, self._limit)
            hour = (start_ns // _HOUR_NS + 1) * _HOUR_NS
            if len(page) >= self._limit and hour < end_ns:
                # Loki 3.4.6 leaves lines out of a page that the limit cuts and that crosses a full hour.
                for start, end in ((start_ns, hour), (hour, end_ns)):
                    yield from self._pages(start, end)
                return
            yield [entry for entry in page if entry not in seen]
            if len(page) < self._limit:
                return
            if page[-1].ts_ns == start_ns and len(seen) >= len(page):
                raise SqmonError(
                    f"{self._local.file}: Loki has more than {self._limit} lines with one time, which can't be read page by page"
                )
            # The limit may have cut an instant in two.
            start_ns = page[-1].ts_ns
            seen = {entry for entry in page if entry.ts_ns == start_ns}

    def _counted_twice(self, lines: Lines) -> list[int]:
        """Return the places of the lines that Loki counts more often than it shows them."""
        times = self._local.times
        reach, at = f"{(times[lines.last] - times[lines.first]) // 10**6 + 2}ms", times[lines.last]
        found: list[int] = []
        for run_id, first, last in self._local.seqs(lines):
            start = self._local.place(run_id, first) or 0
            shown = {seq: self._seen[start + seq - first] + self._astray[seq] for seq in range(first, last + 1)}
            total = sum(shown.values())
            count = sum(each.value for each in self._client.vector(self._streams.counts_by_seq(first, last, reach, each=False), at))
            if count <= total:
                continue
            if count >= 2 * total and set(shown.values()) == {1}:
                found += range(start, start + len(shown))
                continue
            for low in range(first, last + 1, _SERIES):
                query = self._streams.counts_by_seq(low, min(last, low + _SERIES - 1), reach, each=True)
                counts = summed(self._client.vector(query, at), lambda labels: labels["seq"])
                found += [start + int(seq) - first for seq, value in counts.items() if value > shown[int(seq)]]
        return sorted(found)


def _joined(suspects: list[tuple[Lines, int]]) -> Iterator[tuple[Lines, int]]:
    """Yield neighbours as one, since one page may have room for several."""
    joined: list[tuple[Lines, int]] = []
    for lines, count in suspects:
        if joined and joined[-1][0].last + 1 == lines.first:
            before, counted = joined[-1]
            joined[-1] = (Lines(before.first, lines.last), counted + count)
        else:
            joined.append((lines, count))
    return iter(joined)
