"""What can't work is refused at once, in one clear line, and changes nothing."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple, Optional

import pytest

from sqmon.simulator import Simulator
from tests.support.program import POWERLESS, Ended, ended, metrics_file

SECRET = "Sq-monitor-9!"
METRICS: Mapping[str, Any] = {"show_locks": 0.2}


class Refused(NamedTuple):
    """The end of a service that should not have started."""

    line: str
    """What it said on stderr."""
    events: list[dict[str, Any]]


@pytest.fixture(scope="module")
def everything() -> Iterator[Simulator]:
    """A worker with every kind of port."""
    with Simulator(port=0, tls_port=0, picker_port=0, picker_tls_port=0, password=SECRET) as running:
        yield running


def start(place: Path, *options: str, port: Optional[int], metrics: Optional[Mapping[str, Any]] = METRICS, **environment: str) -> Ended:
    """Run the service to its end, with the right password unless `environment` has another."""
    words = ["--host", "127.0.0.1", "--port", str(port), "--log_dir", "logs", "--startup_timeout", "0", "--loki_host", "127.0.0.1"]
    if metrics is not None:
        words += ["--metrics_file", metrics_file(place, metrics).name]
    return ended("run", *words, "--log_level", "error", *options, cwd=place, **{"SQMON_PASSWORD": SECRET, **environment})


def refused(place: Path, end: Ended) -> Refused:
    """Return how it ended after making sure of what every refusal has in common.

    Exit code 1; one line for people, behind the event of the check that failed when there was one; nothing on stdout; no file but the
    service's own; and the password in none of it.
    """
    *logged, line = end.stderr.splitlines()
    written = {path: path.read_text("utf-8") for path in (place / "logs").rglob("*") if path.is_file()}
    events = [json.loads(line) for path, text in sorted(written.items()) if path.suffix == ".jsonl" for line in text.splitlines()]

    assert (end.code, end.stdout) == (1, "")
    assert line.startswith("sqmon: ")
    assert ["error"] * len(logged) == [json.loads(event)["level"] for event in logged]
    assert [json.loads(event)["text"] for event in logged] == [event["text"] for event in events if event["level"] == "error"]
    assert {"sqmon"} >= {path.name for path in (place / "logs").glob("*") if path.is_dir() and path.name != "current"}
    assert not events or events[-1]["event"] == "stop"
    assert SECRET not in end.stderr + "".join(written.values())
    return Refused(line.removeprefix("sqmon: "), events)


@pytest.mark.parametrize(
    ("metrics", "cause"),
    [
        ("", 'metrics.json: is empty; write for example {"show_locks": 2}'),
        ("{}", 'metrics.json: names no metric; write for example {"show_locks": 2}'),
        ('{"show_lokcs": 2}', "metrics.json: show_lokcs: is not a known function; did you mean show_locks?"),
        ('{"show_locks": -2}', "metrics.json: show_locks: -2 must be greater than 0"),
        ('{"show_locks": 0}', "metrics.json: show_locks: 0 must be greater than 0"),
        ('{"show_locks": "soon"}', "metrics.json: show_locks: 'soon' is not a number of seconds"),
        ('{"shutdown_server": 5}', "metrics.json: shutdown_server: shuts the server down, so it is never polled"),
        ('{"show_locks": 2', "metrics.json:1:17: is not JSON: expecting ',' delimiter"),
    ],
)
def test_metrics_file_that_is_wrong(everything: Simulator, tmp_path: Path, metrics: str, cause: str) -> None:
    """The line names the file, the entry and the mistake, and no login is tried."""
    before = everything.stats()["logins"]
    (tmp_path / "metrics.json").write_text(metrics, "utf-8")
    told = refused(tmp_path, start(tmp_path, "--metrics_file", "metrics.json", port=everything.port, metrics=None))

    assert told == Refused(cause, [])
    assert everything.stats()["logins"] == before


def test_metrics_file_that_is_not_there(everything: Simulator, tmp_path: Path) -> None:
    """A metrics file that was named must exist."""
    told = refused(tmp_path, start(tmp_path, "--metrics_file", "nowhere.json", port=everything.port, metrics=None))

    assert told == Refused("nowhere.json: can't be read: no such file or directory", [])


@pytest.mark.parametrize(
    ("options", "listener", "cause"),
    [
        (["--host", "no-such-host.invalid"], "worker", "no host has that name (--host)"),
        (["--database", "mister"], "worker", "Database mister no longer exists"),
        (["--user", "nobody"], "worker", "Login failure: role 'nobody' doesn't exist"),
        (["--service", "nothing"], "worker", "Login failure: There are no instances subscribed to the requested service."),
        (["--clustered"], "worker", "this is not a server picker; leave out --clustered, or give the picker's port (usually 3108)"),
        ([], "picker", "this is not a worker port; a server picker needs --clustered, another service another --port"),
        (
            ["--clustered", "--use_ssl"],
            "picker",
            (
                "this picker names the port of a worker that does not speak TLS; leave out --use_ssl, or give the port of the picker for"
                " TLS (usually 3109)"
            ),
        ),
        (["--use_ssl"], "worker", "this port does not speak TLS; leave out --use_ssl, or give the TLS port (usually 5100)"),
        (["--use_ssl"], "picker", "this port does not speak TLS; leave out --use_ssl, or give the TLS port (usually 5100)"),
        ([], "tls", "the server closed the connection before the login; a port that speaks TLS needs --use_ssl"),
    ],
)
def test_database_that_can_not_be_used(everything: Simulator, tmp_path: Path, options: list[str], listener: str, cause: str) -> None:
    """The failed check names the address and the cause, once for people and once as an event."""
    port = everything.addresses[listener][1]
    told = refused(tmp_path, start(tmp_path, *options, port=port))
    host = options[1] if "--host" in options else "127.0.0.1"

    assert told.line == f"check_sqream_connection: {host}:{port}: {cause}"
    assert [event["text"] for event in told.events if event["level"] == "error"] == [f"{host}:{port}: {cause}"]


def test_port_on_which_nobody_listens(tmp_path: Path) -> None:
    """A refused connection is retried for --startup_timeout, which is none here."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        told = refused(tmp_path, start(tmp_path, port=port))

    assert (
        told.line == f"check_sqream_connection: 127.0.0.1:{port}: the connection was refused; is a worker running there? (--host, --port)"
    )


