"""The note about a refused login."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sqmon.config.settings import Connection, FileOutput, Output, SegmentOutput
from sqmon.ipc.login_pause import PAUSE_SECONDS, LoginPause
from tests.support.clocks import FakeClock

TO = Connection("db", 5000, "master", "sqream", "monitor")
OTHERS = [
    Connection("other", 5000, "master", "sqream", "monitor"),
    Connection("db", 5001, "master", "sqream", "monitor"),
    Connection("db", 5000, "master", "etl", "monitor"),
]


@pytest.fixture(params=["directory", "file"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    """Either kind of output."""
    return SegmentOutput(tmp_path) if request.param == "directory" else FileOutput(tmp_path / "all.jsonl")


def test_pause_stands_for_the_next_start(output: Output) -> None:
    """The next start is told until when no login is tried, why, and what to remove; after that time nothing stands."""
    clock = FakeClock()
    LoginPause(TO, output).begin("wrong", "wrong password", clock.time_ns())
    clock.advance(PAUSE_SECONDS - 1)

    standing = LoginPause(TO, output).standing("wrong", clock.time_ns())

    assert standing is not None
    assert (standing.until, standing.reason) == ("2026-11-24T12:15:00.000000000Z", "wrong password")
    assert Path(standing.path).is_file()
    clock.advance(1)
    assert LoginPause(TO, output).standing("wrong", clock.time_ns()) is None


def test_other_password_role_or_server_is_not_paused(output: Output) -> None:
    """The pause is for what was refused, and for nothing else."""
    now_ns = FakeClock().time_ns()
    LoginPause(TO, output).begin("wrong", "wrong password", now_ns)

    assert LoginPause(TO, output).standing("right", now_ns) is None
    assert [LoginPause(other, output).standing("wrong", now_ns) for other in OTHERS] == [None] * 3


def test_note_is_for_nobody_else_and_names_no_password(output: Output, tmp_path: Path) -> None:
    """Only the service's own user may read it, no agent's glob matches it, and nearly every guess passes for as good as any other."""
    LoginPause(TO, output).begin("hunter2", "wrong password", 1)

    (path,) = [path for path in tmp_path.iterdir() if "login_pause" in path.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.suffix != ".jsonl"
    assert "hunter2" not in path.read_text("utf-8")
    check = path.read_text("utf-8").partition('"check":')[2].rstrip("}\n")
    assert 0 <= int(check) < 256


def test_login_that_works_ends_the_pause(output: Output) -> None:
    """Unless it began before the other one was refused."""
    pause = LoginPause(TO, output)
    pause.begin("wrong", "wrong password", 1000)
    pause.end(999)

    assert pause.standing("wrong", 1001) is not None

    pause.end(1001)

    assert pause.standing("wrong", 1002) is None


def test_clock_that_was_ahead_makes_no_pause_longer(output: Output) -> None:
    """A note from the future says nothing."""
    clock = FakeClock()
    LoginPause(TO, output).begin("wrong", "wrong password", clock.time_ns())
    clock.step(-3600)

    assert LoginPause(TO, output).standing("wrong", clock.time_ns()) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host":1}', b"\xff"])
def test_damaged_note_is_no_pause(output: Output, tmp_path: Path, content: bytes) -> None:
    """Rather one login too many than none at all."""
    LoginPause(TO, output).begin("wrong", "wrong password", 1)
    (path,) = [path for path in tmp_path.iterdir() if "login_pause" in path.name]
    path.write_bytes(content)

    assert LoginPause(TO, output).standing("wrong", 2) is None


def test_disk_that_takes_nothing_raises_nothing(tmp_path: Path) -> None:
    """The pause then lasts as long as the service."""
    pause = LoginPause(TO, SegmentOutput(tmp_path / "missing"))
    pause.begin("wrong", "wrong password", 1)
    pause.end(2)

    assert pause.standing("wrong", 3) is None
