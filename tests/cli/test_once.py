"""`sqmon once` on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
from pathlib import Path

from sqmon.cli.shown_lines import shown_lines
from sqmon.simulator import Simulator
from tests.support.program import command, ended, environment


def test_records_on_a_terminal_mean_the_same_and_steer_nothing() -> None:
    """JSON itself escapes only the first 32 control characters; a terminal obeys others, too."""
    record = {"statement": "\x1b[2J \x7f \u009b1mred \u202ethgir \u2028 \U0001f600 é"}
    lines = (json.dumps(record, ensure_ascii=False) + "\n").encode() * 2

    shown = shown_lines(lines).decode()

    assert [character for character in shown if not character.isprintable() and character != "\n"] == []
    assert "\U0001f600 é" in shown
    assert [json.loads(line) for line in shown.splitlines()] == [record, record]


def test_terminal_gets_every_record(simulator: Simulator, tmp_path: Path) -> None:
    """The records on a terminal are those that a file would get."""
    ours, theirs = pty.openpty()
    words = command("once", "show_locks", "--host", "127.0.0.1", "--port", str(simulator.port))
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=theirs) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # which is how a terminal says that nobody writes to it any more
            while True:
                said += os.read(ours, 4096)
        os.close(ours)

    assert process.returncode == 0
    assert [json.loads(line)["metric"] for line in said.splitlines()] == ["show_locks"] * 2


def test_tables_are_for_people(simulator: Simulator, tmp_path: Path) -> None:
    """--table prints a table for each metric, and still names on stderr what failed."""
    simulator.set_fault("show_locks", step="execute", action="error", text="not today")
    metrics = ("get_license_info", "show_locks", "show_cluster_nodes")
    found = ended("once", *metrics, "--table", "--host", "127.0.0.1", "--port", str(simulator.port), cwd=tmp_path, TZ="UTC")
    lines = found.stdout.splitlines()
    nodes = next(number for number, line in enumerate(lines) if line.startswith("show_cluster_nodes: "))

    assert found.code == 1
    assert found.stderr.startswith("sqmon: show_locks: ")
    assert re.fullmatch(r"get_license_info: 1 row at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC", lines[0])
    assert "node_" in "".join(lines[nodes + 1 :])
    assert "{" not in found.stdout
