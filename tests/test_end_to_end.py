"""The real program against the simulator, with real processes and real signals."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.server
import json
import os
import signal
import stat
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Iterator

import pytest

from sqmon.config import catalogue
from sqmon.records.sql_columns import HASH
from sqmon.records.sql_text import statement_hash
from sqmon.simulator import Simulator, other_functions
from sqmon.simulator.columns import Column
from sqmon.simulator.generations import GENERATIONS
from tests.support.program import Service, ended, metrics_file, seconds_between, service, wait_until
from tests.support.segment_files import METADATA

QUICK = {"show_locks": 0.2, "get_license_info": 0.2, "show_cluster_nodes": 0.2}
GONE_SECONDS = 2.0

LOCK_COLUMNS = (
    Column("Statement Id", "text"),
    Column("statement_string", "text"),
    Column("username", "varchar(12)"),
    Column("seq", "int"),
    Column("is_statement_active", "tinyint", nullable=False),
)
ANSWERS: dict[str, tuple[tuple[Column, ...], list[tuple[Any, ...]], list[dict[str, Any]]]] = {
    "show_locks": (
        LOCK_COLUMNS,
        [
            ("2", 'create or replace table "t"\n(x int);\r\t\\', "sqream", 7, 1),
            ("3", "sélect '日本語 \u2028 🦆'", "etl", None, 0),
            (None, "", None, -1, 1),
        ],
        [
            {
                "statement_id": "2",
                "statement_string": 'create or replace table "t"\n(x int);\r\t\\',
                "username": "sqream",
                "seq_2": 7,
                "is_statement_active": 1,
            },
            {
                "statement_id": "3",
                "statement_string": "sélect '日本語 \u2028 🦆'",
                "username": "etl",
                "seq_2": None,
                "is_statement_active": 0,
            },
            {"statement_id": None, "statement_string": "", "username": None, "seq_2": -1, "is_statement_active": 1},
        ],
    ),
    "show_server_status": (
        (Column("service", "text"), Column("instanceid", "int"), Column("started", "datetime"), Column("day", "date")),
        [
            ("sqream", 1, dt.datetime(2025, 7, 14, 9, 30, 15, 123000), dt.date(2024, 2, 29)),  # noqa: DTZ001 - the server knows no zones
            ("sqream", 2, None, None),
        ],
        [
            {"service": "sqream", "instanceid": 1, "started": "2025-07-14T09:30:15.123000", "day": "2024-02-29"},
            {"service": "sqream", "instanceid": 2, "started": None, "day": None},
        ],
    ),
    "get_leveldb_stats": (
        (Column("msg", "text"), Column("average", "double"), Column("max", "bigint"), Column("variance", "numeric(38,4)")),
        [("PUT", 0.25, 2**53 + 1, Decimal("-0.0001")), ("GET", float("nan"), 2**53, Decimal("12.5")), ("DEL", float("inf"), None, None)],
        [
            {"msg": "PUT", "average": 0.25, "max": "9007199254740993", "variance": "-0.0001"},
            {"msg": "GET", "average": None, "max": 9007199254740992, "variance": "12.5000"},
            {"msg": "DEL", "average": None, "max": None, "variance": None},
        ],
    ),
    "show_cluster_nodes": (
        (Column("server ip", "text"), Column("SERVER-PORT", "smallint"), Column("last_heartbeat", "real"), Column("up", "bool")),
        [("10.0.0.1", 5000, 1.5, True), ("10.0.0.2", None, None, False)],
        [
            {"server_ip": "10.0.0.1", "server_port": 5000, "last_heartbeat": 1.5, "up": True},
            {"server_ip": "10.0.0.2", "server_port": None, "last_heartbeat": None, "up": False},
        ],
    ),
    "get_license_info": (
        (Column("cluster_size_limit", "bigint"), Column("cluster_size_limit", "text"), Column("é", "int")),
        [(50, "GB", 1)],
        [{"cluster_size_limit": 50, "cluster_size_limit_2": "GB", "_": 1}],
    ),
    "get_open_snapshots": ((Column("snapshot_id", "int"),), [], []),
}


@dataclass(frozen=True)
class Run:
    """The files of a service that polled all of ANSWERS and was then stopped with SIGTERM."""

    log_dir: Path
    code: int
    events: list[dict[str, Any]]
    lines: dict[str, list[bytes]]
    """Of each stream, in order."""
    links: dict[str, Path]
    """Where `current` pointed while it ran."""
    newest: dict[str, Path]

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Return the records of the stream."""
        return [json.loads(line) for line in self.lines[stream]]

    def polls(self, metric: str) -> list[dict[str, Any]]:
        """Return the metric's polls that were completed."""
        return [event for event in self.events if event["event"] == "poll" and event["target"] == metric and event["status"] != "skipped"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run for the tests that only look at what it wrote."""
    log_dir = tmp_path_factory.mktemp("run") / "logs"
    with Simulator() as simulator:
        for function, (columns, rows, _) in ANSWERS.items():
            simulator.set_result(function, columns, rows)
        with service(simulator.port, log_dir, metrics=dict.fromkeys(ANSWERS, 0.2)) as running:
            running.wait_for_polls(*ANSWERS, count=3, after=0)
            links = {link.name: link.resolve() for link in (log_dir / "current").iterdir()}
            newest = {stream: running.segments(stream)[-1] for stream in links}
            code = running.end()
            streams = [path.name for path in log_dir.iterdir() if path.is_dir() and path.name != "current"]
            lines = {
                name: [line for path in running.segments(name) for line in path.read_bytes().splitlines(keepends=True)] for name in streams
            }
            return Run(log_dir, code, running.events(), lines, links, newest)


@pytest.mark.parametrize("metric", catalogue.DEFAULT_METRICS)
def test_each_metric_arrives_with_the_right_values(run: Run, metric: str) -> None:
    """Every poll writes every row: the metadata, then the columns in order, each value with its type."""
    expected = ANSWERS[metric][2]
    records = run.records(metric)
    polls = run.polls(metric)

    assert len(records) == len(expected) * len(polls) > 0
    for number, record in enumerate(records):
        row = dict(expected[number % len(expected)])
        if "statement_string" in row:
            text = row["statement_string"]
            row[HASH] = None if text is None else statement_hash(text)
        assert [*METADATA, *row] == [*record]
        assert row == {name: record[name] for name in row}
        assert (metric, number // len(expected) + 1, len(expected)) == (record["metric"], record["poll"], record["poll_rows"])


def test_zero_rows_write_nothing_but_their_poll(run: Run) -> None:
    """A metric without rows has no file, but its polls are in the events."""
    polls = run.polls("get_open_snapshots")

    assert "get_open_snapshots" not in run.lines
    assert len(polls) >= 3
    assert {("empty", 0, None, None)} == {(poll["status"], poll["rows"], poll["first_seq"], poll["last_seq"]) for poll in polls}
    assert all(poll["began"] < poll["ts"] for poll in polls)


def test_seq_has_no_hole_and_time_only_goes_forward(run: Run) -> None:
    """In every stream each line begins with ts and seq, ts increases, and no seq is missing or doubled."""
    assert {*catalogue.DEFAULT_METRICS, "lifetimes", "sqmon"} == set(run.lines)
    for stream, lines in run.lines.items():
        records = run.records(stream)
        stamps = [record["ts"] for record in records]

        assert [*range(1, len(records) + 1)] == [record["seq"] for record in records]
        assert len({record["run_id"] for record in records}) == 1
        assert sorted(set(stamps)) == stamps
        assert all(line.startswith(b'{"ts":"2') and line.endswith(b"}\n") for line in lines)


def test_every_record_belongs_to_a_poll_that_was_reported(run: Run) -> None:
    """The ranges first_seq to last_seq of the polls are exactly the lines in the files, and the first line has the poll's beginning."""
    for metric in catalogue.DEFAULT_METRICS:
        polls = run.polls(metric)
        reported = [seq for poll in polls for seq in range(poll["first_seq"], poll["last_seq"] + 1)]

        assert [record["seq"] for record in run.records(metric)] == reported
        assert {record["seq"]: record["ts"] for record in run.records(metric)}.items() >= {
            poll["first_seq"]: poll["began"] for poll in polls
        }.items()
        assert [*range(1, len(polls) + 1)] == [poll["poll"] for poll in polls]
        assert {run.records(metric)[0]["run_id"]} == {poll["target_run_id"] for poll in polls}


def test_start_and_stop_frame_the_stream(run: Run) -> None:
    """The four checks follow `start`, and nothing follows `stop`."""
    names = [event["event"] for event in run.events]
    checks = [event["check"] for event in run.events if event["event"] == "check"]

    assert (names[0], names[-1], run.events[-1]["reason"]) == ("start", "stop", "SIGTERM")
    assert checks == ["check_customer_metrics", "check_sqream_connection", "check_sqream_on_cpu", "check_loki_connection"]
    assert all(name in run.events[0] for name in ("version", "pid", "host", "port", "service", "log", "metrics"))
    assert sorted([*ANSWERS, "lifetimes"]) == sorted(event["target"] for event in run.events if event["event"] == "worker_start")
    assert {"stopped"} == {event["kind"] for event in run.events if event["event"] == "worker_exit"}


def test_sigterm_ends_cleanly_with_sealed_segments(run: Run) -> None:
    """After SIGTERM the exit code is 0, and every segment of a metric has a seal that is true."""
    assert run.code == 0
    assert_sealed(run.log_dir, run.events)


def test_current_points_to_the_active_segment(run: Run) -> None:
    """While the service runs, each stream has a link to the segment that is being written."""
    assert run.newest == run.links
    assert {*catalogue.DEFAULT_METRICS, "lifetimes", "sqmon"} == set(run.links)


def test_others_can_read_nothing(run: Run) -> None:
    """Directories have mode 0750 and files 0640."""
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in [run.log_dir, *run.log_dir.rglob("*")] if not path.is_symlink()}

    assert {(True, 0o750), (False, 0o640)} == modes


