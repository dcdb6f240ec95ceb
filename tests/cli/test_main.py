"""The commands besides `run`, and the exit codes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest

from sqmon import __version__
from sqmon.cli import check, exit_codes, main
from sqmon.config import catalogue
from sqmon.errors import ConfigError, SqmonError
from sqmon.simulator import Simulator
from tests.support.program import DEADLINE_SECONDS, command, ended, environment, kill_session, metrics_file, session_processes, wait_until

CHECKS = ["check_customer_metrics", "check_sqream_connection", "check_sqream_on_cpu", "check_loki_connection"]
POLLS = [f"poll_{name}" for name in catalogue.DEFAULT_METRICS]
NO_LOKI = ("--loki_host", "127.0.0.1", "--loki_port", "1", "--startup_timeout", "0")


def address(simulator: Simulator) -> tuple[str, ...]:
    """Return the options that lead to this simulator."""
    return ("--host", "127.0.0.1", "--port", str(simulator.port))


def records_of(output: str) -> list[dict[str, Any]]:
    """Return the records in a text."""
    return [json.loads(line) for line in output.splitlines()]


def test_version(tmp_path: Path) -> None:
    """`--version` prints one line."""
    assert ended("--version", cwd=tmp_path) == (0, f"sqmon {__version__}\n", "")


def test_word_that_is_no_command(tmp_path: Path) -> None:
    """A word that is no command is answered with the list of commands."""
    end = ended("fly", cwd=tmp_path)

    assert (end.code, end.stdout) == (2, "")
    assert end.stderr == f"sqmon: unknown command 'fly'; the commands are {', '.join(main.COMMANDS)}; see sqmon --help\n"


def test_check_tells_each_check_in_order(simulator: Simulator, tmp_path: Path) -> None:
    """`check` prints a line for each check, exits with 0 when none failed, and writes nothing."""
    end = ended("check", *address(simulator), *NO_LOKI, cwd=tmp_path)

    assert (end.code, end.stderr) == (0, "")
    assert [line.split()[:2] for line in end.stdout.splitlines()] == [
        *(["ok", name] for name in (CHECKS[0], "sql_text", *CHECKS[1:3], *POLLS)),
        ["warning", CHECKS[3]],
    ]
    assert [*tmp_path.iterdir()] == []


def test_check_for_programs(simulator: Simulator, tmp_path: Path) -> None:
    """`check --json` prints one object a line, with the verdict."""
    end = ended("check", "--json", *address(simulator), "--log_file_path", "f", cwd=tmp_path)

    assert (end.code, end.stderr) == (0, "")
    passed = (CHECKS[0], "sql_text", *CHECKS[1:3], *POLLS)
    assert [(told["check"], told["verdict"]) for told in records_of(end.stdout)] == [(name, "passed") for name in passed]
    assert all(told["text"] for told in records_of(end.stdout))


def test_check_that_fails(tmp_path: Path) -> None:
    """A failed check is exit code 1, and the other checks are made nevertheless."""
    path = metrics_file(tmp_path, {"show_lokcs": 2, "show_locks": -1})
    end = ended("check", "--json", "--metrics_file", str(path), "--host", "127.0.0.1", "--port", "1", *NO_LOKI, cwd=tmp_path)

    assert (end.code, end.stderr) == (1, "")
    assert [(told["check"], told["verdict"]) for told in records_of(end.stdout)] == [
        (CHECKS[0], "failed"),
        (CHECKS[0], "failed"),
        (CHECKS[1], "failed"),
        (CHECKS[3], "warning"),
    ]


def test_check_offline_asks_nobody(simulator: Simulator, tmp_path: Path) -> None:
    """`check --offline` looks at the metrics file and the options alone."""
    end = ended("check", "--offline", *address(simulator), cwd=tmp_path)

    assert (end.code, end.stderr, len(end.stdout.splitlines())) == (0, "", 2)
    assert end.stdout.startswith(f"ok      {CHECKS[0]} ")
    assert simulator.stats()["logins"] == 0


def test_check_warns_of_a_password_that_others_can_see(simulator: Simulator, tmp_path: Path) -> None:
    """A password on the command line is warned of once, without repeating it."""
    seen = ended("check", *address(simulator), *NO_LOKI, "--password=sqream", cwd=tmp_path)
    hidden = ended("check", *address(simulator), *NO_LOKI, cwd=tmp_path, SQMON_PASSWORD="sqream")

    assert (seen.code, hidden.code) == (0, 0)
    assert seen.stdout.count("other users of this host can read --password in the process list") == 1
    assert "--password" not in hidden.stdout


def test_once_prints_the_records(simulator: Simulator, tmp_path: Path) -> None:
    """`once` prints the records of the metrics that are named, in this order and in the form of the files, and writes nothing."""
    end = ended("once", *address(simulator), "show_locks", "get_license_info", cwd=tmp_path)
    records = records_of(end.stdout)
    function = catalogue.FUNCTIONS["show_locks"]

    assert (end.code, end.stderr) == (0, "")
    assert [(record["metric"], record["seq"]) for record in records] == [("show_locks", 1), ("show_locks", 2), ("get_license_info", 1)]
    assert [*records[0]] == ["ts", "seq", "metric", "run_id", "poll", "poll_rows", *function.columns, *function.computed, "statement_hash"]
    assert [*tmp_path.iterdir()] == []


def test_once_without_names_polls_the_metrics_file(simulator: Simulator, tmp_path: Path) -> None:
    """Without names, `once` polls the metrics file, apart from commands that change the server."""
    path = metrics_file(tmp_path, {"show_locks": 5, "reset_leveldb_stats": {"interval": 9, "allow_state_change": True}})
    end = ended("once", *address(simulator), "--metrics_file", str(path), cwd=tmp_path)

    assert (end.code, end.stderr) == (0, "")
    assert {record["metric"] for record in records_of(end.stdout)} == {"show_locks"}
    assert "reset_leveldb_stats" not in simulator.stats()["statements"]


def test_once_without_a_file_polls_the_five(simulator: Simulator, tmp_path: Path) -> None:
    """Without names and a file, `once` polls the five default metrics in their order."""
    end = ended("once", *address(simulator), cwd=tmp_path)

    assert (end.code, end.stderr) == (0, "")
    assert [*dict.fromkeys(record["metric"] for record in records_of(end.stdout))] == [*catalogue.DEFAULT_METRICS]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["shutdown_server"], "METRIC: shutdown_server: shuts the server down, so it is never polled"),
        (["show_lokcs"], "METRIC: show_lokcs: is not a known function; did you mean show_locks?"),
    ],
)
def test_once_refuses_what_is_not_polled(simulator: Simulator, tmp_path: Path, words: list[str], line: str) -> None:
    """`once` refuses a name that can't be polled before it logs in."""
    assert ended("once", *address(simulator), *words, cwd=tmp_path) == (1, "", f"sqmon: {line}\n")
    assert simulator.stats()["logins"] == 0


