"""`sqmon top`, the real program on a real terminal, on the files of the real service."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Iterator

import pytest

from sqmon.simulator import Simulator
from sqmon.top.terminal import Terminal
from tests.support.program import Service, command, ended, environment, service, wait_until
from tests.support.terminal import exit_code, on_terminal

METRICS = dict.fromkeys(("show_server_status", "show_locks", "show_cluster_nodes", "get_license_info"), 0.3)
CUT_OFF = "delete from t where x = '\x1b]0;gotcha\x07\x1b[2J'"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, Service]]:
    """A service on a cluster on which one statement holds a lock and another one waits for it."""
    with (
        Simulator(idle=True, statement_lock_timeout=600.0) as simulator,
        service(simulator.port, tmp_path_factory.mktemp("top") / "logs", "--cluster", "prod", metrics=METRICS) as run,
    ):
        simulator.run("update public.t set x = 1", seconds=None, user="etl")
        run.wait_for_polls("show_locks", count=1)
        simulator.run(CUT_OFF, user="reporting")
        run.wait_for_polls(*METRICS, count=5)
        yield simulator, run


@pytest.fixture
def log_dir(site: tuple[Simulator, Service]) -> Path:
    """The directory of that service."""
    return site[1].log_dir


def test_who_blocks_whom_is_one_key_away(log_dir: Path) -> None:
    """The first frame shows the workers; 4 shows the holder of a lock with its waiter below; enter shows a statement in full; q ends."""
    with on_terminal("top", "--log_dir", str(log_dir), cwd=log_dir.parent) as top:
        top.wait_for(lambda screen: "[1 workers" in screen and "prod" in screen and "4 metrics are well" in screen)
        top.press("4")
        screen = top.wait_for(lambda screen: "[4 locks" in screen)
        assert re.search(r"etl +exclusive +master\.public\.t Update \+\d .* blocks 1 +update public\.t set x = 1", screen)
        assert re.search(r"└ \d+ +reporting +wants exclusive +master\.public\.t Update .* waits +delete from t", screen)
        top.press("\x1b[B\x1b[B\r")
        screen = top.wait_for(lambda screen: "waits for (Exclusive wanted" in screen)
        assert r"delete from t where x = '\x1b]0;gotcha\x07\x1b[2J'" in screen
        top.press("\x1b")
        top.wait_for(lambda screen: "[4 locks" in screen and "blocks 1" in screen)
        top.press("q")

        assert 0 == exit_code(top)
        assert top.is_as_before
        assert "\x1b]0;" not in top.raw
        assert "\x07" not in top.raw


def test_time_stands_still_and_goes_back(log_dir: Path) -> None:
    """Space freezes, < and > step from poll to poll, t goes to a time, and end returns to the present."""
    with on_terminal("top", "--log_dir", str(log_dir), "--view", "locks", cwd=log_dir.parent) as top:
        top.wait_for(lambda screen: " live" in screen)
        top.press(" ")
        top.wait_for(lambda screen: " frozen" in screen)
        top.press("<")
        earlier = top.wait_for(lambda screen: " past" in screen)
        top.press("<" * 5)
        top.wait_for(lambda screen: " past" in screen and head(screen) != head(earlier))
        top.press(">" * 5)
        top.wait_for(lambda screen: head(screen) == head(earlier))
        top.press("t-100d\r")
        top.wait_for(lambda screen: "nothing is known of this time" in screen)
        top.press("<")
        top.wait_for(lambda screen: "there is no earlier poll of show_locks" in screen)
        top.press("tsoon\r")
        top.wait_for(lambda screen: "'soon' is not a time" in screen)
        top.press("\x1b[F")
        top.wait_for(lambda screen: " live" in screen)


def head(screen: str) -> str:
    """Return the time that the header shows."""
    return screen.splitlines()[0][:60]


def test_rows_are_filtered_and_copied(log_dir: Path) -> None:
    """The filter shows only what has the words; y hands the id to the terminal's clipboard."""
    with on_terminal("top", "--log_dir", str(log_dir), "--view", "running", cwd=log_dir.parent) as top:
        top.wait_for(lambda screen: "reporting" in screen and "etl" in screen)
        top.press("/reporting")
        top.wait_for(lambda screen: "1 of 2" in screen and "etl" not in screen)
        top.press("\ry")
        top.wait_for(lambda screen: "was handed to the terminal's clipboard" in screen)
        assert re.search(r"\x1b\]52;c;[A-Za-z0-9+/=]+\x07", top.raw)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_frames_follow_the_size_of_the_terminal(log_dir: Path, size: tuple[int, int]) -> None:
    """A terminal that becomes smaller or larger is filled exactly; one that is too small is told so."""
    with on_terminal("top", "--log_dir", str(log_dir), cwd=log_dir.parent) as top:
        top.wait_for(lambda screen: len(screen.splitlines()) == 40)
        top.resize(60, 10)
        top.wait_for(lambda screen: screen.startswith("sqmon top needs 80x24, this terminal has 60x10"))
        top.resize(*size)
        screen = top.wait_for(lambda screen: len(screen.splitlines()) == size[1])
        assert {size[0]} == {len(line) for line in screen.splitlines()}


