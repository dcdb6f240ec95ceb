"""Lines on their way from one site to another: packed, carried, replayed into an empty Loki, proved there, and replayed again.

Usage: python -m benchmarks.carry [--json] [--lines N] [--rows N]

Loki is the stand-in of the tests, so the time of the replay says what sqmon needs, and not what Loki does.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions
from sqmon.delivery.bundle import FOREVER_NS, Order, bundle
from sqmon.delivery.bundle_choice import Window, choose
from sqmon.delivery.bundle_masking import Masking
from sqmon.delivery.loki_access import Access
from sqmon.delivery.loki_client import LokiClient
from sqmon.delivery.origin import Origin
from sqmon.delivery.replay import Replay
from sqmon.delivery.replay_labels import Labels
from sqmon.delivery.verify import verify
from sqmon.delivery.verify_loki import LokiProof
from sqmon.records.encoder import Encoder
from sqmon.storage.segment_writer import SegmentWriter
from tests.support.loki_stand_in import LokiStandIn, serving

ORIGIN = Origin("prod", "db1", "/var/log/sqmon")
INTERVAL_NS = 2 * 10**9
COLUMNS = (
    "statement_id",
    "statement_string",
    "username",
    "server",
    "port",
    "locked_object",
    "lockmode",
    "statement_start_time",
    "lock_start_time",
)


class Figures(NamedTuple):
    """What it took, in seconds and bytes, and what became of the lines."""

    lines: int
    plain: int
    packed: int
    bundle_s: float
    replay_s: float
    verify_s: float
    again_s: float
    sent: int
    missing: int
    doubled: int
    sent_again: int
    peak_mib: int
    """Of this process, Loki's lines included."""


def carried(place: Path, *, lines: int, rows: int) -> Figures:
    """Carry so many lines, of polls of so many locks."""
    log_dir, path, loki = place / "logs", place / "site.tar.zst", LokiStandIn()
    _write(log_dir, lines, rows)
    plain = sum(segment.stat().st_size for segment in log_dir.glob("*/*.jsonl"))
    began = time.monotonic()
    window = Window(0, FOREVER_NS)
    bundle(log_dir, choose(log_dir, window), Order(window, Masking("masked"), ORIGIN), path)
    times = [time.monotonic() - began]
    with serving(loki) as url:
        client, clock = LokiClient(Access(url)), SystemClock()
        replay = Replay(client, LokiProof(client, 'job="sqmon"', clock=clock, lag_s=0), 'job="sqmon"', clock=clock)
        done, sent = [], []
        for _ in range(2):
            began = time.monotonic()
            verdict = verify(path)
            plan = replay.plan(verdict)
            done.append(replay.run(path, plan, Labels(*ORIGIN), lambda _: None))
            sent.append(sum(loki.pushed))
            loki.pushed.clear()
            times.append(time.monotonic() - began)
        began = time.monotonic()
        proved = LokiProof(client, 'job="sqmon"', clock=clock, lag_s=0).ask(verdict)
        times.append(time.monotonic() - began)
    there = {(labels, entry.ts_ns) for labels, entries in loki.streams.items() for entry in entries}
    copies = sum(entry.copies for entries in loki.streams.values() for entry in entries)
    packed = path.stat().st_size
    bundle_s, replay_s, again_s, verify_s = times
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    missing = 0 if proved.proved and len(there) == lines else max(1, lines - len(there))
    doubled = copies - len(there)
    return Figures(lines, plain, packed, bundle_s, replay_s, verify_s, again_s, sent[0], missing, doubled, sent[1], peak)


def _write(log_dir: Path, lines: int, rows: int) -> None:
    """Write what a cluster with so many locks is, polled every two seconds until now."""
    options = SegmentOptions(fsync="never")
    writer = SegmentWriter(log_dir, "show_locks", options, clock=SystemClock(), on_sealed=lambda _: None, on_dropped=lambda _: None)
    encoder, polls = Encoder("show_locks", "20261124T120000Z-ffff"), -(-lines // rows)
    start_ns = time.time_ns() - polls * INTERVAL_NS
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(start_ns // 10**9))
    for poll in range(polls):
        # Some locks come and go with each poll.
        ids = range(poll * rows // 100, poll * rows // 100 + min(rows, lines - poll * rows))
        texts = (f"insert into public.t{number % 40} select * from staging.s{number % 7} where batch = {number}" for number in ids)
        values = [
            (
                f"{number}",
                text,
                f"user{number % 5}",
                "10.0.0.1",
                5000 + number % 4,
                f"table$master$public$t{number % 40}",
                "Exclusive",
                since,
                since,
            )
            for number, text in zip(ids, texts)
        ]
        for batch in encoder.rows(COLUMNS, values, poll=poll + 1, started_ns=start_ns + poll * INTERVAL_NS):
            writer.append(batch)
        writer.tick()
    writer.close()


def main() -> int:
    """Print the figures; exit code 1 when a line is missing, there twice, or sent again, or the bundle is too large."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1247, help="locks a poll (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = carried(Path(place), lines=options.lines, rows=options.rows)
    if options.json:
        sys.stdout.write(json.dumps(found._asdict()) + "\n")
    else:
        sys.stdout.write(
            f"{found.lines:,} lines, {found.plain / 1e6:.0f} MB; bundle {found.packed / 1e6:.1f} MB ({found.packed / found.plain:.2%}) "
            f"in {found.bundle_s:.1f} s\n"
            f"replayed in {found.replay_s:.1f} s: {found.sent:,} lines sent, {found.missing} missing, {found.doubled} doubled; "
            f"proved in {found.verify_s:.1f} s\n"
            f"replayed again in {found.again_s:.1f} s: {found.sent_again} lines sent; {found.peak_mib} MiB with Loki's lines\n"
        )
    bad = found.missing or found.doubled or found.sent_again or found.packed > 0.03 * found.plain
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