def test_once_that_fails(simulator: Simulator, tmp_path: Path) -> None:
    """Each metric that failed has a line with the server's words, the others are printed, and the exit code is 1."""
    simulator.set_fault("show_locks", "execute", "error", text="no\nrights")
    simulator.set_fault("show_version", "fetch", "error", text="gone")
    end = ended("once", *address(simulator), "show_locks", "show_version", "get_license_info", cwd=tmp_path)

    place = f"127.0.0.1:{simulator.port}"
    assert (end.code, end.stderr) == (1, f"sqmon: show_locks: {place}: no rights\nsqmon: show_version: {place}: gone\n")
    assert [record["metric"] for record in records_of(end.stdout)] == ["get_license_info"]


def test_once_gives_up_when_a_login_fails(simulator: Simulator, tmp_path: Path) -> None:
    """After a failed login no other metric is tried, since five refused logins lock the role."""
    end = ended("once", *address(simulator), cwd=tmp_path, SQMON_PASSWORD="wrong")

    assert (end.code, end.stdout, end.stderr.count("\n")) == (1, "", 1)
    assert simulator.stats()["failed_logins"] == 1


def test_once_with_nothing_to_poll(tmp_path: Path) -> None:
    """A metrics file that names only commands that change the server leaves nothing to poll."""
    path = metrics_file(tmp_path, {"reset_leveldb_stats": {"interval": 9, "allow_state_change": True}})
    end = ended("once", "--metrics_file", str(path), cwd=tmp_path)

    assert end == (1, "", "sqmon: nothing is polled: the metrics file only names what changes the server\n")


