"""After a replay Loki has every line once, whatever happens on the way, and a second replay sends nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from benchmarks import carry
from sqmon.clock import stamp_ns
from sqmon.config.settings import SegmentOptions
from sqmon.delivery.loki_access import Access
from sqmon.delivery.loki_client import LokiClient
from sqmon.delivery.replay import Done, Plan, Replay
from sqmon.delivery.replay_labels import Labels, push_body, stream_key
from sqmon.delivery.replay_preflight import preflight
from sqmon.delivery.verify import verify
from sqmon.delivery.verify_loki import LokiProof
from sqmon.errors import SqmonError
from sqmon.storage.compression import Source, compress
from sqmon.storage.knowledge import Knowledge
from tests.delivery.test_bundle_reading import ORIGIN, packed
from tests.support.clocks import FakeClock
from tests.support.loki_stand_in import LokiStandIn, basic, serving
from tests.support.program import command, ended, environment, wait_until
from tests.support.segment_files import Stream, segments

LABELS = Labels(*ORIGIN)
HOUR_S = 3600.0


class Site:
    """A directory of two metrics and of events, its bundle, and a Loki that has nothing of it."""

    def __init__(self, place: Path) -> None:
        self.log_dir = place / "logs"
        self.path = place / "site.tar.zst"
        self.clock = FakeClock()
        self.loki = LokiStandIn()
        self.loki.now_ns = self.clock.time_ns
        self.done: Optional[Done] = None

    def write(self, polls: int = 30, *, text: str = "select 1", seconds: float = 60) -> None:
        """Let the service write."""
        options = SegmentOptions(max_bytes=60_000)
        streams = [Stream(self.log_dir, options, metric=metric, clock=self.clock) for metric in ("show_locks", "show_cluster_nodes")]
        events = Stream(self.log_dir, options, metric="sqmon", clock=self.clock)
        for number in range(polls):
            for stream in streams:
                stream.poll(30, text=text)
            level = ("info", "warning", "error")[number % 3]
            events.writer.append(events.encoder.event(level, "note", {"number": number}, now_ns=self.clock.time_ns()))
            self.clock.advance(seconds)
        for stream in (*streams, events):
            stream.writer.close()

    def pack(self, **options: Any) -> Site:
        """Make the bundle."""
        packed(self.log_dir, self.path, **options)
        return self

    def lines(self) -> list[tuple[str, str]]:
        """Return every line of the directory with its file."""
        found = segments(self.log_dir)
        return sorted((f"{path.parent.name}/{path.name}", line) for path in found for line in path.read_text("utf-8").splitlines())

    def in_loki(self) -> list[tuple[str, str]]:
        """Return every line that Loki has, each copy of it."""
        return sorted(
            (dict(labels)["filename"].removeprefix(f"{ORIGIN.log_dir}/"), entry.line)
            for labels, entries in self.loki.streams.items()
            for entry in entries
            for _ in range(entry.copies)
        )

    def replay(self, url: str, *, lag_s: float = 0.0, access: Optional[Access] = None) -> Replay:
        """Return what replays."""
        client = LokiClient(access or Access(url), sleep=self.clock.advance)
        proof = LokiProof(client, 'job="sqmon"', clock=self.clock, lag_s=lag_s)
        return Replay(client, proof, 'job="sqmon"', clock=self.clock, sleep=self.clock.advance)

    def go(self, *, path: Optional[Path] = None, lag_s: float = 0.0, access: Optional[Callable[[str], Access]] = None) -> Plan:
        """Replay, and check afterwards; returns what was to be done."""
        path = path or self.path
        with serving(self.loki) as url:
            replay = self.replay(url, lag_s=lag_s, access=access(url) if access else None)
            verdict = verify(path)
            plan = replay.plan(verdict)
            self.done = replay.run(path, plan, LABELS, lambda _: None)
            replay.check(verdict)
        return plan


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return one that was packed some minutes after it had written for half an hour."""
    found = Site(tmp_path)
    found.write()
    found.clock.advance(600)
    return found.pack()


def test_empty_loki_gets_every_line_as_the_agent_sends_it(site: Site) -> None:
    """Each line is there once, with the labels, the metadata and the time of the agent's configuration; the second replay sends nothing."""
    plan = site.go()

    assert site.lines() == site.in_loki()
    assert (plan.lines, site.done) == (len(site.lines()), Done(len(site.lines()), 0, []))
    for labels, entries in site.loki.streams.items():
        told, record = dict(labels), json.loads(entries[0].line)
        stream = told["filename"].split("/")[-2]
        expected = {"job": "sqmon", "instance": "db1", "cluster": "prod", "metric": stream, "filename": told["filename"]}
        assert expected | ({"level": record["level"]} if stream == "sqmon" else {}) == told
        assert told["filename"].startswith("/var/log/sqmon/")
        for entry in entries:
            record = json.loads(entry.line)
            assert ({"run_id": record["run_id"]}, record["ts"][20:29]) == (entry.metadata, f"{entry.ts_ns % 10**9:09d}")
        assert [entry.ts_ns for entry in entries] == sorted(entry.ts_ns for entry in entries)
    site.loki.pushed.clear()
    assert (0, []) == (site.go().lines, site.loki.pushed)
    named = json.loads(push_body(LABELS, "a/b", stream_key(b'{"metric":"a","cluster":"other"}'), []))
    assert "other" == named["streams"][0]["stream"]["cluster"]


