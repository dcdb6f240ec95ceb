"""The status file: read whole or not at all, and always there."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from sqmon.health import status_file
from sqmon.health.status_file import MetricStatus, Status, StatusFile
from sqmon.simulator import Simulator
from tests.support.program import service, wait_until


def status(generation: int, metrics: int = 0) -> Status:
    """A status of that many metrics."""
    described = [MetricStatus(name="m" * 50, state="polling", healthy=True, interval=1) for _ in range(metrics)]
    return Status(generation=generation, version="", pid=1, started="", updated_ns=0, metrics=described, end=generation)


def test_reader_never_sees_a_half_written_status(tmp_path: Path) -> None:
    """Every reading of a file that is overwritten in place is a whole status, though long and short ones alternate."""
    file = StatusFile(tmp_path)
    for generation in range(1, 200):
        written = status(generation, generation % 7 * 5)
        file.write(written)

        assert written == status_file.read(tmp_path)
    file.close()
    torn = msgspec.json.encode(Status(generation=5, version="", pid=1, started="", updated_ns=0, end=4))
    (tmp_path / status_file.NAME).write_bytes(torn)

    assert status_file.read(tmp_path) is None


def test_removed_status_is_made_again(simulator: Simulator, tmp_path: Path) -> None:
    """A status that a cleaner removed, or replaced by a link, is there again with the next one."""
    with service(simulator.port, tmp_path / "logs", metrics={"show_locks": 0.2}) as run:
        run.wait_for_polls("show_locks")
        wait_until(lambda: status_file.read(run.log_dir))
        (run.log_dir / status_file.NAME).unlink()
        wait_until(lambda: status_file.read(run.log_dir))
        elsewhere = tmp_path / "elsewhere"
        (run.log_dir / status_file.NAME).unlink()
        (run.log_dir / status_file.NAME).symlink_to(elsewhere)
        wait_until(lambda: (log := run.stderr) and "status not written" in log)
        (run.log_dir / status_file.NAME).unlink()

        assert wait_until(lambda: status_file.read(run.log_dir))
        assert not elsewhere.exists()


def test_group_may_read_the_status(tmp_path: Path) -> None:
    """The agent's and the operator's group reads it whatever the umask is."""
    before = os.umask(0o077)
    try:
        file = StatusFile(tmp_path)
        file.write(status(1))
        file.close()
    finally:
        os.umask(before)

    assert (tmp_path / status_file.NAME).stat().st_mode & 0o777 == 0o640


def test_status_that_cannot_be_written_is_a_trouble(tmp_path: Path) -> None:
    """It raises nothing, and the trouble is over when it is."""
    file = StatusFile(tmp_path / "absent")
    file.write(status(1))
    assert file.trouble == f"{tmp_path / 'absent' / status_file.NAME}: no such file or directory"

    (tmp_path / "absent").mkdir()
    file.write(status(2))
    assert file.trouble == ""
    file.close()