def test_misspelt_variable_is_told(simulator: Simulator, tmp_path: Path) -> None:
    """A misspelt variable is a warning, of `check` among its outcomes and of other commands on stderr."""
    told = "SQMON_HOTS in the environment is not an option and is ignored; did you mean SQMON_HOST?"
    checked = ended("check", "--offline", cwd=tmp_path, SQMON_HOTS="h")
    once = ended("once", *address(simulator), "show_version", cwd=tmp_path, SQMON_HOTS="h")

    assert (checked.code, checked.stderr) == (0, "")
    assert f"warning environment              {told}\n" in checked.stdout
    assert (once.code, once.stderr) == (0, f"sqmon: {told}\n")


@pytest.mark.parametrize("words", [("check", "--offline"), ("once",), ("run",)])
@pytest.mark.parametrize("content", [b'{"show_locks": 1' + b"0" * 400 + b"}", b"[" * 100_000, b'{"\\ud800": 1}', None])
def test_no_content_of_the_metrics_file_is_a_bug(tmp_path: Path, words: tuple[str, ...], content: Optional[bytes]) -> None:
    """Every command refuses any bad metrics file in one line, including a FIFO and a path that is no text."""
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    place.mkdir()
    path = place / "m.json"
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    end = ended(*words, "--metrics_file", str(path), cwd=tmp_path)

    assert (end.code, (end.stdout + end.stderr).count("\n")) == (1, 1)
    assert "/\\udcff/m.json: " in end.stdout + end.stderr