def assert_sealed(log_dir: Path, events: list[dict[str, Any]]) -> None:
    """Assert that every segment of a metric has one seal, with the right hash, size, lines and seq."""
    seals = {event["file"]: event for event in events if event["event"] == "segment_sealed"}
    files = {str(path.relative_to(log_dir)): path.read_bytes() for path in log_dir.glob("*/*.jsonl") if path.parent.name != "sqmon"}

    assert files
    assert set(files) <= set(seals)
    for name, content in files.items():
        seqs = [json.loads(line)["seq"] for line in content.splitlines()]
        seal = seals[name]
        assert (hashlib.sha256(content).hexdigest(), len(content), len(seqs)) == (seal["sha256"], seal["bytes"], seal["lines"])
        assert (seqs[0], seqs[-1]) == (seal["first_seq"], seal["last_seq"])


def assert_whole(running: Service, metric: str) -> None:
    """Assert that the records of every run of the metric are those that its polls reported, without a hole."""
    runs: dict[str, list[int]] = {}
    for poll in running.events("poll", target=metric, status="ok"):
        runs.setdefault(poll["target_run_id"], []).extend(range(poll["first_seq"], poll["last_seq"] + 1))
    for run_id, reported in runs.items():
        written = [record["seq"] for record in running.records(metric) if record["run_id"] == run_id]
        assert [*range(1, len(reported) + 1)] == reported
        # A worker that is killed may have written lines of which it could tell nobody any more.
        assert written[: len(reported)] == reported