def test_terminal_is_given_back_when_it_is_told_to_end(log_dir: Path) -> None:
    """SIGTERM ends it with everything as it was."""
    with on_terminal("top", "--log_dir", str(log_dir), cwd=log_dir.parent) as top:
        top.wait_for(lambda screen: "[1 workers" in screen)
        assert not top.is_as_before
        os.kill(top.pid, signal.SIGTERM)

        assert 0 == exit_code(top)
        assert top.is_as_before


def test_terminal_is_lent_to_the_shell_meanwhile(log_dir: Path) -> None:
    """While it is stopped, the terminal is the shell's; when it continues, the frame is there again, whatever had stopped it."""
    with on_terminal("top", "--log_dir", str(log_dir), cwd=log_dir.parent) as top:
        top.wait_for(lambda screen: "[1 workers" in screen)
        top.press(" ")
        top.wait_for(lambda screen: " frozen" in screen)
        pid = top.pid
        for by_key in (True, False):
            if by_key:
                top.press("\x1a")
            else:
                os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: state_of(pid) == "T")
            assert by_key == top.is_as_before
            written = len(top.raw)
            os.kill(pid, signal.SIGCONT)
            top.wait_for(lambda _, written=written: "[1 workers" in top.raw[written:])  # type: ignore[misc]
        top.press("q")

        assert 0 == exit_code(top)