def test_reader_that_has_had_enough(simulator: Simulator, tmp_path: Path) -> None:
    """A reader that goes away early, as in `sqmon once | head`, is no error."""
    simulator.set_rows({"show_locks": 20_000})
    process = subprocess.Popen(
        command("once", *address(simulator), "show_locks"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline().startswith(b'{"ts":"')
        process.stdout.close()
        said = process.stderr.read()

    assert (process.wait(DEADLINE_SECONDS), said) == (0, b"")


@pytest.mark.parametrize("words", [("check", "--offline"), ("status", "--log_dir", "nowhere")])
def test_reader_that_has_gone_is_no_error_for_tables_either(tmp_path: Path, words: tuple[str, ...]) -> None:
    """What is written for people is told of a closed pipe as quietly as records are."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        process = subprocess.run(command(*words), cwd=tmp_path, env=environment(), stdout=stdout, stderr=subprocess.PIPE, check=False)

    assert (process.returncode, process.stderr) == (0, b"")


def test_metrics_file_beside_where_one_stands_is_used(simulator: Simulator, tmp_path: Path) -> None:
    """A monitor_input.json in the working directory is used, as the original service did."""
    (tmp_path / "monitor_input.json").write_text('{"get_license_info": 5}', "utf-8")
    end = ended("once", *address(simulator), cwd=tmp_path)

    assert {record["metric"] for record in records_of(end.stdout)} == {"get_license_info"}


def test_options_come_from_the_environment(simulator: Simulator, tmp_path: Path) -> None:
    """`once` needs no option on the command line when the environment has them all."""
    end = ended("once", "get_license_info", cwd=tmp_path, SQMON_HOST="127.0.0.1", SQMON_PORT=str(simulator.port), SQMON_USE_SSL="no")

    assert (end.code, end.stderr, len(end.stdout.splitlines())) == (0, "", 1)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SqmonError("the world is wrong"), exit_codes.FAILED, "sqmon: the world is wrong\n"),
        (ConfigError(["one", "two"]), exit_codes.FAILED, "sqmon: one\nsqmon: two\n"),
        (KeyboardInterrupt(), 0, ""),
    ],
)
def test_what_went_wrong_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    """An error of the user or the world is one line per problem, exit code 1, and no traceback."""
    monkeypatch.setattr(check, "run", raiser(error))

    assert main.main(["check"]) == code
    assert capsys.readouterr().err == said


def test_bug_is_told_as_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug is exit code 3, with its traceback."""
    monkeypatch.setattr(check, "run", raiser(ZeroDivisionError("oh")))

    assert main.main(["check"]) == exit_codes.BUG
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith("ZeroDivisionError: oh\nsqmon: this is a bug; please report it with the lines above\n")


def raiser(error: BaseException) -> Any:
    """Return a command that raises this error."""

    def run(_: argparse.Namespace) -> int:
        raise error

    return run


def test_log_on_a_terminal_is_for_people(tmp_path: Path) -> None:
    """The log is a line an event, in words, on a terminal, and JSON elsewhere."""
    ours, theirs = pty.openpty()
    words = ("run", "--host", "127.0.0.1", "--port", "1", *NO_LOKI, "--log_dir", "logs")
    process = subprocess.Popen(command(*words), cwd=tmp_path, env=environment(TERM="xterm"), stdin=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # which is how a terminal says that nobody writes to it any more
        while True:
            said += os.read(ours, 4096)
    os.close(ours)

    assert process.wait(DEADLINE_SECONDS) == 1
    assert b"check_customer_metrics" in said
    assert said.splitlines()[-1].startswith(b"sqmon: check_sqream_connection: 127.0.0.1:1: the connection was refused")
    assert b"Traceback" not in said
    assert b'{"' not in said


def test_demo_shows_what_arrives(tmp_path: Path) -> None:
    """Without a terminal, the demo prints plain lines, and at the end the counts and the files, which exist."""
    end = ended("demo", "--seconds", "4", cwd=tmp_path)

    assert (end.code, end.stderr) == (0, "")
    assert re.search(r"^SQreamDB simulator on 127\.0\.0\.1:\d+, service with process id \d+", end.stdout)
    for metric in catalogue.DEFAULT_METRICS:
        assert re.search(rf"^\d\d:\d\d:\d\d {metric}: (ok|empty), \d+ rows?", end.stdout, re.MULTILINE)
        assert re.search(rf"^{metric}: [1-9]\d* polls?, \d+ records?$", end.stdout, re.MULTILINE)
    listed = re.findall(r"^  (sqmon-demo/\S+\.jsonl)$", end.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("sqmon-demo/*/*.jsonl"))
    assert len(listed) >= 5


def test_demo_ends_at_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends the demo with its summary, and no process is left."""
    process = subprocess.Popen(
        command("demo", "--log_dir", "d"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_until(lambda: [*tmp_path.glob("d/get_license_info/*.jsonl")])
        sessions = [process.pid, int((tmp_path / "d" / ".lock").read_text("ascii"))]
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)

        assert process.returncode == 0
        assert b"get_license_info: " in output
        assert b"Traceback" not in output
        wait_until(lambda: not any(map(session_processes, sessions)))
    finally:
        kill_session(process.pid)


def test_simulate_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """`simulate` prints its ports, answers `once` as a server does, and exits with 0."""
    process = subprocess.Popen(
        command("simulate", "--port", "0", "--rows_locks", "3"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        worker, ready = process.stdout.readline(), process.stdout.readline()
        end = ended("once", "--host", "127.0.0.1", "--port", worker.rpartition(":")[2].strip(), "show_locks", cwd=tmp_path)
        process.terminate()
        code = process.wait(DEADLINE_SECONDS)

    assert (ready, code) == ("ready\n", 0)
    assert (end.code, len(end.stdout.splitlines())) == (0, 3)


def test_simulator_that_can_not_start(simulator: Simulator, tmp_path: Path) -> None:
    """A port that is taken is one line and exit code 1."""
    end = ended("simulate", "--port", str(simulator.port), cwd=tmp_path)

    assert (end.code, end.stdout, len(end.stderr.splitlines())) == (1, "", 1)
    assert str(simulator.port) in end.stderr