@pytest.mark.parametrize("version", GENERATIONS)
def test_every_generation_of_columns_arrives(tmp_path: Path, version: str) -> None:
    """Every metric that returns rows has the columns of the catalogue, under this version's names, followed by the computed ones."""
    metrics = [name for name in catalogue.DEFAULT_METRICS if version in other_functions.FUNCTIONS[name].columns]
    with (
        Simulator(version=version, rows_locks=2) as simulator,
        service(simulator.port, tmp_path / "logs", metrics=dict.fromkeys(metrics, 0.3)) as running,
    ):
        for metric in metrics:
            function = catalogue.FUNCTIONS[metric]
            (record, *_) = wait_until(lambda metric=metric: running.records(metric))  # type: ignore[misc]
            names = [function.aliases.get(name, name) for name in record if name != HASH][len(METADATA) :]
            columns = [*function.columns][: len(names) - len(function.computed)]

            assert names == [*columns, *function.computed]
            assert None not in [record[name] for name in function.computed]
            assert columns == [*function.columns] or version not in ("4.7", "4.10")
        running.wait_for_polls(*metrics, count=2)
        lacking = [(event["level"], event["target"], event["columns"]) for event in running.events("columns_missing")]
        assert lacking == ([] if version in ("4.7", "4.10") else [("warning", "show_locks", "is_statement_active")])
        assert running.end() == 0


