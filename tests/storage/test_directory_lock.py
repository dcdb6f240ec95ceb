"""The lock of a log directory, and its fate when somebody changes the directory under the running service."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from sqmon.cli.status import HEALTHY, NOT_RUNNING
from sqmon.errors import SqmonError
from sqmon.simulator import Simulator
from sqmon.storage.directory_lock import DirectoryLock, is_locked
from sqmon.storage.reader import StreamReader
from tests.support.program import Service, ended, metrics_file, service, wait_until
from tests.support.segment_files import fill, small_disk
from tests.support.users import as_nobody

METRICS = {"show_locks": 0.2}
MINE = os.getpid()


def test_directory_has_one_holder(tmp_path: Path) -> None:
    """A second service is told the process id of the first, and anybody can ask whether there is one."""
    log_dir = tmp_path / "new" / "logs"
    assert not is_locked(log_dir)
    with DirectoryLock(log_dir) as lock:
        with pytest.raises(SqmonError, match=rf"already running here \(pid {MINE}\); stop it"), DirectoryLock(log_dir):
            pass
        assert (is_locked(log_dir), lock.renew()) == (True, "")
    assert not is_locked(log_dir)


def test_lock_file_that_is_removed_does_not_free_the_directory(tmp_path: Path) -> None:
    """Removing the lock file lets nobody in, and the holder makes it again."""
    with DirectoryLock(tmp_path) as lock:
        (tmp_path / ".lock").unlink()
        with pytest.raises(SqmonError, match="already running here; stop it"), DirectoryLock(tmp_path):
            pass
        assert is_locked(tmp_path)
        assert lock.renew() == f"{tmp_path}/.lock was removed or replaced; the lock was taken again"
        assert ((tmp_path / ".lock").read_text("ascii"), lock.renew()) == (f"{MINE}\n", "")


def test_directory_that_is_replaced_is_locked_again(tmp_path: Path) -> None:
    """A directory that was removed, moved or replaced by a link is locked where the next service would look."""
    log_dir = tmp_path / "logs"
    with DirectoryLock(log_dir) as lock:
        shutil.rmtree(log_dir)
        assert lock.renew() == f"{log_dir} was removed or replaced; the lock was taken again"
        log_dir.rename(tmp_path / "moved")
        assert "was removed or replaced" in lock.renew()
        log_dir.rename(tmp_path / "moved again")
        log_dir.symlink_to("moved again")
        assert lock.renew() == ""
        assert is_locked(log_dir)
        assert not is_locked(tmp_path / "moved")


def test_directory_that_cannot_be_made_again_is_tried_again(tmp_path: Path) -> None:
    """What stands in the place of the directory is an error until it is gone."""
    log_dir = tmp_path / "logs"
    with DirectoryLock(log_dir) as lock:
        shutil.rmtree(log_dir)
        log_dir.write_text("in the way")
        for _ in range(2):
            with pytest.raises(OSError, match="Not a directory"):
                lock.renew()
        log_dir.unlink()
        assert "the lock was taken again" in lock.renew()


def test_directory_that_another_service_has_by_now_is_left_to_it(tmp_path: Path) -> None:
    """A directory that another service has taken is left to it, and the error says who has it."""
    (tmp_path / "one").mkdir()
    log_dir = tmp_path / "logs"
    log_dir.symlink_to("one")
    with DirectoryLock(log_dir) as first, DirectoryLock(tmp_path / "two"):
        log_dir.unlink()
        log_dir.symlink_to("two")
        with pytest.raises(SqmonError, match=rf"another sqmon \(pid {MINE}\) has taken over; this one ends"):
            first.renew()


def test_lock_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    """A full disk doesn't prevent a start, and the lock file is made when there is room."""
    with small_disk(tmp_path / "disk", options=",nr_inodes=3") as disk:
        (disk / "logs").mkdir()
        filler = fill(disk)
        with DirectoryLock(disk / "logs") as lock:
            assert not (disk / "logs/.lock").exists()
            assert (lock.renew(), is_locked(disk / "logs")) == ("", True)
            filler.unlink()
            assert (lock.renew(), (disk / "logs/.lock").exists()) == ("", True)


def test_question_of_a_reader_keeps_no_service_from_starting(tmp_path: Path) -> None:
    """A starting service waits for a reader that holds the lock for the moment of its question."""
    (tmp_path / ".lock").touch()
    pid = os.fork()
    if not pid:
        descriptor = os.open(tmp_path / ".lock", os.O_RDONLY)
        for _ in range(3000):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os._exit(0)
    for _ in range(30):
        with DirectoryLock(tmp_path):
            pass
    os.waitpid(pid, 0)


def test_reader_without_rights_is_told_so(shared_path: Path) -> None:
    """A reader without rights is told so, not that there is no service."""
    with DirectoryLock(shared_path / "logs"):
        (shared_path / "logs").chmod(0o700)
        with as_nobody(), pytest.raises(SqmonError, match="this user may not read it"):
            is_locked(shared_path / "logs")


def status_code(run: Service) -> int:
    """Return what `sqmon status` says as an exit code."""
    return ended("status", "--log_dir", str(run.log_dir), cwd=run.log_dir.parent).code


