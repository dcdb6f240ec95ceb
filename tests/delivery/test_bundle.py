"""A bundle holds what a service has written, opens with tar, and never leaves the site with a secret."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from sqmon.clock import utc_stamp
from sqmon.config.settings import SegmentOptions
from sqmon.delivery.bundle_masking import Masking
from sqmon.delivery.bundle_search import Search, Secret
from sqmon.records.sql_columns import NAMES
from sqmon.records.sql_text import masked
from sqmon.simulator import Simulator
from sqmon.storage.bundle_manifest import Manifest
from sqmon.storage.bundle_reader import Bundle
from sqmon.storage.compression import Source, compress
from sqmon.storage.knowledge import Knowledge
from tests.delivery.test_verify import History, history, whole  # noqa: F401 - a fixture
from tests.support.loki import program
from tests.support.program import Ended, command, ended, environment, service, wait_until
from tests.support.segment_files import Stream, segments

SECRET = "hunter2-hunter2"


def made(log_dir: Path, *words: str, **environ: str) -> tuple[Ended, Path]:
    """Make a bundle of a directory beside it, and return what was said and where it is."""
    path = log_dir.parent / "site.tar.zst"
    path.unlink(missing_ok=True)
    return ended("bundle", str(log_dir), "-o", str(path), *words, cwd=log_dir.parent, **environ), path


def contents(path: Path) -> dict[str, bytes]:
    """Return what Python's tar finds in a bundle."""
    with zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True) as data:
        tar = tarfile.open(fileobj=io.BytesIO(data.read()))  # noqa: SIM115 - it has no file
    return {member.name.partition("/")[2]: (tar.extractfile(member) or io.BytesIO()).read() for member in tar}


def manifest_of(path: Path) -> Manifest:
    """Return what a bundle says of itself."""
    return Bundle(path).manifest