def test_only_what_is_missing_is_sent(site: Site) -> None:
    """Of a Loki that lacks some ranges, exactly these are sent, each into the stream that it belongs to."""
    site.go()
    before = {labels: len(entries) for labels, entries in site.loki.streams.items()}
    removed = 0
    for entries in site.loki.streams.values():
        if len(entries) > 60:
            del entries[20:33], entries[3:4]
            removed += 14
    site.loki._known.clear()
    for labels, entries in site.loki.streams.items():
        site.loki._known[labels] = {(entry.ts_ns, entry.line): entry for entry in entries}
    site.loki.pushed.clear()
    plan = site.go()

    assert removed
    assert (removed, removed, before) == (plan.lines, sum(site.loki.pushed), {key: len(each) for key, each in site.loki.streams.items()})
    assert site.lines() == site.in_loki()


FAULTS = ["429", "500", "503", "lost", "no answer", "then no answer", "half", "half, then no answer"]


@pytest.mark.parametrize("seed", range(25))
def test_faults_cost_no_line_and_double_none(tmp_path: Path, seed: int) -> None:
    """Whatever becomes of the pushes, and however often Loki goes away, each line is there once at the end."""
    dice, site = random.Random(seed), Site(tmp_path)
    site.write(polls=dice.choice([3, 40]), text="select 1" * dice.choice([1, 200]))
    site.clock.advance(600)
    site.pack()
    site.loki.push_faults = [dice.choice(["", *FAULTS]) for _ in range(dice.choice([4, 60]))]
    for _ in range(40):
        site.loki.dropped_connections = dice.choice([0, 0, 2, 7])
        with contextlib.suppress(SqmonError):
            if not site.go().lines:
                break
    assert site.lines() == site.in_loki()
    assert site.loki.most_at_once == 1


def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    """The program, killed again and again in the middle of pushes, loses no line and doubles none; at last it has nothing to send."""
    dice, site = random.Random(5), Site(tmp_path)
    site.clock.now_ns = time.time_ns() - 3600 * 10**9
    site.loki.now_ns = time.time_ns
    site.write(polls=60, text="select 1" * 100, seconds=10)
    site.pack()
    take, delays = site.loki.push, [dice.choice([0.0, 0.02]) for _ in range(10_000)]

    def slow(body: bytes) -> Any:
        time.sleep(delays.pop())  # on the one side of the kill or on the other
        return take(body)

    site.loki.push = slow  # type: ignore[method-assign]
    with serving(site.loki) as url:
        words = command("replay", str(site.path), "--loki_url", url)
        for kill in range(6):
            seen = len(site.loki.pushed)
            with subprocess.Popen(words, env=environment(), cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
                wanted = seen + dice.randrange(1, 6)
                wait_until(lambda process=process, wanted=wanted: len(site.loki.pushed) >= wanted or process.poll() is not None)  # type: ignore[misc]
                process.kill()
            assert kill or len(site.loki.pushed)
        last = ended("replay", str(site.path), "--loki_url", url, cwd=tmp_path)
        assert (0, "") == (last.code, last.stderr)
        assert site.lines() == site.in_loki()
        site.loki.pushed.clear()
        again = ended("replay", str(site.path), "--loki_url", url, cwd=tmp_path)
    assert (0, []) == (again.code, site.loki.pushed)
    assert f"{url} has every line of these files; nothing is sent" in again.stdout


def test_refused_lines_are_named(site: Site) -> None:
    """Lines that Loki refuses are found one by one and named with its words; all others are there once."""
    bad = {17, 18, 400}
    site.loki.refuses = lambda line: "Max entry size '9' bytes exceeded" if json.loads(line)["seq"] in bad and "show_locks" in line else ""
    site.go()

    assert site.done is not None
    named = {(file.split("/")[0], line.place) for file, refused in site.done.refused for line in refused.lines}
    assert {"show_locks"} == {stream for stream, _ in named}
    assert 3 == sum(len(refused.lines) for _, refused in site.done.refused)
    assert {"Max entry size '9' bytes exceeded"} == {refused.text for _, refused in site.done.refused}
    here = [each for each in site.lines() if not (json.loads(each[1])["seq"] in bad and "show_locks" in each[0])]
    assert here == site.in_loki()
    site.loki.refuses = lambda _: ""
    site.go()
    assert site.lines() == site.in_loki()


def test_lines_behind_their_stream_follow_a_flush(site: Site) -> None:
    """What is too far behind the newest line in Loki's memory is sent again when the stream has left it."""
    site.loki.behind_s = 60.0
    for file in {name for name, _ in site.lines()}:
        line = max(line for name, line in site.lines() if name == file)
        site.loki.push(_body(file, line))
    site.go()

    assert site.loki.flushes
    assert site.lines() == site.in_loki()


def _body(file: str, line: str) -> bytes:
    record = json.loads(line)
    whole, fraction = record["ts"][:19], record["ts"][20:29]
    seconds = int(time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))) - time.timezone
    labels = {"job": "sqmon", "instance": "db1", "cluster": "prod", "metric": record["metric"], "filename": f"/var/log/sqmon/{file}"}
    labels |= {"level": record["level"]} if "level" in record else {}
    values = [[f"{seconds}{fraction}", line, {"run_id": record["run_id"]}]]
    return json.dumps({"streams": [{"stream": labels, "values": values}]}).encode()


