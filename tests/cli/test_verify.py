"""`sqmon verify`, on the files of the real program."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from sqmon.clock import stamp_ns
from sqmon.simulator import Simulator
from sqmon.storage.proof_file import Proof, ProofFile
from tests.support.loki_schedules import segment
from tests.support.loki_stand_in import LokiStandIn, serving
from tests.support.program import command, ended, environment, service, wait_until
from tests.support.segment_files import segments

QUICK = {"show_locks": 0.2, "show_cluster_nodes": 0.2}


def test_files_of_a_service_are_proved_until_somebody_touches_them(simulator: Simulator, tmp_path: Path) -> None:
    """The files are proved while the service runs, after a kill and after a stop; an altered one is named with its seq."""
    log_dir = tmp_path / "logs"
    for number in (signal.SIGKILL, signal.SIGTERM):
        with service(simulator.port, log_dir, metrics=QUICK) as run:
            run.wait_for_polls(*QUICK)
            if number == signal.SIGTERM:
                run.wait_for("segment_sealed", file=f"show_locks/{min((log_dir / 'show_locks').iterdir()).name}")
            assert 0 == ended("verify", "--log_dir", str(log_dir), cwd=tmp_path).code
            os.kill(run.pid, number)
            run.process.wait()
        proved = ended("verify", str(log_dir), cwd=tmp_path)
        assert (0, "", True) == (proved.code, proved.stderr, proved.stdout.startswith("PROVED: "))
    first = min((log_dir / "show_locks").iterdir())
    first.write_bytes(first.read_bytes().replace(b'"seq":2,', b'"seq":3,', 1))

    found = ended("verify", str(log_dir), cwd=tmp_path)
    told = json.loads(ended("verify", str(log_dir), "--json", cwd=tmp_path).stdout)

    assert (1, "") == (found.code, found.stderr)
    assert found.stdout.startswith("NOT PROVED: ")
    assert f"  show_locks/{first.name}, seq 1-" in found.stdout
    assert not told["proved"]
    assert {"lifetimes", "show_cluster_nodes", "show_locks", "sqmon"} == {stream["stream"] for stream in told["streams"]}
    assert {f"show_locks/{first.name}"} == {problem["file"] for problem in told["problems"]}
    assert "altered" in {problem["kind"] for problem in told["problems"]}


def test_directory_without_segments_is_an_error_in_one_line(tmp_path: Path) -> None:
    """A directory without segments is not proved, in one line."""
    assert (1, "", f"sqmon: {tmp_path}: no segments here; give the --log_dir of a service\n") == ended(
        "verify", str(tmp_path), cwd=tmp_path
    )


@pytest.fixture
def delivered(simulator: Simulator, tmp_path: Path) -> LokiStandIn:
    """Return a Loki that has every line of a service that has run in tmp_path/logs."""
    log_dir, loki = tmp_path / "logs", LokiStandIn()
    with service(simulator.port, log_dir, metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        run.end()
    for each in map(segment, segments(log_dir)):
        for ts, line in zip(each.times, each.lines):
            loki.put({"job": "sqmon", "cluster": "prod", "filename": f"/elsewhere/{each.file}"}, ts, line)
    return loki


def test_lines_are_proved_to_be_in_loki(delivered: LokiStandIn, tmp_path: Path) -> None:
    """What Loki has is proved by four queries; a line that it lacks is named with its hop, for people and for programs."""
    log_dir = tmp_path / "logs"
    delivered.required = {"Authorization": "Bearer t0ken"}
    with serving(delivered) as url:
        words = ("verify", str(log_dir), "--loki_url", url, "--lag", "0", "--selector", '{job="sqmon",cluster="prod"}')
        whole = ended(*words, cwd=tmp_path, SQMON_LOKI_TOKEN="t0ken")
        entries = delivered.streams[next(labels for labels in delivered.streams if "show_locks" in dict(labels)["filename"])]
        del entries[1]
        found = ended(*words, cwd=tmp_path, SQMON_LOKI_TOKEN="t0ken")
        told = json.loads(ended(*words, "--json", cwd=tmp_path, SQMON_LOKI_TOKEN="t0ken").stdout)
        refused = ended(*words, cwd=tmp_path, SQMON_LOKI_TOKEN="s3cret")

    assert (0, "") == (whole.code, whole.stderr)
    assert "PROVED in Loki: 4 segments (4 ok), " in whole.stdout
    assert " lines; 4 queries to " in whole.stdout
    assert (1, "") == (found.code, found.stderr)
    assert "NOT PROVED in Loki: 4 segments (3 ok, 1 missing), " in found.stdout
    assert ": not in Loki (missing, written -> loki)" in found.stdout
    (finding,) = [finding for each in told["loki"]["segments"] for finding in each["findings"]]
    assert ("missing", 2, 2, "written -> loki", True) == tuple(finding[name] for name in ("kind", "first_seq", "last_seq", "hop", "fails"))
    assert (False, False) == (told["proved"], told["loki"]["proved"])
    assert 1 == refused.code
    assert "s3cret" not in refused.stdout + refused.stderr


def proof_of(tmp_path: Path) -> Proof:
    """Return what a watch has left for the service."""
    found = ProofFile(tmp_path / "logs").read()
    assert found is not None
    return found


def test_watch_tells_what_changes(delivered: LokiStandIn, tmp_path: Path) -> None:
    """A line that is lost, Loki that goes away, and both coming back are told as they happen; SIGTERM ends it with the last verdict."""
    entries = delivered.streams[next(labels for labels in delivered.streams if "show_locks" in dict(labels)["filename"])]
    lost = entries.pop(1)
    output = tmp_path / "output"
    with serving(delivered) as url, output.open("wb") as sink:
        words = command("verify", str(tmp_path / "logs"), "--loki_url", url, "--lag", "0", "--watch", "1", "--json")
        with subprocess.Popen(words, stdout=sink, stderr=sink, env=environment(), cwd=tmp_path) as process:

            def told() -> list[tuple[str, str]]:
                lines = output.read_text("utf-8").splitlines()
                return [(change["was"], change["verdict"]) for change in map(json.loads, lines)]

            try:
                wait_until(lambda: told() == [("", "not proved"), ("ok", "missing")])
                delivered.required = {"X-Scope-OrgID": "team"}
                wait_until(lambda: told()[2:] == [("not proved", "unknown")])
                delivered.required = {}
                entries.insert(1, lost)
                unproved = proof_of(tmp_path)
                wait_until(lambda: told()[3:] == [("unknown", "proved"), ("missing", "ok")])
                wait_until(lambda: proof_of(tmp_path).proved)
                process.terminate()
                assert 0 == process.wait(10)
            finally:
                process.kill()
    proved = proof_of(tmp_path)
    sealed = {file: sha256 for file, sha256 in proved.segments.items() if file.startswith("show_locks/")}

    assert (False, 1, True) == (unproved.proved, unproved.unproved_lines, unproved.problem.endswith(".jsonl is missing in Loki"))
    assert (True, 0, "", True) == (proved.proved, proved.unproved_lines, proved.problem, proved.ended)
    assert {
        f"show_locks/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "logs" / "show_locks").iterdir()
    } == sealed
    newest = max(json.loads(path.read_bytes().splitlines()[-1])["ts"] for path in segments(tmp_path / "logs"))
    assert stamp_ns(newest) == proved.up_to_ns


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--deep", "8/7", "--loki_url", "http://x"), "'8/7' is not a share as in 1/7"),
        (("--since", "soon", "--loki_url", "http://x"), "'soon' is not a time"),
        (("--since", "03:12"), "--since: says what to ask Loki for; give its URL with --loki_url"),
        (("--loki_url", "loki:3100"), "'loki:3100' is not a URL as in http://localhost:3100"),
        (("--loki_url", "http://x", "--selector", "job"), "'job' is not a stream selector"),
        (("--loki_url", "http://x", "--loki_ca_file", "ca.pem"), "--loki_ca_file: is for https"),
        (("--loki_url", "https://x", "--loki_token_file", "none"), "--loki_token_file none: can't be read: no such file or directory"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """One line says what is wrong, before anything is asked."""
    stream = tmp_path / "show_locks"
    stream.mkdir()
    line = '{"ts":"2026-11-24T15:30:50.123456000Z","seq":1,"metric":"show_locks","run_id":"r"}\n'
    (stream / "show_locks-20261124T153050.123456Z-000001.jsonl").write_text(line, "utf-8")
    end = ended("verify", str(tmp_path), *words, cwd=tmp_path)

    assert end.code in (1, 2)
    assert said in end.stderr
    assert 1 == end.stderr.count("\n")