def test_cleaner_that_removes_the_lock_lets_nobody_in(simulator: Simulator, tmp_path: Path) -> None:
    """When the lock file is removed the status still finds the service, a second one is refused, and an event says so."""
    with service(simulator.port, tmp_path / "logs", metrics=METRICS) as run:
        run.wait_for_polls("show_locks")
        wait_until(lambda: status_code(run) == HEALTHY)
        (tmp_path / "logs/.lock").unlink()

        assert status_code(run) == HEALTHY
        second = ended("run", "--log_dir", str(run.log_dir), "--port", str(simulator.port), cwd=tmp_path)
        assert (second.code, second.stderr.count("\n")) == (1, 1)
        assert "sqmon is already running here" in second.stderr
        found = run.wait_for("log_dir_changed", level="warning")
        assert found["text"] == f"{run.log_dir}/.lock was removed or replaced; the lock was taken again"
        assert run.end() == 0
        assert run.events("gap") == []


@pytest.mark.parametrize("how", ["removed", "moved", "linked"])
def test_directory_that_goes_under_the_service_comes_again(simulator: Simulator, tmp_path: Path, how: str) -> None:
    """When the directory goes, lock, status and streams come again, an event says why, and a gap names the lost lines."""
    log_dir, elsewhere = tmp_path / "logs", tmp_path / "elsewhere"
    if how == "linked":
        elsewhere.mkdir()
        log_dir.symlink_to("elsewhere")
    with service(simulator.port, log_dir, metrics=METRICS) as run:
        run.wait_for_polls("show_locks")
        before = run.records("show_locks")
        if how == "removed":
            shutil.rmtree(log_dir, ignore_errors=True)
        elif how == "moved":
            log_dir.rename(elsewhere)
        else:
            (tmp_path / "new").mkdir()
            (tmp_path / "link").symlink_to("new")
            (tmp_path / "link").replace(log_dir)

        run.wait_for("log_dir_changed", text=f"{log_dir} was removed or replaced; the lock was taken again")
        run.wait_for_polls("show_locks")
        wait_until(lambda: status_code(run) == HEALTHY)
        assert "already running" in ended("run", "--log_dir", str(log_dir), "--port", str(simulator.port), cwd=tmp_path).stderr
        assert run.end() == 0
        if how == "removed":
            run.accounted("show_locks")
        else:
            assert run.events("gap") == []
            there, here = list(StreamReader(elsewhere, "show_locks").read()), run.records("show_locks")
            assert there[: len(before)] == before
            assert [record["seq"] for record in there + here] == list(range(1, len(there) + len(here) + 1))


def test_directory_that_becomes_a_link_to_itself_is_the_same(simulator: Simulator, tmp_path: Path) -> None:
    """Moving the directory and leaving a link to it loses nothing and takes no lock anew."""
    log_dir, elsewhere = tmp_path / "logs", tmp_path / "elsewhere"
    with service(simulator.port, log_dir, metrics=METRICS) as run:
        run.wait_for_polls("show_locks")
        elsewhere.symlink_to("elsewhere")
        exchange(elsewhere, log_dir)

        run.wait_for_polls("show_locks", count=10)
        assert run.end() == 0
        run.accounted("show_locks")
        assert (run.events("gap"), run.events("log_dir_changed")) == ([], [])


def exchange(one: Path, other: Path) -> None:
    """Let two paths change places in one step, so that nobody can see one of them missing."""
    here, flag = -100, 2
    assert ctypes.CDLL(None).renameat2(here, os.fsencode(one), here, os.fsencode(other), flag) == 0


def test_service_ends_when_another_has_its_directory(simulator: Simulator, tmp_path: Path) -> None:
    """A service whose directory another has says so in one line, stops its workers and exits with 1."""
    (tmp_path / "one").mkdir()
    log_dir = tmp_path / "logs"
    log_dir.symlink_to("one")
    with service(simulator.port, log_dir, metrics=METRICS) as run, DirectoryLock(tmp_path / "two"):
        run.wait_for_polls("show_locks")
        (tmp_path / "other").symlink_to("two")
        (tmp_path / "other").replace(log_dir)

        assert wait_until(lambda: run.ended and run.process.returncode) == 1
        assert run.stderr.splitlines()[-1] == f"sqmon: {log_dir}: another sqmon (pid {MINE}) has taken over; this one ends"
        wait_until(run.fell_silent)


def test_service_starts_on_a_full_disk(simulator: Simulator, tmp_path: Path) -> None:
    """A service that starts on a full disk keeps its first lines in memory until there is room."""
    options = ("--metrics_file", str(metrics_file(tmp_path, METRICS)))
    with small_disk(tmp_path / "disk") as disk:
        (disk / "logs").mkdir()
        filler = fill(disk)
        with service(simulator.port, disk / "logs", *options, log=tmp_path / "stderr") as run:
            wait_until(lambda: "no space left on device" in run.stderr)
            assert not run.ended
            filler.unlink()
            run.wait_for_polls("show_locks")
            wait_until(lambda: status_code(run) == HEALTHY)
            assert run.end() == 0
            run.accounted("show_locks")


def test_status_without_a_service(tmp_path: Path) -> None:
    """A lock file that nobody holds is no service."""
    (tmp_path / ".lock").write_text("1\n", "ascii")

    assert ended("status", "--log_dir", str(tmp_path), cwd=tmp_path).code == NOT_RUNNING