def test_hidden_lines_are_flushed_before_anything_is_sent_again(site: Site) -> None:
    """A Loki that hides old lines is asked to flush, so that nothing is sent twice; one that does not flush gets nothing, in words."""
    site.loki.look_back_s = HOUR_S / 60
    site.loki.push_faults = ["", "then no answer", "half", ""]
    site.go()
    assert site.lines() == site.in_loki()
    site.loki.push_faults, site.loki.pushed = [], []
    for entries in site.loki.streams.values():
        for entry in entries:
            entry.flushed = False
    assert (0, []) == (site.go().lines, site.loki.pushed)

    for entries in site.loki.streams.values():
        for entry in entries:
            entry.flushed = False
    site.loki.flush_status = 404
    with pytest.raises(SqmonError, match=r"does not flush them .*query_store_max_look_back_period: 192h"):
        site.go()
    assert [] == site.loki.pushed


CONFIG = """
limits_config:
  reject_old_samples_max_age: 1w
  creation_grace_period: 10m
  ingestion_rate_mb: 4
  per_stream_rate_limit: 3MB
  max_line_size: 256KB
  allow_structured_metadata: true
  retention_period: 0s
  shard_streams: {time_sharding_enabled: false}
schema_config:
  configs: [{from: '2024-04-01'}]
"""


@pytest.mark.parametrize(
    ("old", "new", "yaml"),
    [
        ("max_age: 1w", "max_age: 20m", "limits_config: {reject_old_samples_max_age: 25h}"),
        (
            "retention_period: 0s",
            "retention_period: 20m\ncompactor: {retention_enabled: true}\nx:",
            "limits_config: {retention_period: 25h}",
        ),
        ("2024-04-01", "2026-11-25", "schema_config: {configs: [{from: 2026-11-24, ...}]}"),
        ("256KB", "1KB", "limits_config: {max_line_size: 256KB}"),
        ("metadata: true", "metadata: false", "limits_config: {allow_structured_metadata: true}"),
        ("enabled: false", "enabled: true", "limits_config: {shard_streams: {time_sharding_enabled: false}}"),
    ],
)
def test_preflight_names_the_line_of_yaml(site: Site, old: str, new: str, yaml: str) -> None:
    """For everything that Loki would refuse, hide or double, the line of its configuration that changes that is named."""
    found = [stamp_ns(ts) for each in verify(site.path).found for ts in (each.first_ts, each.last_ts)]
    well = preflight(CONFIG, found, site.clock.time_ns())
    assert ([], 0, 0.9 * (3 << 20), True) == well
    text = CONFIG.replace(old, new).replace("\nx:\n  shard", "\n").replace("\nx:", "")
    (concern,) = preflight(text, found, site.clock.time_ns()).concerns
    assert concern.yaml.startswith(yaml)
    assert preflight("not yaml: [", found, 0)[1:] == (0, None, False)


def test_only_what_is_missing_is_judged(site: Site) -> None:
    """Of a segment that Loki has in part, only the lines that it lacks may be too old."""
    site.go()
    site.loki.config = CONFIG.replace("max_age: 1w", "max_age: 15m")
    newest = max(site.loki.streams.values(), key=lambda entries: (entries[-1].ts_ns, len(entries)))
    concerns = []
    with serving(site.loki) as url:
        for place in (-1, 0):
            del newest[place]
            concerns.append(len(site.replay(url).plan(verify(site.path)).preflight.concerns))
    assert [0, 1] == concerns


