"""Every line that is not in Loki as it is in the file is named with its seq and its hop, and no other."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Optional

import pytest

from sqmon.clock import utc_stamp
from sqmon.config.settings import SegmentOptions
from sqmon.delivery.inspection import Inspected, Inspector, Span
from sqmon.delivery.loki_access import Access
from sqmon.delivery.loki_client import LokiClient
from sqmon.delivery.loki_queries import matchers_of
from sqmon.delivery.verify import Verdict, verify
from sqmon.delivery.verify_loki import LokiProof, LokiVerdict, Share
from sqmon.errors import ConfigError, SqmonError
from sqmon.storage.compression import Source, compress
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.writer import Sealed
from tests.support import loki_schedules
from tests.support.clocks import FakeClock
from tests.support.logql_lines import Entry
from tests.support.loki import loki, nanoseconds, program
from tests.support.loki_schedules import LABELS, Segment, segment
from tests.support.loki_stand_in import Answer, Bulk, LokiStandIn, basic, serving
from tests.support.program import wait_until
from tests.support.segment_files import Stream, segments

HOUR_NS = 3600 * 10**9


class Site:
    """A directory of one metric, and a Loki that has all of it."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.clock = FakeClock()
        self.stream = Stream(log_dir, SegmentOptions(max_bytes=100_000_000), clock=self.clock)
        self.loki = LokiStandIn()
        self.loki.now_ns = self.clock.time_ns
        self.pauses: list[float] = []

    def poll(self, rows: int = 20, *, text: str = "select 1", seconds: float = 60) -> None:
        """Write the records of a poll."""
        self.stream.poll(rows, text=text)
        self.clock.advance(seconds)

    def segment(self) -> Segment:
        """Return what is in the newest file."""
        return segment(segments(self.log_dir)[-1])

    def deliver(self, **labels: str) -> None:
        """Bring every line of the newest file to Loki."""
        found = self.segment()
        for ts, line in zip(found.times, found.lines):
            self.loki.put({**LABELS, "filename": str(found.path), **labels}, ts, line)

    def proof(self, url: str, *, deep: Optional[Share] = None, access: Optional[Access] = None) -> LokiProof:
        """Return what asks the Loki at `url`."""
        client = LokiClient(access or Access(url), sleep=self.pauses.append)
        return LokiProof(client, 'job="sqmon"', clock=self.clock, lag_s=300, deep=deep)

    def ask(self, *, deep: Optional[Share] = None) -> LokiVerdict:
        """Verify the files, and ask."""
        with serving(self.loki) as url:
            return self.proof(url, deep=deep).ask(verify(self.log_dir))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return one that has polled for an hour, some time ago."""
    found = Site(tmp_path / "logs")
    for _ in range(60):
        found.poll()
    found.clock.advance(3600)
    return found


def findings(verdict: LokiVerdict) -> list[tuple[str, int, int]]:
    """Return kind and seq of everything that was found."""
    return [(finding.kind, finding.first_seq, finding.last_seq) for each in verdict.segments for finding in each.findings]


@pytest.mark.parametrize("seed", range(30))
def test_schedule_of_faults_is_told_exactly(seed: int) -> None:
    """Whatever got lost, came twice, was altered or is late: each line with its kind and its hop, and no other line."""
    loki_schedules.run(seed)


def simulated(number: int, lines: int) -> Inspected:
    """Return a segment that exists as figures alone."""
    first = 1_795_521_600 * 10**9 + number * 200 * 10**9
    file = f"show_locks/show_locks-20261124T{number % 24:02d}0000.{number:06d}Z-{number:06d}.jsonl"
    sealed = Sealed(file, lines, lines * 546, 1 + number * lines, (number + 1) * lines, "0" * 64, 0)
    last = first + 199 * 10**9
    return Inspected(sealed, [Span("run", sealed.first_seq, sealed.last_seq)], [], utc_stamp(first), utc_stamp(last), lines * 545)


@pytest.mark.parametrize(("count", "lines", "series", "most"), [(80, 125_000, 500, 5), (1000, 100, 500, 10), (90, 100, 30, 100)])
def test_clean_directory_costs_few_queries(site: Site, count: int, lines: int, series: int, most: int) -> None:
    """Ten million lines take four queries; more files than Loki answers for at once take several, none too long."""
    found = [simulated(number, lines) for number in range(count)]
    site.loki.series = series
    for each in found:
        times = tuple(nanoseconds(ts) for ts in (each.first_ts, each.last_ts))
        labels = frozenset({**LABELS, "filename": f"/var/log/sqmon/{each.sealed.file}"}.items())
        site.loki.bulks[labels] = Bulk(each.records, each.record_bytes, each.seq_sum, *times)
    with serving(site.loki) as url:
        verdict = site.proof(url).ask(Verdict("/nowhere", True, [], [], found))

    assert (verdict.proved, count * lines) == (True, sum(each.in_loki for each in verdict.segments))
    assert verdict.queries <= most
    assert series < 500 or verdict.queries == len(site.loki.asked), "a query was refused"
    assert site.loki.most_at_once == 1
    assert {"no-cache"} == {headers["Cache-Control"] for headers in site.loki.headers}


def test_same_length_is_found_by_reading_every_byte(site: Site) -> None:
    """A line that was altered at equal length is found by --deep alone, and every segment has its turn."""
    site.deliver()
    (entries,) = site.loki.streams.values()
    entries[77].line = entries[77].line.replace("select", "sELECT")

    assert site.ask().proved
    assert [("altered", 78, 78)] == findings(site.ask(deep=Share(1, 1)))
    days = [{number for number in range(200) if Share(2, 7).has(f"file {number}", day * 24 * HOUR_NS)} for day in range(20_000, 20_004)]
    assert set.union(*days) == set(range(200))
    assert max(map(len, days)) < 200 / 7 * 3


def test_archived_segment_is_compared_as_well(site: Site) -> None:
    """A segment that has been compressed since is asked for, and read, as any other."""
    site.stream.writer.close()
    site.deliver()
    (entries,) = site.loki.streams.values()
    del entries[4:8]
    sealed = site.stream.sealed[-1]
    compress(site.log_dir, Source(sealed.file, sealed.bytes, sealed.sha256, Knowledge.READ, 0, None), lambda: None)

    assert [("missing", 5, 8)] == findings(site.ask())
    with serving(site.loki) as url:
        inspector = Inspector()
        assert verify(site.log_dir, inspector) == verify(site.log_dir, inspector)
        assert [("missing", 5, 8)] == findings(site.proof(url).ask(verify(site.log_dir, inspector)))


def test_pages_that_cross_an_hour_lose_nothing(site: Site) -> None:
    """Loki 3.4.6 leaves lines out of a page that the limit cuts, that crosses a full hour and that has three streams."""
    for instance in ("mon1", "mon2", "mon3"):
        site.deliver(instance=instance)
    site.loki.config = "limits_config: {max_entries_limit_per_query: 100}\n"
    last = 60 * 20

    assert [("stored_twice", 1, last)] == findings(site.ask())


def test_long_lines_come_in_small_pages(site: Site) -> None:
    """Loki doesn't answer with more than 4 MiB, so a page has as many lines as surely fit."""
    for number in range(10):
        site.poll(rows=20, text=f"{number}" * 30_000, seconds=1)
    site.clock.advance(3600)
    site.deliver()
    (entries,) = site.loki.streams.values()
    del entries[1333]

    assert [("missing", 1334, 1334)] == findings(site.ask())
    assert [] == site.pauses


