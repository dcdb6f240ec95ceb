"""`sqmon check`: what it says about the metrics and Loki."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Callable, Iterator

import pytest

from sqmon.simulator import Simulator
from tests.cli.test_main import NO_LOKI, address, records_of
from tests.support.program import POWERLESS, ended, metrics_file


def test_each_metric_is_polled_once(simulator: Simulator, tmp_path: Path) -> None:
    """Each metric is polled once and has its outcome, commands that change the server are left alone, and one failure is exit code 1."""
    reset = {"interval": 9, "allow_state_change": True}
    mine = {"interval": 9, "query": "select show_locks()"}
    path = metrics_file(tmp_path, {"show_server_status": 5, "show_locks": 5, "reset_leveldb_stats": reset, "mine": mine})
    simulator.set_fault("show_server_status", "execute", "error", text="permission denied")
    end = ended("check", "--json", *address(simulator), *NO_LOKI, "--metrics_file", str(path), cwd=tmp_path)
    told = {outcome["check"]: (outcome["verdict"], outcome["text"]) for outcome in records_of(end.stdout)}

    assert end.code == 1
    assert {name for name in told if name.startswith("poll_")} == {"poll_show_server_status", "poll_show_locks", "poll_mine"}
    assert told["poll_show_server_status"] == (
        "failed",
        f"127.0.0.1:{simulator.port}: permission denied (rights that it needs: SUPERUSER)",
    )
    assert told["poll_show_locks"][0] == told["poll_mine"][0] == "passed"
    assert told["poll_show_locks"][1].startswith("2 rows of 11 columns in ")
    assert "reset_leveldb_stats" not in simulator.stats()["statements"]


@pytest.mark.parametrize(("mode", "said"), [("full", "SQL text whole"), ("masked", "every literal masked"), ("none", "no SQL text")])
def test_mode_of_sql_text_is_told(tmp_path: Path, mode: str, said: str) -> None:
    """The check says how much SQL text records will hold."""
    (told,) = [line for line in ended("check", "--offline", "--sql", mode, cwd=tmp_path).stdout.splitlines() if " sql_text " in line]

    assert told.startswith("ok ")
    assert said in told
    assert f"(--sql {mode})" in told


def test_metrics_file_in_a_closed_directory_is_told(tmp_path: Path) -> None:
    """What keeps us from seeing whether there is a file is not taken for its absence."""
    (tmp_path / "config_files").mkdir()
    (tmp_path / "config_files").chmod(0)
    end = ended("check", "--offline", cwd=tmp_path, through=POWERLESS)

    assert (end.code, end.stderr) == (1, "")
    assert end.stdout.endswith(" config_files/monitor_input.json: can't be read: permission denied\n")


def test_single_file_that_can_not_be_one_is_told(tmp_path: Path) -> None:
    """The check sees without writing that the service would refuse to start."""
    os.mkfifo(tmp_path / "fifo")
    told = [ended("check", "--offline", "--log_file_path", path, cwd=tmp_path) for path in ("fifo", "/dev/stdout", "new.jsonl", "new/")]

    assert [end.code for end in told] == [1, 1, 0, 0]
    assert "FAILED  log_file_path            fifo: is not a regular file" in told[0].stdout
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


def test_columns_that_alerts_need_are_missed(tmp_path: Path) -> None:
    """A metric without columns that alerts need is a warning."""
    path = metrics_file(tmp_path, {"show_server_status": {"interval": 5, "query": "select show_locks()"}})
    with Simulator(rows_locks=2) as simulator:
        end = ended("check", "--json", *address(simulator), *NO_LOKI, "--metrics_file", str(path), cwd=tmp_path)
    (told,) = [outcome for outcome in records_of(end.stdout) if outcome["check"] == "poll_show_server_status"]

    assert (end.code, told["verdict"]) == (0, "warning")
    assert "statementstatus" in told["text"].partition("alerts need ")[2]


def test_no_poll_without_a_login(simulator: Simulator, tmp_path: Path) -> None:
    """A wrong password costs one login, however many metrics there are."""
    end = ended("check", "--json", *address(simulator), *NO_LOKI, cwd=tmp_path, SQMON_PASSWORD="wrong")

    assert end.code == 1
    assert [outcome["check"] for outcome in records_of(end.stdout)] == [
        "check_customer_metrics",
        "sql_text",
        "check_sqream_connection",
        "check_loki_connection",
    ]
    assert simulator.stats()["failed_logins"] == 1


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket, threading.Event], None], family: int = socket.AF_INET) -> Iterator[int]:
    """Answer connections in a thread until the end; yield the port."""
    ended = threading.Event()
    with socket.socket(family) as server:
        server.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        answer(connection, ended)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def dripping(connection: socket.socket, ended: threading.Event) -> None:
    """Send a header that never ends, a byte at a time."""
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not ended.wait(0.2):
            connection.sendall(b"x")


def colourful(connection: socket.socket, _: threading.Event) -> None:
    """Answer in something that is not HTTP, with a terminal's escapes in it."""
    connection.recv(1000)
    connection.sendall(b"\x1b[31mHELLO\r\n")


def ready(connection: socket.socket, _: threading.Event) -> None:
    """Answer as Loki does."""
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "family", "verdict"),
    [
        (dripping, socket.AF_INET, "warning: http://127.0.0.1:{}: no whole answer within 6 s"),
        (colourful, socket.AF_INET, "warning: http://127.0.0.1:{}/ready: \\x1b[31mhello\\r\\n; records wait in the files"),
        (ready, socket.AF_INET6, "passed: http://[::1]:{}/ready answers 200"),
    ],
)
def test_loki_is_what_is_told_of(simulator: Simulator, tmp_path: Path, answer: Callable[..., None], family: int, verdict: str) -> None:
    """Whatever listens at Loki's port is an outcome in one line, and never keeps the service from starting."""
    with answering(answer, family) as port:
        loki = ("--loki_host", "::1" if family == socket.AF_INET6 else "127.0.0.1", "--loki_port", str(port))
        end = ended("check", "--json", *address(simulator), *loki, cwd=tmp_path)
    told = records_of(end.stdout)[-1]

    assert (end.code, told["check"]) == (0, "check_loki_connection")
    assert f"{told['verdict']}: {told['text']}".startswith(verdict.format(port))