def test_what_loki_refuses_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """The program refuses with words before a push; with --partial the lines go that Loki takes, and the exit code stays 1."""
    site = Site(tmp_path)
    site.clock.now_ns = time.time_ns() - 10 * 24 * 3600 * 10**9
    site.loki.now_ns = time.time_ns
    site.write(polls=2, seconds=6 * 24 * 3600)
    site.pack()
    site.loki.oldest_s = 7 * 24 * 3600.0
    site.loki.config = CONFIG
    with serving(site.loki) as url:
        words = ("replay", str(site.path), "--loki_url", url)
        said = ended(*words, cwd=tmp_path)
        assert (1, []) == (said.code, site.loki.pushed)
        assert "the oldest line is 240 h old, and Loki refuses what is older than 168 h; set limits_config" in said.stderr
        assert "122 lines of " in said.stdout
        dry = ended(*words, "--dry_run", "--partial", cwd=tmp_path)
        assert (0, []) == (dry.code, site.loki.pushed)
        partial = ended(*words, "--partial", cwd=tmp_path)
        assert (1, 61) == (partial.code, len(site.in_loki()))
        assert "61 lines not sent: Loki does not take or keep lines so old" in partial.stdout


def test_damaged_bundle_is_not_sent(site: Site) -> None:
    """What is not proved is not sent, unless that is wanted."""
    data = site.path.read_bytes()
    site.path.write_bytes(data + b"x")
    with serving(site.loki) as url:
        said = ended("replay", str(site.path), "--loki_url", url, cwd=site.path.parent)
    assert (1, [], True) == (said.code, site.loki.pushed, "is not what the service wrote (1 problems)" in said.stderr)
    assert (1, "sqmon: --loki_url: says where to send to, as in http://localhost:3100\n") == ended(
        "replay", str(site.path), cwd=site.path.parent
    )[::2]


def test_rate_is_kept(site: Site) -> None:
    """Lines go at the rate that Loki allows."""
    site.loki.config = CONFIG.replace("ingestion_rate_mb: 4", "ingestion_rate_mb: 0.01")
    began, plan = site.clock.monotonic(), site.go()
    took = site.clock.monotonic() - began

    expected = plan.preflight.seconds_for(plan.bytes)
    assert expected is not None
    assert expected * 0.8 < took < expected * 1.2 + 10


def test_loki_is_told_who_sends(site: Site) -> None:
    """Tenant and credentials go with each push, and a wrong one ends the replay in a line."""
    site.loki.required = {"X-Scope-OrgID": "team", **basic("ann", "s3cret")}
    site.go(access=lambda url: Access(url, tenant="team", user="ann", password="s3cret"))
    assert site.lines() == site.in_loki()
    with pytest.raises(SqmonError, match="401") as refused:
        site.go(access=lambda url: Access(url, tenant="team", user="ann", password="wr0ng"))
    assert "wr0ng" not in str(refused.value)


def test_masked_lines_do_not_follow_those_that_are_there(tmp_path: Path) -> None:
    """Of a masked bundle nothing is sent that Loki has with its text."""
    site = Site(tmp_path)
    site.write(polls=5, text="select 'x'")
    site.clock.advance(600)
    site.pack(sql="masked")
    everything = site.path
    packed(site.log_dir, tmp_path / "full.tar.zst")
    site.go(path=tmp_path / "full.tar.zst")
    site.loki.pushed.clear()
    assert (0, []) == (site.go(path=everything).lines, site.loki.pushed)


def test_directory_is_sent_as_far_as_the_agent_left_it(tmp_path: Path) -> None:
    """Of a directory, archives among it, what Loki lacks is sent, and what is young is left to the agent."""
    site = Site(tmp_path)
    site.write(polls=20)
    before = [line for _, line in site.lines()]
    for path in segments(site.log_dir)[:2]:
        data = path.read_bytes()
        source = Source(f"{path.parent.name}/{path.name}", len(data), hashlib.sha256(data).hexdigest(), Knowledge.READ, 0, None)
        compress(site.log_dir, source, lambda: None)
    young = [line for line in before if stamp_ns(json.loads(line)["ts"]) >= site.clock.time_ns() - 290 * 10**9]
    plan = site.go(path=site.log_dir, lag_s=290)

    assert young
    assert (len(before) - len(young), sorted({*before} - {*young})) == (plan.lines, sorted(line for _, line in site.in_loki()))
    site.clock.advance(1000)
    site.go(path=site.log_dir, lag_s=290)
    assert sorted(before) == sorted(line for _, line in site.in_loki())


def test_carried_lines_arrive_once(tmp_path: Path) -> None:
    """What `benchmarks/carry.py` measures at a million lines holds at some thousand: all there, once, and nothing to send again."""
    figures = carry.carried(tmp_path, lines=20_000, rows=200)

    assert (20_000, 0, 0, 0) == (figures.sent, figures.missing, figures.doubled, figures.sent_again)
    assert figures.packed <= 0.03 * figures.plain