def test_bundle_is_what_tar_and_sha256sum_say(history: History) -> None:  # noqa: F811
    """GNU tar unpacks it, coreutils check it, and the segments are byte for byte those of the directory."""
    whole(history)
    said, path = made(history.log_dir, "--sql", "full")
    assert (0, True) == (said.code, "SQL text: full" in said.stdout)
    out = path.parent / "out"
    out.mkdir()
    subprocess.run([program("tar"), "--zstd", "-xf", path, "-C", out], check=True)
    (directory,) = out.iterdir()
    subprocess.run([program("sha256sum"), "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=directory, check=True)
    manifest = json.loads((directory / "MANIFEST.json").read_bytes())

    assert ["MANIFEST.json", "SHA256SUMS"] == [*contents(path)][:2]
    ours = {str(each.relative_to(history.log_dir)): each.read_bytes() for each in segments(history.log_dir)}
    assert ours == {str(each.relative_to(directory)): each.read_bytes() for each in segments(directory)}
    for file in manifest["files"]:
        data = (directory / file["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        if file["kind"] == "segment":
            lines = [json.loads(line) for line in data.split(b"\n")[:-1]]
            told = [file.get(key, 0) for key in ("lines", "first_seq", "last_seq", "first_ts", "last_ts")]
            assert [len(lines), lines[0]["seq"], lines[-1]["seq"], lines[0]["ts"], lines[-1]["ts"]] == told
    assert {"metrics_file.json", "agent_positions.json", "status.json"} == {each["file"] for each in manifest["omitted"]}
    assert all(each["reason"] for each in manifest["omitted"])
    assert 0o640 == path.stat().st_mode & 0o777
    assert 0 == ended("verify", str(directory), cwd=path.parent).code


def test_archives_are_packed_like_their_segments(history: History) -> None:  # noqa: F811
    """A segment that has been compressed is in the bundle as it was before."""
    history.start()
    workers = history.work()
    history.stop()
    before = {str(each.relative_to(history.log_dir)): each.read_bytes() for each in segments(history.log_dir)}
    for sealed in workers[0].sealed:
        compress(history.log_dir, Source(sealed.file, sealed.bytes, sealed.sha256, Knowledge.READ, 0, None), lambda: None)
    _, path = made(history.log_dir, "--sql", "full")

    assert before == {name: data for name, data in contents(path).items() if name.endswith(".jsonl")}


def test_growing_segments_end_at_a_whole_line(tmp_path: Path) -> None:
    """Of a segment that is still written the whole lines are taken, and the manifest says so."""
    stream = Stream(tmp_path / "logs", SegmentOptions())
    stream.poll(5)
    (path,) = segments(tmp_path / "logs")
    with path.open("ab") as file:
        file.write(b'{"ts":"half a line')
    for mode in ("full", "masked"):
        _, bundle = made(tmp_path / "logs", "--sql", mode)
        (file_,) = [each for each in manifest_of(bundle).files if each.kind == "segment"]
        assert (5, True, 18, None) == (file_.lines, file_.growing, file_.left_out_bytes, file_.seal)
        assert contents(bundle)[file_.path].endswith(b"}\n")


def test_window_takes_segments_that_reach_into_it(tmp_path: Path) -> None:
    """Whole segments of the window are taken, and each other one is named with its reason."""
    stream = Stream(tmp_path / "logs", SegmentOptions(max_bytes=1000))
    for _ in range(12):
        stream.poll(3)
        stream.clock.advance(3600)
    names = [f"show_locks/{each.name}" for each in segments(tmp_path / "logs")]
    assert len(names) > 4
    start = stream.clock.now_ns - 12 * 3600 * 10**9
    since, until = (utc_stamp(start + hours * 3600 * 10**9)[:19] + "Z" for hours in (4, 6))
    said, path = made(tmp_path / "logs", "--since", since, "--until", until)
    manifest = manifest_of(path)
    taken = {file.path for file in manifest.files}
    left = {each.file for each in manifest.omitted if each.reason == "outside the window"}

    assert 0 == said.code
    assert (taken | left, taken & left) == ({*names}, set())
    assert taken
    assert left
    for file in manifest.files:
        assert (file.last_ts >= since[:19], file.first_ts[:19] <= until) == (True, True)
    assert (since[:19], until[:19]) == (str(manifest.since)[:19], str(manifest.until)[:19])
    assert "segments left out: outside the window" in said.stdout

    nothing, path = made(tmp_path / "logs", "--until", "2020-01-01")
    assert (1, f"sqmon: {tmp_path / 'logs'}: no records in that window\n") == (nothing.code, nothing.stderr.splitlines(True)[-1])
    assert not path.exists()


def test_newest_segments_stay_when_room_is_short(tmp_path: Path) -> None:
    """A bundle is no larger than it may be; it has the newest segments, and names the others."""
    dice = random.Random(1)
    stream = Stream(tmp_path / "logs", SegmentOptions(max_bytes=60_000))
    for _ in range(20):
        stream.poll(5, text=f"select '{dice.getrandbits(40_000):x}'")
        stream.clock.advance(60)
    names = [f"show_locks/{each.name}" for each in segments(tmp_path / "logs")]
    _, path = made(tmp_path / "logs", "--sql", "full", "--max_mb", "0.12")
    taken = sorted(file.path for file in manifest_of(path).files)

    assert path.stat().st_size <= 0.12 * (1 << 20)
    assert (True, names[-len(taken) :]) == (1 < len(taken) < len(names), taken)
    assert names[: -len(taken)] == [each.file for each in manifest_of(path).omitted if "larger than 0.12 MiB" in each.reason]


def test_single_file_becomes_segments(tmp_path: Path) -> None:
    """The files of file-only mode are packed as segments, a metric and file each, with all their records in order."""
    stream = {metric: Stream(tmp_path / "logs", SegmentOptions(), metric=metric) for metric in ("show_locks", "show_cluster_nodes")}
    for part in range(3):
        for each in stream.values():
            each.poll(4)
            each.clock.advance(10)
        lines = sorted(line for path in segments(tmp_path / "logs") for line in path.read_bytes().splitlines(keepends=True))
        (tmp_path / ("records.jsonl" + ("" if part == 2 else f".{2 - part}"))).write_bytes(b"".join(lines[part * 8 : part * 8 + 8]))
    with (tmp_path / "records.jsonl.1").open("ab") as file:
        file.write(b"no record\n")
    path = tmp_path / "single.tar.zst"
    said = ended("bundle", "--log_file_path", str(tmp_path / "records.jsonl"), "--sql", "full", "-o", str(path), cwd=tmp_path)
    manifest, found = manifest_of(path), contents(path)
    taken = [file for file in manifest.files if file.kind == "segment"]

    assert 0 == said.code
    assert {"records.jsonl", "records.jsonl.1", "records.jsonl.2"} == {file.taken_from for file in taken}
    packed = sorted(line for file in taken for line in found[file.path].splitlines(keepends=True))
    assert sorted(lines) == packed
    assert [("records.jsonl.1", "lines that are no records")] == [
        (each.file, each.reason) for each in manifest.omitted if "record" in each.file
    ]
    assert [] == [each.name for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_live_service_is_packed(simulator: Simulator, tmp_path: Path) -> None:
    """A bundle can be made while the service runs, has its status, its metrics file and its gaps, and leaves the service alone."""
    log_dir = tmp_path / "logs"
    query = f"select 1 from t where p = '{SECRET}'"
    metrics = {"show_locks": 0.2, "mine": {"interval": 0.2, "query": query}}
    with service(simulator.port, log_dir, "--cluster", "prod", metrics=metrics) as run:
        run.wait_for_polls("show_locks")
        said, path = made(log_dir, SQMON_PASSWORD=SECRET)
        assert run.process.poll() is None
    found = contents(path)
    manifest = manifest_of(path)

    assert (0, "") == (said.code, said.stderr)
    assert (1, "prod", str(log_dir)) == (manifest.searched_for, manifest.cluster, manifest.log_dir)
    assert {"show_locks": 0.2, "mine": {"interval": 0.2, "query": masked(query)}} == json.loads(found["metrics_file.json"])
    assert json.loads(found["status.json"])["pid"] == run.pid
    assert SECRET.encode() not in b"".join(found.values())


@pytest.mark.parametrize("mode", ["full", "masked"])
def test_bundle_with_a_known_secret_is_not_written(tmp_path: Path, mode: str) -> None:
    """The finished archive is searched, also for what JSON escapes; the message says where the secret is and not what it is."""
    stream = Stream(tmp_path / "logs", SegmentOptions())
    strange = 'pa"ss\\wörd\u2028'
    stream.encoder.event("info", "note", {}, now_ns=stream.clock.time_ns())
    stream.poll(3, text="select 1")
    (path,) = segments(tmp_path / "logs")
    for text in (SECRET, strange):
        listed = tmp_path / "listed"
        listed.write_text(f"other text\n{text}\n", "utf-8")
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"sqream"', json.dumps(text).encode(), 1))
        said, bundle = made(tmp_path / "logs", "--sql", mode, "--search_for", str(listed))
        path.write_bytes(data)
        assert (1, False) == (said.code, bundle.exists())
        assert f"show_locks/{path.name} would contain text 2 of {listed}; no bundle was written" in said.stderr
        assert text not in said.stderr
    assert [] == [each.name for each in tmp_path.iterdir() if each.name.startswith(".")]


@pytest.mark.parametrize("text", ["plain-secret", 'q"uote', "back\\slash", "schlüssel-ß", "\U0001f511key-key", "short"])
def test_search_finds_every_form_across_pieces(text: str) -> None:
    """A secret is found as it is and as any JSON writes it, wherever the pieces are cut."""
    forms = [text.encode(), json.dumps(text).encode(), json.dumps(text, ensure_ascii=False).encode()]
    for form in forms:
        data = b"x" * 300 + b" " + form + b" " + b"y" * 300
        for cut in range(290, 320):
            search = Search([Secret("it", text)])
            assert "it" in (search.take(data[:cut]), search.take(data[cut:]))
    assert None is Search([Secret("it", "abc1")]).take(b"0123abc1234")


def test_thousand_secrets_do_not_leave(tmp_path: Path) -> None:
    """Of secrets in every column of SQL text, in errors, in other columns and in the metrics file, none is in a bundle but a full one."""
    dice = random.Random(7)
    secrets = [f"S{dice.getrandbits(64):016x}" for _ in range(1000)]
    forms = (
        "select '{}'",
        "select 1 where x = 'a''{}",
        "create user u with password '{}'",
        "select $${}$$ -- {}",
        "copy t with aws_secret '{}'",
    )
    log_dir = tmp_path / "logs"
    rows: list[dict[str, Any]] = []
    for number, secret in enumerate(secrets):
        text = forms[number % len(forms)].format(secret, secret)
        columns = [*sorted(NAMES), "statement_2", "error", "client_info"]
        column = columns[number % len(columns)]
        if column == "client_info":
            text = f"connect password='{secret}'"
        if column == "error":
            text = f"can't parse '{secret}' near \"x\""
        rows.append({"poll_rows": 1, column: text, "after": number})
    for metric in ("show_locks", "lifetimes"):
        (log_dir / metric).mkdir(parents=True)
        with (log_dir / metric / f"{metric}-20261124T120000.000000Z-000001.jsonl").open("w", encoding="utf-8") as file:
            for number, row in enumerate(rows, 1):
                head = {"ts": utc_stamp(1_795_521_600 * 10**9 + number), "seq": number, "metric": metric, "run_id": "r", "poll": 1}
                file.write(json.dumps({**head, **row}, separators=(",", ":"), ensure_ascii=number % 2 == 0) + "\n")
            file.write('{"ts":"2026-11-24T12:00:00.000002000Z","seq":1001,"statement":"select \'' + secrets[0])
    metrics = tmp_path / "metrics.json"
    metrics.write_text(
        json.dumps({"mine": {"interval": 1, "query": " or ".join(f"'{secret}'" for secret in ("select 1", *secrets))}}), "utf-8"
    )
    (log_dir / "status.json").write_text(json.dumps({"problems": [f"login failed: password '{secrets[5]}' is wrong"]}), "utf-8")
    for mode in ("masked", "none"):
        said, path = made(log_dir, "--sql", mode, "--metrics_file", str(metrics))
        everything = b"".join(contents(path).values())
        assert (0, []) == (said.code, [secret for secret in secrets if secret.encode() in everything])
        assert 2 * 1000 == sum(file.lines for file in manifest_of(path).files)
        assert {True} == {file.rewritten for file in manifest_of(path).files if file.kind == "segment"}
    _, path = made(log_dir, "--sql", "full")
    assert all(secret.encode() in b"".join(contents(path).values()) for secret in secrets)


def test_lines_without_sql_stay_as_they_are(tmp_path: Path) -> None:
    """Masking changes the texts alone, so that a segment without any keeps the SHA-256 of its seal."""
    stream = Stream(tmp_path / "logs", SegmentOptions(), metric="show_cluster_nodes")
    batches = stream.encoder.rows(("a", "b", "c"), [(1.50, "x\u00e4\\'\"", None)] * 3, poll=1, started_ns=stream.clock.time_ns())
    data = b"".join(batch.data for batch in batches)
    assert data == Masking("masked").lines(data)
    line = data.splitlines(keepends=True)[0].replace(b'"c":null', b'"statement":"select \\"a\\", 5","d":1e400')
    assert line.replace(b", 5", b", ?") == Masking("masked").lines(line)
    assert line.replace(b'"select \\"a\\", 5"', b"null") == Masking("none").lines(line)


def test_killed_run_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    """Whenever it is killed, there is no bundle; the next run makes one and removes what was left."""
    dice = random.Random(3)
    stream = Stream(tmp_path / "logs", SegmentOptions(max_bytes=1 << 20))
    for _ in range(150):
        stream.poll(200, text=f"select {dice.getrandbits(300)}")
    path = tmp_path / "site.tar.zst"
    partial = tmp_path / ".site.tar.zst.partial"
    words = command("bundle", "logs", "-o", path.name)
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_until(partial.exists)
        os.kill(process.pid, signal.SIGKILL)
    assert not path.exists()
    assert 0 == ended("bundle", "logs", "-o", path.name, cwd=tmp_path).code
    assert {"logs", path.name} == {each.name for each in tmp_path.iterdir()}
    again = ended("bundle", "logs", "-o", path.name, cwd=tmp_path)
    assert (1, True) == (again.code, "is there already; give another name with -o" in again.stderr)