def test_what_is_written_meanwhile_is_no_difference(site: Site) -> None:
    """Lines that came to the file, and to Loki, after the look at the file are left to the next time."""
    before = verify(site.log_dir)
    for _ in range(3):
        site.stream.poll(50)
    site.deliver()
    with serving(site.loki) as url:
        assert [] == findings(site.proof(url).ask(before))


def test_lines_that_loki_no_longer_keeps_are_told_apart(site: Site) -> None:
    """What is older than Loki's retention is expired, not missing, and is not proved either."""
    site.deliver()
    site.loki.retention_s = 2 * 3600 - 10 * 60 + 1
    verdict = site.ask()

    assert [("expired", 1, 200)] == findings(verdict)
    assert not verdict.proved


def test_lines_of_nobody_are_told(site: Site) -> None:
    """A line in Loki under the name of a segment that has no such line makes it altered."""
    site.deliver()
    site.loki.put({**LABELS, "filename": str(site.segment().path)}, site.segment().times[5] + 500, "{}")
    (only,) = site.ask().segments

    assert [("altered", "1 lines of this segment in Loki are none of the file's")] == [(each.kind, each.text) for each in only.findings]


def test_what_was_proved_is_not_asked_for_again(site: Site) -> None:
    """A proof that goes on asks for what has changed, and after an hour for everything."""
    site.deliver()
    with serving(site.loki) as url:
        proof = site.proof(url)
        queries = []
        for seconds in (0, 60, 3600):
            site.clock.advance(seconds)
            queries.append(proof.ask(verify(site.log_dir)).queries)
    assert [4, 0, 4] == queries


def test_only_what_is_new_enough_is_asked_for(site: Site) -> None:
    """Segments whose last record is older than --since are left out."""
    site.deliver()
    with serving(site.loki) as url:
        verdict = site.proof(url).ask(verify(site.log_dir), since_ns=site.clock.time_ns())

    assert ([], 0, True) == (verdict.segments, verdict.queries, verdict.proved)


