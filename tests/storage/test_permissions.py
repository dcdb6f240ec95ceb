"""The modes of everything that the service makes, under any umask and on file systems without modes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sqmon.simulator import Simulator
from tests.support import ROOT
from tests.support.program import service
from tests.support.refusing import UNSUPPORTED
from tests.support.segment_files import segments

METRICS = {"show_locks": 0.2}


def modes(log_dir: Path) -> dict[str, int]:
    """Return the mode of each directory and file below `log_dir`, itself included, by its path; links have none."""
    paths = [log_dir, *log_dir.rglob("*")]
    return {str(path.relative_to(log_dir.parent)): stat.S_IMODE(path.stat().st_mode) for path in paths if not path.is_symlink()}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(simulator: Simulator, tmp_path: Path, umask: int) -> None:
    """The group can read directories and files, and others can't, whatever the umask."""
    before = os.umask(umask)
    try:
        with service(simulator.port, tmp_path / "var" / "logs", metrics=METRICS) as run:
            run.wait_for_polls("show_locks")
            found = modes(run.log_dir)
            assert run.end() == 0
    finally:
        os.umask(before)

    assert {"logs", "logs/current", "logs/sqmon", "logs/show_locks"} <= {path for path, mode in found.items() if mode == 0o750}
    assert {"logs/.lock", "logs/status.json"} < {path for path, mode in found.items() if mode == 0o640}
    assert set(found.values()) == {0o750, 0o640}


def test_modes_of_a_single_file(simulator: Simulator, tmp_path: Path) -> None:
    """The group can read a single file."""
    path = tmp_path / "new" / "all.jsonl"
    before = os.umask(0o077)
    try:
        with service(simulator.port, tmp_path / "unused", "--log_file_path", str(path), metrics=METRICS) as run:
            while not (path.exists() and b'"poll"' in path.read_bytes()):
                assert not run.ended, run.stderr
            assert run.end() == 0
    finally:
        os.umask(before)

    assert modes(path.parent) == {"new": 0o750, "new/all.jsonl": 0o640, "new/all.jsonl.lock": 0o640}


def test_setgid_group_is_handed_down(simulator: Simulator, tmp_path: Path) -> None:
    """The group of a setgid directory is handed down."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to another group")
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    os.chown(log_dir, -1, 12345)
    log_dir.chmod(0o2750)
    with service(simulator.port, log_dir, metrics=METRICS) as run:
        run.wait_for_polls("show_locks")
        assert run.end() == 0

    assert {path.lstat().st_gid for path in log_dir.rglob("*")} == {12345}
    assert {mode for path, mode in modes(log_dir).items() if (log_dir.parent / path).is_dir()} == {0o2750}


CODE = """
import sys
from pathlib import Path
from sqmon.config.settings import SegmentOptions
from sqmon.storage.directory_lock import DirectoryLock
from tests.support.refusing import CHMOD, SYMLINK, refuse
from tests.support.segment_files import Stream

refuse(*CHMOD, *SYMLINK)
try:
    Path(sys.argv[1]).parent.chmod(0o755)
except PermissionError:
    pass
else:
    sys.exit("chmod works")
with DirectoryLock(Path(sys.argv[1])):
    stream = Stream(Path(sys.argv[1]), SegmentOptions(max_bytes=500))
    for _ in range(5):
        stream.poll(1)
    print(stream.writer.trouble, stream.writer.settled_seq)
    stream.writer.close()
"""


def test_file_system_that_refuses_modes_and_links(tmp_path: Path) -> None:
    """On a file system that refuses modes and links every record is written, without a stray file or a complaint."""
    run = subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "logs")], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode == UNSUPPORTED:
        pytest.skip("no seccomp filter can be set here")

    assert (run.stdout, run.stderr) == (" 5\n", "")
    assert [path.stat().st_size > 0 for path in segments(tmp_path / "logs")] == [True] * 3
    assert [path.name for path in (tmp_path / "logs").rglob("*") if path.is_file() and path.suffix != ".jsonl"] == [".lock"]