def test_ctrl_c_ends_cleanly_with_sealed_segments(simulator: Simulator, tmp_path: Path) -> None:
    """When a terminal sends SIGINT to the whole process group, only the supervisor reacts, and it ends as after SIGTERM."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)

        assert running.end(signal.SIGINT, group=True) == 0
        assert [event["kind"] for event in running.events("worker_exit")] == ["stopped"] * (len(QUICK) + 1)
        assert running.events("stop")[0]["reason"] == "SIGINT"
        assert_sealed(running.log_dir, running.events())
        for metric in QUICK:
            assert_whole(running, metric)


def test_ctrl_c_ends_the_startup_checks(tmp_path: Path) -> None:
    """Ctrl-C ends the wait for a database that can't be reached."""
    with Simulator() as simulator:
        simulator.set_fault(step="connect", action="refuse")
        with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
            running.wait_for("check", verdict="retry")

            assert running.end(signal.SIGINT, group=True) == 0
            assert [event["event"] for event in running.events()][-1] == "stop"


def test_killed_worker_is_back_while_the_others_miss_nothing(simulator: Simulator, tmp_path: Path) -> None:
    """Within two seconds a killed worker has a successor with a new segment, and no other metric has skipped a tick."""
    with service(simulator.port, tmp_path / "logs", metrics=dict.fromkeys(QUICK, 0.5)) as running:
        running.wait_for_polls(*QUICK)
        others = {metric: running.worker(metric) for metric in QUICK if metric != "show_locks"}
        os.kill(running.worker("show_locks"), signal.SIGKILL)
        gone = running.wait_for("worker_exit", target="show_locks")
        back = running.wait_for("worker_start", target="show_locks", after=gone["seq"])
        running.wait_for_polls(*QUICK, after=back["seq"])

        assert (gone["signal"], gone["kind"]) == (9, "died")
        assert "SIGKILL" in gone["reason"]
        assert seconds_between(gone, back) < GONE_SECONDS
        assert others == {metric: running.worker(metric) for metric in others}
        assert [event for metric in others for event in running.events("poll", target=metric, status="skipped")] == []
        assert running.end() == 0
        assert {1, 2} == {len({record["run_id"] for record in running.records(metric)}) for metric in QUICK}
        for metric in QUICK:
            assert_whole(running, metric)


@pytest.mark.parametrize("hung", [False, True])
def test_workers_of_a_killed_supervisor_are_gone(simulator: Simulator, tmp_path: Path, *, hung: bool) -> None:
    """Two seconds after the supervisor was killed no process is left, even if a worker was blocked in a read."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)
        if hung:
            hang(simulator)
        os.kill(running.pid, signal.SIGKILL)
        wait_until(running.fell_silent, GONE_SECONDS)


def hang(simulator: Simulator, metric: str = "get_license_info") -> None:
    """Return once the metric's worker is waiting for a row that does not come."""
    simulator.set_fault(metric, "fetch", "hang")

    def waits() -> bool:
        stats = simulator.stats()
        # While the fault is in force, a client that was promised a row does not get it.
        return bool(stats["statements"].get(metric, 0) > stats["rows_served"].get(metric, 0))

    wait_until(waits)


def test_sigterm_ends_a_service_with_a_hung_worker(simulator: Simulator, tmp_path: Path) -> None:
    """SIGTERM ends the service in time with exit code 0, and what was written before is sealed."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)
        hang(simulator)

        assert running.end() == 0
        assert running.events()[-1]["event"] == "stop"
        assert_sealed(running.log_dir, running.events())


def test_second_service_on_the_same_directory_is_refused(simulator: Simulator, tmp_path: Path) -> None:
    """A second service is told which process uses the directory, and the first one is not disturbed."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
        running.wait_for_polls("show_locks")
        words = ("--host", "127.0.0.1", "--port", str(simulator.port), "--log_dir", str(running.log_dir))
        second = ended("run", *words, cwd=tmp_path)

        assert (second.code, second.stdout) == (1, "")
        assert (
            second.stderr
            == f"sqmon: {running.log_dir}: sqmon is already running here (pid {running.pid}); stop it or give another --log_dir\n"
        )
        running.wait_for_polls(*QUICK)
        assert len(running.events("start")) == 1