def state_of(pid: int) -> str:
    """Return the state of a process: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]


@pytest.mark.parametrize("alone", [False, True])
def test_it_ends_with_its_terminal(log_dir: Path, alone: bool) -> None:
    """When the terminal goes away, with a signal or without one, nothing is left that reads files for nobody."""
    with on_terminal("top", "--log_dir", str(log_dir), cwd=log_dir.parent, alone=alone) as top:
        top.wait_for(lambda screen: "[1 workers" in screen)
        top.hang_up()

        assert 0 == top.process.wait(10)


def test_terminal_is_given_back_after_a_bug() -> None:
    """Whatever is raised while the terminal is ours, it is given back first."""
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)

    def fail() -> None:
        with Terminal(slave, slave, {}, "utf-8"):
            assert termios.tcgetattr(slave) != before
            raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert termios.tcgetattr(slave) == before
        written = b""
        wait_until(lambda: select.select([master], [], [], 0)[0])
        while select.select([master], [], [], 0)[0]:
            written += os.read(master, 1000)
        assert written.endswith(b"\x1b[?1049l")
    finally:
        os.close(master)
        os.close(slave)


def test_service_that_is_killed_is_not_a_quiet_one(tmp_path: Path) -> None:
    """While it is looked at, a killed service turns the header into when and why the monitor went blind; the rows stay."""
    with Simulator(idle=True) as simulator, service(simulator.port, tmp_path / "logs", metrics=METRICS) as run:
        run.wait_for_polls(*METRICS, count=1)
        with on_terminal("top", "--log_dir", str(run.log_dir), cwd=tmp_path) as top:
            top.wait_for(lambda screen: "4 metrics are well" in screen)
            os.killpg(run.pid, signal.SIGKILL)
            screen = top.wait_for(lambda screen: re.search(r"blind since \d\d:\d\d:\d\d: the service was killed", screen))
            assert "[1 workers 4]" in screen


def test_it_opens_no_socket(log_dir: Path) -> None:
    """It reads files: neither a socket is open nor, where strace is at hand, one ever made."""
    with on_terminal("top", "--log_dir", str(log_dir), cwd=log_dir.parent) as top:
        top.wait_for(lambda screen: "[1 workers" in screen)
        links = [str(link.readlink()) for link in Path(f"/proc/{top.pid}/fd").iterdir()]
        assert [link for link in links if link.startswith("socket:")] == []
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("without strace, only what is open can be seen")
    words = command("top", "--log_dir", str(log_dir), "--once")
    ran = subprocess.run(
        [strace, "-f", "-qq", "-e", "trace=network", *words], env=environment(), capture_output=True, text=True, check=True
    )
    assert "" == ran.stderr


def test_it_is_light(log_dir: Path) -> None:
    """It imports neither the driver nor what else it has no use for, and stays small with a frame on the screen."""
    never = "{'numpy', 'pysqream', 'structlog', 'rich.console', 'yaml', 'watchdog', 'asyncio', 'ssl', 'socket', 'zstandard'}"
    code = f"import sys, sqmon.cli.main, sqmon.cli.top; print(*{never} & set(sys.modules))"
    assert "\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with on_terminal("top", "--log_dir", str(log_dir), cwd=log_dir.parent) as top:
        top.wait_for(lambda screen: "[1 workers" in screen)
        (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{top.pid}/status").read_text("ascii"), re.MULTILINE)
        assert int(peak) < 40 << 10


def test_printed_frame_is_plain(log_dir: Path) -> None:
    """Piped, one frame without colours or cursor movement has every row in full."""
    shown = ended("top", "--log_dir", str(log_dir), "--view", "locks", cwd=log_dir.parent, TERM="xterm-256color")

    assert (0, "") == (shown.code, shown.stderr)
    assert "\x1b" not in shown.stdout
    assert "[4 locks" in shown.stdout
    assert r"delete from t where x = '\x1b]0;gotcha\x07\x1b[2J'" in shown.stdout


def test_programs_get_the_moment_as_json(log_dir: Path) -> None:
    """--json is the records of the moment and what follows from them."""
    told = json.loads(ended("top", "--log_dir", str(log_dir), "--json", cwd=log_dir.parent).stdout)

    assert ("prod", "fine") == (told["cluster"], told["health"]["level"])
    (wait,) = told["waits"]
    assert ("reporting", "Exclusive") == (wait["username"], wait["rule"].split()[0])
    assert {wait["blocked_by"]} == {lock["statement_id"] for lock in told["locks"]}
    assert CUT_OFF in [statement["statement"] for statement in told["running"]]
    assert (4, []) == (len(told["workers"]), told["workers_gone"])
    assert METRICS.keys() == told["metrics"].keys()


def test_copies_of_the_files_show_the_same(log_dir: Path, tmp_path: Path) -> None:
    """A copy of the directory shows the same moment, and says that no service is there now."""
    shutil.copytree(log_dir, tmp_path / "copy", ignore=shutil.ignore_patterns(".lock", "current"), symlinks=True)
    at = ended("top", str(log_dir), "--json", cwd=tmp_path)
    copy = json.loads(ended("top", str(tmp_path / "copy"), "--json", "--at", json.loads(at.stdout)["at"][:19] + "Z", cwd=tmp_path).stdout)
    now = json.loads(ended("top", str(tmp_path / "copy"), "--json", cwd=tmp_path).stdout)

    assert "fine" == copy["health"]["level"]
    assert "killed" in now["health"]["text"]
    assert [lock["locked_object"] for lock in json.loads(at.stdout)["locks"]] == [lock["locked_object"] for lock in copy["locks"]]


def test_bundle_shows_its_end(log_dir: Path, tmp_path: Path) -> None:
    """A bundle is read in place: it shows the moment at which it ends, with the name of the cluster, and any time before."""
    assert 0 == ended("bundle", str(log_dir), "-o", "site.tar.zst", cwd=tmp_path).code
    told = json.loads(ended("top", "site.tar.zst", "--json", cwd=tmp_path).stdout)

    assert ("prod", "fine", 1) == (told["cluster"], told["health"]["level"], len(told["waits"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "sqmon: nowhere: can't be read: no such file or directory\n"),
        (["--log_dir", "."], "sqmon: .: no events of a service here; give the --log_dir of one, a bundle or a file of one\n"),
    ],
)
def test_what_can_not_be_shown_is_told_in_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    """Where there is nothing to read, one line says so."""
    shown = ended("top", *words, cwd=tmp_path)

    assert (1, "", message) == (shown.code, shown.stdout, shown.stderr)


def test_several_clusters_are_told_apart(tmp_path: Path) -> None:
    """Where a directory holds several clusters, one has to be chosen."""
    for name in ("prod", "test"):
        (tmp_path / name / "sqmon").mkdir(parents=True)

    shown = ended("top", "--log_dir", str(tmp_path), cwd=tmp_path)
    assert (1, f"sqmon: {tmp_path}: holds several clusters (prod, test); choose one with --cluster, or give its directory\n") == (
        shown.code,
        shown.stderr,
    )
