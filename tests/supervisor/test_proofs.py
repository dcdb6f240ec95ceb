"""What the service makes of the proofs in its directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions, SegmentOutput
from sqmon.storage import proof_file
from sqmon.storage.compression import Source, compress
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.proof_file import Proof
from sqmon.storage.reader import StreamReader
from sqmon.storage.streams import streams_of
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.proofs import Proofs
from tests.support.clocks import FakeClock
from tests.support.segment_files import Stream

HOUR = 3600


class Site:
    """A directory with two sealed segments, and what watches its proofs."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.clock = FakeClock()
        self.events = EventStream(streams_of(SegmentOutput(log_dir, SegmentOptions())), "service", clock=SystemClock())
        self.sealed = []
        for _ in range(2):
            stream = Stream(log_dir, SegmentOptions())
            stream.poll(5)
            stream.writer.close()
            self.sealed += stream.sealed
        for each in self.sealed:
            self.events.sealed(each)
        self.proofs = Proofs(log_dir, self.events, clock=self.clock)

    def look(self, **proof: Any) -> list[str]:
        """Leave a proof, if any, and return the files that are taken as proved."""
        if proof:
            proof_file.write(self.log_dir, Proof(**{"url": "http://loki", "looked_ns": self.clock.now_ns, "every_s": 300.0, **proof}))
        found = self.proofs.look()
        self.proofs.tell()
        return sorted(path.name for path in found)

    def told(self) -> list[tuple[Any, ...]]:
        """Return the events that tell of proofs."""
        self.events.close()
        names = ("level", "event", "file", "reason")
        return [
            tuple(event.get(name) for name in names)
            for event in StreamReader(self.log_dir, "sqmon").read()
            if event["event"] in ("proof", "segment_verified")
        ]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return one."""
    return Site(tmp_path)


def test_segments_are_believed_with_their_seals_hash(site: Site) -> None:
    """A segment counts as proved with its own SHA-256 alone, also when it has been compressed meanwhile; each is told of once."""
    first, second = site.sealed
    names = [Path(each.file).name for each in site.sealed]
    assert [] == site.look()
    assert [names[0]] == site.look(proved=True, segments={first.file: first.sha256, second.file: first.sha256, "../x/y": "z"})
    compress(site.log_dir, Source(second.file, second.bytes, second.sha256, Knowledge.READ, 0, None), lambda: None)
    site.events.forget(second.file)
    assert names == site.look(proved=True, segments={each.file: each.sha256 for each in site.sealed})
    assert names == site.look()
    assert [] == site.look(proved=True)

    assert [("info", "segment_verified", each.file, None) for each in site.sealed] == site.told()


def test_what_an_earlier_service_told_is_not_told_again(site: Site) -> None:
    """Segments that were proved before the start are proved, without events."""
    assert 1 == len(site.look(proved=True, segments={site.sealed[0].file: site.sealed[0].sha256}))

    assert [] == site.told()


def test_trouble_is_told_at_once_hourly_and_when_it_is_over(site: Site) -> None:
    """Something wrong is a warning, again after an hour; when it is over, that is told once."""
    site.look(proved=True)
    for hours, proved in ((0, False), (0.5, False), (0.6, False), (0, True), (1, True)):
        site.clock.advance(hours * HOUR)
        site.look(proved=proved, problem="" if proved else "a/b is missing")

    bad, good = ("warning", "proof", None, "a/b is missing"), ("info", "proof", None, "")
    assert [bad, bad, good] == site.told()


@pytest.mark.parametrize(("ended", "expected"), [(False, 1), (True, 0)])
def test_watch_that_looks_no_more_is_told(site: Site, ended: bool, expected: int) -> None:
    """When nobody looks any more that is a warning, unless the watch has been ended."""
    site.look(proved=True, ended=ended)
    site.clock.advance(1100)
    site.look()
    site.clock.advance(200)
    site.look()

    shown, told = site.proofs.shown, site.told()
    assert shown is not None
    assert ended == shown.proved
    assert expected == len(told)
    assert all(level == "warning" and reason.startswith("sqmon verify --watch has not looked since 20") for level, _, _, reason in told)