def test_directory_of_a_killed_service_can_be_used_again(simulator: Simulator, tmp_path: Path) -> None:
    """A killed service leaves no lock behind, and the next one appends to none of its files."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as first:
        first.wait_for_polls(*QUICK)
        os.kill(first.pid, signal.SIGKILL)
        wait_until(first.fell_silent, GONE_SECONDS)
    before = {path: path.read_bytes() for path in first.log_dir.glob("*/*.jsonl")}
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as second:
        second.wait_for_polls(*QUICK)

        assert second.end() == 0
        assert before == {path: path.read_bytes() for path in before}


def test_hung_metric_is_given_up_and_comes_back(simulator: Simulator, tmp_path: Path) -> None:
    """A poll that hangs ends with a timeout at its deadline, the others continue, and a gap tells afterwards what was missed."""
    metrics = {**QUICK, "get_license_info": {"interval": 0.2, "timeout": 1}}
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as running:
        running.wait_for_polls(*QUICK)
        simulator.set_fault("get_license_info", "fetch", "hang")
        late = running.wait_for("poll", target="get_license_info", status="timeout")
        running.wait_for_polls("show_locks", "show_cluster_nodes")
        exit_ = running.wait_for("worker_exit", target="get_license_info", kind="timeout")
        simulator.clear_faults()
        running.wait_for_polls("get_license_info", after=exit_["seq"])
        gap = running.wait_for("gap", target="get_license_info")

        assert late["error"].startswith(f"127.0.0.1:{simulator.port}: no answer within ")
        assert late["duration_ms"] >= 1000
        assert gap["since"] < gap["until"]
        assert gap["reason"] == exit_["reason"]
        assert running.events("worker_exit", target="show_locks") == []
        assert running.end() == 0


def test_frozen_worker_is_killed_by_the_supervisor(simulator: Simulator, tmp_path: Path) -> None:
    """A worker that doesn't even notice its own deadline is killed a few seconds later, and restarted."""
    metrics = {**QUICK, "get_license_info": {"interval": 0.2, "timeout": 0.5}}
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as running:
        running.wait_for_polls(*QUICK)
        os.kill(running.worker("get_license_info"), signal.SIGSTOP)
        killed = running.wait_for("worker_exit", target="get_license_info", kind="hung")
        running.wait_for_polls("get_license_info", after=killed["seq"])

        assert killed["reason"].startswith("hung for ")
        assert running.events("worker_exit", target="show_locks") == []
        assert running.end() == 0


def test_slow_metric_skips_ticks_and_says_so(simulator: Simulator, tmp_path: Path) -> None:
    """Missed ticks are counted, and never caught up."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
        simulator.set_fault("get_license_info", "execute", "slow", seconds=0.7, times=1)
        skipped = running.wait_for("poll", target="get_license_info", status="skipped")
        running.wait_for_polls("get_license_info", after=skipped["seq"])

        assert skipped["skipped"] >= 2
        assert running.end() == 0
        assert_whole(running, "get_license_info")


def test_database_gone_and_back(simulator: Simulator, tmp_path: Path) -> None:
    """While the database is down one worker at a time tries to log in; then all poll again, and one gap each tells what was missed."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)
        gone = running.latest()
        simulator.stop_worker()
        for metric in QUICK:
            running.wait_for("worker_exit", target=metric, after=gone)
        running.wait_for("worker_exit", kind="connection", restart_in_s=None)
        back = running.latest()
        simulator.start_worker()
        running.wait_for_polls(*QUICK, after=back)
        gaps = [running.wait_for("gap", target=metric) for metric in QUICK]

        assert running.end() == 0
        assert len(QUICK) == len(running.events("gap"))
        assert all(gap["since"] <= gap["until"] and gap["reason"] for gap in gaps)
        for metric in QUICK:
            assert_whole(running, metric)


