"""What Loki has of many segments at once: lines, bytes and the sum of seq, in three queries."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping, NamedTuple

from sqmon.clock import stamp_ns
from sqmon.delivery.inspection import Inspected
from sqmon.delivery.loki_client import LokiClient, RefusedError, Sample
from sqmon.delivery.loki_queries import Streams, batches, file_of


class Figures(NamedTuple):
    """What proves a segment: it is whole when all three are the same here and there."""

    lines: int
    bytes: int
    seq_sum: int


NOTHING = Figures(0, 0, 0)


def figures_of(inspected: Inspected) -> Figures:
    """Return the figures of a segment that was read."""
    return Figures(inspected.records, inspected.record_bytes, inspected.seq_sum)


def figures_in_loki(client: LokiClient, matchers: str, segments: Iterable[Inspected]) -> dict[str, Figures]:
    """Return the figures of the segments that Loki has lines of; raises SqmonError.

    Segments of about the same time are asked for together, so that no query reaches back further than it must.
    """
    found: dict[str, Figures] = {}
    for batch in batches(sorted(segments, key=lambda each: each.first_ts), lambda each: each.sealed.file):
        found.update(_asked(client, matchers, batch))
    return found


def _asked(client: LokiClient, matchers: str, segments: list[Inspected]) -> dict[str, Figures]:
    streams = Streams(matchers, tuple(each.sealed.file for each in segments))
    start = min(stamp_ns(each.first_ts) for each in segments)
    end = max(stamp_ns(each.last_ts) for each in segments)
    # What Loki counts is later than the beginning of the range, which is given in milliseconds.
    reach = f"{(end - start) // 10**6 + 2}ms"
    try:
        answers = [summed(client.vector(query(reach), end)) for query in (streams.counts, streams.sizes, streams.sums)]
    except RefusedError:
        # For its limits: of time, of series, or of the length of a query.
        if len(segments) == 1:
            raise
        half = len(segments) // 2
        return {**_asked(client, matchers, segments[:half]), **_asked(client, matchers, segments[half:])}
    return {file: Figures(*(answer.get(file, 0) for answer in answers)) for file in streams.files if file in answers[0]}


def summed(
    samples: Iterable[Sample], key: Callable[[Mapping[str, str]], str] = lambda labels: file_of(labels["filename"])
) -> dict[str, int]:
    """Return the sum of the values of each segment, which agents may have sent under several paths."""
    sums: dict[str, int] = {}
    for sample in samples:
        name = key(sample.labels)
        sums[name] = sums.get(name, 0) + sample.value
    return sums