def test_refused_port_is_tried_again_for_a_while(tmp_path: Path) -> None:
    """Each attempt is a warning, and the last one is the failure."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        told = refused(tmp_path, start(tmp_path, "--startup_timeout", "2.5", port=nobody.getsockname()[1]))
    verdicts = [event["verdict"] for event in told.events if event.get("check") == "check_sqream_connection"]

    assert verdicts[0] == "retry"
    assert verdicts.count("failed") == 1
    assert verdicts[-1] == "failed"


def test_wrong_password_costs_exactly_one_login(everything: Simulator, tmp_path: Path) -> None:
    """A wrong password is tried once, since five attempts lock the role, and nothing that is written contains it."""
    before = everything.stats()["failed_logins"]
    end = start(tmp_path, "--startup_timeout", "20", port=everything.port, SQMON_PASSWORD="Wrong-One-42")
    told = refused(tmp_path, end)

    assert told.line == f"check_sqream_connection: 127.0.0.1:{everything.port}: Login failure: wrong password for role 'sqream'"
    assert everything.stats()["failed_logins"] == before + 1
    assert "Wrong-One-42" not in end.stderr + json.dumps(told.events)


def test_password_that_can_not_be_sent(everything: Simulator, tmp_path: Path) -> None:
    """A password with a quote, which would end the login message, is refused before it is sent, and not repeated."""
    end = start(tmp_path, port=everything.port, SQMON_PASSWORD='hid"den')
    told = refused(tmp_path, end)

    assert told.line == (
        "--password: SQreamDB's client can't send this password; use ASCII without quotes, backslashes and control characters"
    )
    assert told.events == []
    assert "hid" not in end.stderr


def test_password_file_that_is_not_there(everything: Simulator, tmp_path: Path) -> None:
    """The line names the password file that is missing."""
    told = refused(tmp_path, start(tmp_path, "--password_file", "nowhere", port=everything.port))

    assert told == Refused("--password_file nowhere: can't be read: no such file or directory", [])


@pytest.mark.parametrize("kind", ["fifo", "pipe", "socket", "device", "closed directory", "no directory"])
def test_single_file_that_can_never_be_written_to(everything: Simulator, tmp_path: Path, kind: str) -> None:
    """A single file that can't be written to is refused before anybody logs in."""
    before = everything.stats()["logins"]
    path = tmp_path / "all.jsonl"
    cause = f"{path}: is not a regular file; give a file, or a directory with / at its end (--log_file_path)"
    through: list[str] = []
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            server.bind(str(path))
        elif kind in ("pipe", "device"):
            path.symlink_to("/dev/stdout" if kind == "pipe" else "/dev/null")
        else:
            (tmp_path / "below").touch()
            if kind == "closed directory":
                (tmp_path / "below").unlink()
                (tmp_path / "below").mkdir()
                (tmp_path / "below" / "all.jsonl").touch()
                (tmp_path / "below").chmod(0o500)
                through = POWERLESS
            path = tmp_path / "below" / "all.jsonl"
            reason = "permission denied" if kind == "closed directory" else "not a directory"
            cause = f"{path}: can't be written to, or has no room for its lock all.jsonl.lock: {reason}; give another --log_file_path"
        words = ["--host", "127.0.0.1", "--port", str(everything.port), "--log_file_path", str(path)]
        end = ended("run", *words, cwd=tmp_path, through=through, SQMON_PASSWORD=SECRET)

    assert end == (1, "", f"sqmon: {cause}\n")
    assert everything.stats()["logins"] == before