def test_changed_password_costs_one_login_and_pauses_the_rest(simulator: Simulator, tmp_path: Path) -> None:
    """All metrics together try a wrong password once, and continue when the file has the new one."""
    password = tmp_path / "password"
    password.write_text("sqream\n", "utf-8")
    with service(simulator.port, tmp_path / "logs", "--password_file", str(password), metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)
        simulator.set_password("another")
        simulator.stop_worker()
        simulator.start_worker()
        paused = running.wait_for("login_paused")
        for metric in QUICK:
            running.wait_for("worker_exit", target=metric)

        assert simulator.stats()["failed_logins"] == 1
        assert "wrong password for role 'sqream'" in paused["reason"]
        assert paused["until"] > paused["ts"]

        password.write_text("another\n", "utf-8")
        running.wait_for_polls(*QUICK, after=paused["seq"])

        assert simulator.stats()["failed_logins"] == 1
        assert len(running.events("login_paused")) == 1
        assert running.end() == 0


@pytest.mark.parametrize(
    ("options", "listener"),
    [(("--clustered",), "picker"), (("--use_ssl",), "tls"), (("--clustered", "--use_ssl"), "picker_tls"), ((), "worker")],
)
def test_every_way_to_a_worker(tmp_path: Path, options: tuple[str, ...], listener: str) -> None:
    """Polling works through the picker, TLS, both, and a server that moves each statement to another worker, also after an outage."""
    with Simulator(picker_port=0, tls_port=0, picker_tls_port=0, reconnect=listener == "worker", rows_locks=2) as simulator:
        port = simulator.addresses[listener][1]
        with service(port, tmp_path / "logs", *options, metrics=QUICK) as running:
            running.wait_for_polls(*QUICK)
            # The picker keeps handing out the worker that is gone.
            simulator.stop_worker()
            lost = running.wait_for("worker_exit")
            simulator.start_worker()
            running.wait_for_polls(*QUICK, after=lost["seq"])

            assert running.end() == 0
            for metric in QUICK:
                assert_whole(running, metric)


def test_reset_with_consent_is_an_event_and_never_a_record(simulator: Simulator, tmp_path: Path) -> None:
    """The statistics are reset, and the server's answer is an event."""
    metrics = {"reset_leveldb_stats": {"interval": 0.3, "allow_state_change": True}, "show_locks": 0.3}
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as running:
        told = running.wait_for("state_change", target="reset_leveldb_stats")
        running.wait_for_polls("show_locks")

        assert simulator.stats()["statements"]["reset_leveldb_stats"] >= 1
        assert told["query"] == "select reset_leveldb_stats();"
        assert running.end() == 0
        assert not (running.log_dir / "reset_leveldb_stats").exists()


def test_reset_runs_once_in_its_interval(simulator: Simulator, tmp_path: Path) -> None:
    """Neither the death of its worker nor a restart of the service is a reason to reset again; the end of its interval is."""
    entry = {"interval": 3600, "allow_state_change": True}
    metrics = {"reset_leveldb_stats": entry, "show_locks": 0.2}
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as running:
        running.wait_for("state_change", target="reset_leveldb_stats")
        os.kill(running.worker("reset_leveldb_stats"), signal.SIGKILL)
        running.wait_for("worker_exit", target="reset_leveldb_stats")
        running.wait_for_polls("show_locks", count=10)
        assert running.end() == 0
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as running:
        running.wait_for_polls("show_locks", count=5)
        assert simulator.stats()["statements"]["reset_leveldb_stats"] == 1

        metrics_file(tmp_path, {**metrics, "reset_leveldb_stats": {**entry, "interval": 0.5}})

        running.wait_for("state_change", target="reset_leveldb_stats")
        assert running.end() == 0


def test_custom_query_is_polled_under_its_own_name(simulator: Simulator, tmp_path: Path) -> None:
    """A query of one's own gives records like any other metric."""
    metrics = {"chunk_size": {"interval": 0.2, "query": "select get_total_chunks_size('GB');"}}
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as running:
        running.wait_for_polls("chunk_size")

        assert running.end() == 0
        assert {("chunk_size", *catalogue.FUNCTIONS["get_total_chunks_size"].columns)} == {
            (record["metric"], *list(record)[len(METADATA) :]) for record in running.records("chunk_size")
        }
        assert_whole(running, "chunk_size")