def test_busy_loki_is_given_time(site: Site) -> None:
    """A 429 is answered by the pause that Loki asks for, a 5xx by longer and longer ones, and at last by an error in one line."""
    site.deliver()
    busy = Answer(429, "too many outstanding requests\n", {"Retry-After": "7"})
    site.loki.answers = [busy, Answer(503, "down"), Answer(503, "down")]
    assert site.ask().proved
    assert [7, 1, 2] == site.pauses

    site.loki.answers = [Answer(503, "Ingester not ready: waiting for 15s\n\x1b[2J")] * 6
    with pytest.raises(SqmonError, match=r"Loki does not answer \(503 Ingester not ready: waiting for 15s\\n\\x1b\[2J\); tried 6 times"):
        site.ask()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate for 127.0.0.1 with its key."""
    path = tmp_path / "loki.pem"
    words = [program("openssl"), "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    words += ["-subj", "/CN=loki", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run(words, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_loki_that_asks_who_it_is_gets_told(site: Site, tmp_path: Path) -> None:
    """Tenant, basic authentication and bearer token reach Loki, a token also from a file, which may change."""
    site.deliver()
    file = tmp_path / "token"
    file.write_text("t0ken-1\n", "utf-8")
    with serving(site.loki) as url:
        ways = [
            (Access(url, tenant="team"), {"X-Scope-OrgID": "team"}),
            (Access(url, user="ann", password="s3cret:ä"), basic("ann", "s3cret:ä")),
            (Access(url, token="t0ken"), {"Authorization": "Bearer t0ken"}),
            (Access(url, token_file=file), {"Authorization": "Bearer t0ken-1"}),
        ]
        for access, required in ways:
            site.loki.required = required
            proof = site.proof(url, access=access)
            assert proof.ask(verify(site.log_dir)).proved
        file.write_text("t0ken-2", "utf-8")
        site.loki.required = {"Authorization": "Bearer t0ken-2"}
        site.clock.advance(3600)
        assert proof.ask(verify(site.log_dir)).proved
        site.loki.required = {"Authorization": "Bearer other"}
        with pytest.raises(SqmonError, match="401 no org id; see --loki_tenant") as refused:
            site.proof(url, access=ways[1][0]).ask(verify(site.log_dir))
    assert "s3cret" not in f"{refused.value} {ways[1][0]!r}"


def test_certificate_is_checked(site: Site, certificate: Path) -> None:
    """A certificate that the given file vouches for is trusted, and no other is."""
    site.deliver()
    with serving(site.loki, certificate=certificate) as url:
        assert site.proof(url, access=Access(url, ca_file=certificate)).ask(verify(site.log_dir)).proved
        with pytest.raises(SqmonError, match=r"its certificate is not trusted .*; see --loki_ca_file"):
            site.proof(url).ask(verify(site.log_dir))


@pytest.mark.parametrize(
    "url", ["localhost:3100", "ftp://loki", "http://", "http://loki:port", "http://ann:s3cret@loki", "http://loki/?a=b"]
)
def test_url_that_is_none_is_refused(url: str) -> None:
    """A URL that is not that of a Loki is refused before anything is sent, and a login in it is not repeated."""
    with pytest.raises(ConfigError, match="--loki_url") as refused:
        LokiClient(Access(url))
    assert "s3cret" not in str(refused.value)


def test_selectors_are_checked() -> None:
    """A selector is taken with its braces or without, and what is none is refused."""
    assert 'job="a", cluster=~"b|\\"c"' == matchers_of('{job="a", cluster=~"b|\\"c"}')
    assert 'job!="a"' == matchers_of('job!="a"')
    for wrong in ("", "{}", "job", '{job="a"} | json', '{job="a"}) or vector(1', '{job="a",}'):
        with pytest.raises(ConfigError, match="--selector"):
            matchers_of(wrong)


@pytest.fixture
def entries(site: Site) -> list[Entry]:
    """Return the lines of a directory of the last minutes, as an agent sends them."""
    site.clock.now_ns = time.time_ns() - 120 * 10**9
    stream = Stream(site.log_dir, SegmentOptions(max_bytes=200_000), metric="show_server_status", clock=site.clock)
    for _ in range(100):
        stream.poll(60)
        site.clock.advance(1)
    stream.writer.close()
    site.clock.now_ns = time.time_ns() + 600 * 10**9
    for path in segments(site.log_dir):
        if path.parent.name == "show_locks":
            path.unlink()
    found = [segment(path) for path in segments(site.log_dir)]
    return [
        Entry(0, {**LABELS, "metric": "show_server_status", "filename": str(each.path), "run_id": stream.run_id}, line)
        for each in found
        for line in each.lines
    ]


def test_a_real_loki_gives_the_same_verdicts(site: Site, entries: list[Entry], tmp_path: Path) -> None:
    """What is whole is proved, and what was left out is named, by Loki itself where it is installed."""
    left_out = range(1500, 1700)
    place = tmp_path / "loki"
    place.mkdir()
    with loki(place) as real:
        real.push([entry for number, entry in enumerate(entries, 1) if number not in left_out])
        proof = site.proof(f"http://127.0.0.1:{real.port}")
        assert [("missing", 1500, 1699)] == findings(proof.ask(verify(site.log_dir)))
        real.push([entry for number, entry in enumerate(entries, 1) if number in left_out])
        wait_until(lambda: proof.ask(verify(site.log_dir)).proved)