def test_worker_with_a_gpu(tmp_path: Path) -> None:
    """A worker with a GPU is polled only with --allow_gpu."""
    with Simulator(gpu=True, password=SECRET) as simulator:
        told = refused(tmp_path, start(tmp_path, port=simulator.port))

    assert told.line.startswith("check_sqream_on_cpu: the worker has a GPU (`select 1` returned a row)")
    assert "--allow_gpu" in told.line


@pytest.mark.parametrize("place", ["occupied", "occupied/below"])
def test_directory_that_can_not_be_written_to(everything: Simulator, tmp_path: Path, place: str) -> None:
    """The line names the directory, and no login is tried."""
    before = everything.stats()["logins"]
    (tmp_path / "occupied").write_text("", "utf-8")
    told = refused(tmp_path, start(tmp_path, "--log_dir", place, port=everything.port))

    assert told.line.startswith(f"{place}: can't be written to: ")
    assert everything.stats()["logins"] == before


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--port", "99999"], "argument --port: '99999' is not a port from 1 to 65535"),
        (["--port", "five"], "argument --port: 'five' is not a port from 1 to 65535"),
        (["--segment_mb", "0"], "argument --segment_mb: '0' is not a number from 0.01 to 65536"),
        (["--file_backups", "-1"], "argument --file_backups: '-1' is not a whole number from 0 to 1000"),
        (["--metrics_port", "9188", "--metrics_address", "a..b"], "argument --metrics_address: 'a..b' is not a host name or an address"),
        (["--log_level", "loud"], "argument --log_level: invalid choice: 'loud'"),
        (["--pasword", "x"], "unrecognized arguments: --pasword x"),
    ],
)
def test_wrong_usage(tmp_path: Path, words: list[str], cause: str) -> None:
    """Wrong usage is exit code 2 and one line, and writes nothing."""
    end = ended("run", *words, cwd=tmp_path)

    assert (end.code, end.stdout) == (2, "")
    assert end.stderr.startswith(f"sqmon: {cause}")
    assert end.stderr.endswith("; see sqmon --help\n")
    assert len(end.stderr.splitlines()) == 1
    assert [*tmp_path.iterdir()] == []