def test_rotation_loses_nothing(simulator: Simulator, tmp_path: Path) -> None:
    """Many small segments hold the lines that one large segment would, and each is sealed."""
    simulator.set_rows({"show_locks": 10})
    with service(simulator.port, tmp_path / "logs", "--segment_mb", "0.01", metrics={"show_locks": 0.1}) as running:
        wait_until(lambda: len(running.segments("show_locks")) >= 5)

        assert running.end() == 0
        records = running.records("show_locks")
        assert [*range(1, len(records) + 1)] == [record["seq"] for record in records]
        assert sum(poll["rows"] for poll in running.events("poll", status="ok")) == len(records)
        assert_sealed(running.log_dir, running.events())


class Ready(http.server.BaseHTTPRequestHandler):
    """A Loki that is ready and remembers what it was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        """Answer 200."""
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def loki() -> Iterator[tuple[int, list[str]]]:
    """Return the port of a Loki and the list of the paths that are asked of it."""
    asked: list[str] = []
    handler = type("Handler", (Ready,), {"asked": asked})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


def test_loki_is_asked_once_whether_it_is_ready(simulator: Simulator, tmp_path: Path, loki: tuple[int, list[str]]) -> None:
    """The service asks Loki once whether it is ready, and never writes to it."""
    port, asked = loki
    with service(simulator.port, tmp_path / "logs", "--loki_port", str(port), metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)

        assert running.events("check", check="check_loki_connection")[0]["verdict"] == "passed"
        assert running.end() == 0
        assert asked == ["/ready"]


def test_absent_loki_is_a_warning(simulator: Simulator, tmp_path: Path) -> None:
    """Polling begins without Loki, since the files are the buffer."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)
        (check,) = running.events("check", check="check_loki_connection")

        assert (check["level"], check["verdict"]) == ("warning", "warning")
        assert running.end() == 0


def test_file_only_mode_writes_segments_and_asks_no_loki(simulator: Simulator, tmp_path: Path, loki: tuple[int, list[str]]) -> None:
    """A --log_file_path that ends in / is a directory of segments, and no Loki is asked."""
    port, asked = loki
    log_dir = tmp_path / "logs"
    with service(simulator.port, log_dir, "--log_file_path", f"{log_dir}/", "--loki_port", str(port), metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)

        assert running.events("check", check="check_loki_connection") == []
        assert running.end() == 0
        assert asked == []
        assert_sealed(log_dir, running.events())


def test_one_file_holds_the_lines_of_all(simulator: Simulator, tmp_path: Path, loki: tuple[int, list[str]]) -> None:
    """A --log_file_path that is a file receives whole lines of every metric and of the service, through rotation."""
    port, asked = loki
    path = tmp_path / "all.jsonl"

    def lines() -> list[dict[str, Any]]:
        numbered = sorted(tmp_path.glob("all.jsonl.[0-9]*"), key=lambda file: -int(file.suffix[1:]))
        return [json.loads(line) for file in [*numbered, path] if file.exists() for line in file.read_bytes().splitlines()]

    options = ("--log_file_path", str(path), "--segment_mb", "0.02", "--file_backups", "99", "--loki_port", str(port))
    with service(simulator.port, tmp_path / "logs", *options, metrics=QUICK) as running:
        wait_until((tmp_path / "all.jsonl.3").exists)

        assert running.end() == 0
        streams = {name: [line for line in lines() if line["metric"] == name] for name in (*QUICK, "sqmon")}
        assert len(lines()) == sum(map(len, streams.values()))
        for stream in streams.values():
            assert [*range(1, len(stream) + 1)] == [line["seq"] for line in stream]
        assert sum(map(len, streams.values())) - len(streams["sqmon"]) == sum(line.get("rows") or 0 for line in streams["sqmon"])
        assert streams["sqmon"][-1]["event"] == "stop"
        assert asked == []
        assert not (tmp_path / "logs").exists()


def test_service_without_instances_is_knocked_at_until_it_has_some(simulator: Simulator, tmp_path: Path) -> None:
    """A service without instances is retried, since its worker may be starting; logins are not paused."""
    text = "Login failure: There are no instances subscribed to the requested service."
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as running:
        running.wait_for_polls(*QUICK)
        simulator.set_fault(step="login", action="error", text=text, times=2)
        simulator.stop_worker()
        simulator.start_worker()
        refused = running.wait_for("worker_exit", kind="statement")
        running.wait_for_polls(*QUICK, after=refused["seq"])

        assert refused["reason"] == f"127.0.0.1:{simulator.port}: {text}"
        assert running.events("login_paused") == []
        assert running.end() == 0
