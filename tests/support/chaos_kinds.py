"""The kinds of chaos: each is a generator that breaks something, waits for the seconds that it yields, and mends it again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional

from sqmon.simulator import Simulator
from tests.support.collector import Collector
from tests.support.faults import HostFaults
from tests.support.program import Service, session_processes
from tests.support.segment_files import fill

INODES = 2000
"""How many files the small disk can hold."""


@dataclass
class Site:
    """The service, its database, its host, and the reader of its files."""

    rng: random.Random
    running: Service
    simulator: Simulator
    faults: HostFaults
    collector: Collector
    disk: Path
    """Holds the log directory, the metrics file and the password file."""
    metrics: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)
    passwords: int = 0
    """How often the password was changed."""
    password: str = "sqream"
    """What it is now."""

    @property
    def log_dir(self) -> Path:
        """Where the segments are."""
        return self.disk / "logs"

    @property
    def metrics_file(self) -> Path:
        """Where the metrics are configured."""
        return self.disk / "metrics.json"

    def replace(self, path: Path, content: bytes) -> None:
        """Save a file as editors do, or by writing into it; a full disk may be in the way."""
        with contextlib.suppress(OSError):
            if self.rng.random() < 0.5:
                fresh = path.with_name(f".{path.name}.new")
                fresh.write_bytes(content)
                fresh.replace(path)
            else:
                path.write_bytes(content)

    def children(self) -> list[int]:
        """Return the processes of the service but the supervisor."""
        return [pid for pid in session_processes(self.running.pid) if pid != self.running.pid]

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process that may be gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def heal(self) -> None:
        """Put back what the service needs to work again."""
        self.simulator.clear_faults()
        (self.disk / "password").write_text(f"{self.password}\n", "utf-8")
        self.metrics_file.write_text(json.dumps(self.metrics), "utf-8")
        self.running.process.send_signal(signal.SIGHUP)

    def refused_too_many(self) -> int:
        """Return how many refused logins the server saw beyond the one that each change of the password may cost."""
        return max(0, int(self.simulator.stats()["failed_logins"]) - self.passwords)


def reload_valid(site: Site) -> Iterator[float]:
    """Other intervals, fewer metrics; the last word is what is healed to."""
    kept = site.rng.sample(sorted(site.metrics), site.rng.randint(1, len(site.metrics)))
    site.replace(site.metrics_file, json.dumps({name: site.rng.choice([0.1, 0.2, 0.5, 1]) for name in kept}).encode())
    yield site.rng.uniform(0.5, 3)


def reload_garbage(site: Site) -> Iterator[float]:
    """Random bytes, JSON that is cut off, nested deeply, or full of absurd numbers; then what was there before."""
    good = json.dumps(site.metrics).encode()
    cut = site.rng.randrange(len(good))
    bad = site.rng.choice(
        [
            site.rng.randbytes(site.rng.randint(0, 5000)),
            good[:cut],
            good[:cut] + bytes([site.rng.randrange(256)]) + good[cut + 1 :],
            b"[" * 100_000,
            b'{"show_locks": ' + b"9" * 5000 + b"}",
            b'{"\\ud800": 1}',
            b"",
        ]
    )
    site.replace(site.metrics_file, bad)
    yield site.rng.uniform(0.2, 3)
    site.replace(site.metrics_file, good)


def sighup(site: Site) -> Iterator[float]:
    """A storm of SIGHUP."""
    for _ in range(site.rng.randint(1, 20)):
        site.signal(site.running.pid, signal.SIGHUP)
    yield 0.1


def clock_step(site: Site) -> Iterator[float]:
    """The clock steps by seconds or hours, ahead or back, and later to the truth."""
    site.faults.step_clock(site.rng.choice([-1, 1]) * site.rng.choice([0.3, 2.0, 60.0, 7200.0]))
    yield site.rng.uniform(0.5, 4)
    site.faults.step_clock(-site.faults.clock_offset_s)


def pause_one(site: Site) -> Iterator[float]:
    """One process, the supervisor or the forkserver perhaps, stands still for a while."""
    pid = site.rng.choice(session_processes(site.running.pid))
    site.signal(pid, signal.SIGSTOP)
    yield site.rng.choice([0.2, 1.0, 4.0])
    site.signal(pid, signal.SIGCONT)


def pause_all(site: Site) -> Iterator[float]:
    """Everything stands still, as in a snapshot."""
    os.killpg(site.running.pid, signal.SIGSTOP)
    yield site.rng.choice([0.5, 3.0, 12.0])
    os.killpg(site.running.pid, signal.SIGCONT)


def kill_child(site: Site) -> Iterator[float]:
    """A child, the forkserver perhaps, is killed."""
    children = site.children()
    if children:
        site.signal(site.rng.choice(children), signal.SIGKILL)
    yield 0.1


def remove_files(site: Site) -> Iterator[float]:
    """A file, a metric's directory or all of it is removed, moved away or replaced."""
    site.collector.read()
    there = [path for path in site.log_dir.rglob("*") if path.name != "lost+found"]
    victim = site.rng.choice([*there, site.log_dir])
    deed: Callable[[Path], Any] = site.rng.choice([_remove, _move_away, _replace])
    with contextlib.suppress(OSError):
        deed(victim)
    yield 5.0
    with contextlib.suppress(OSError):
        _remove(_moved(victim))  # retention never sees it, and it would fill the disk


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _move_away(path: Path) -> None:
    path.replace(_moved(path))


def _moved(path: Path) -> Path:
    return path.with_name(f"{path.name}.moved")


def _replace(path: Path) -> None:
    if path.is_file():
        fresh = path.with_name(f"{path.name}.fresh")
        fresh.write_bytes(b"")
        fresh.replace(path)


def slow_fsync(site: Site) -> Iterator[float]:
    """The disk takes its time."""
    site.faults.fsync(sleep_s=site.rng.choice([0.5, 3.0, 8.0]))
    yield site.rng.uniform(1, 8)
    site.faults.fsync()


def failing_fsync(site: Site) -> Iterator[float]:
    """The disk refuses."""
    site.faults.fsync(error=errno.EIO)
    yield site.rng.uniform(1, 6)
    site.faults.fsync()


def full_disk(site: Site) -> Iterator[float]:
    """No byte is free for a while."""
    filler = fill(site.disk) if site.disk.is_mount() else None
    yield site.rng.uniform(0.5, 4)
    if filler is not None:
        filler.unlink(missing_ok=True)


def no_inodes(site: Site) -> Iterator[float]:
    """No file can be made for a while."""
    made: list[Path] = []
    if site.disk.is_mount():
        with contextlib.suppress(OSError):
            for number in range(2 * INODES):
                path = site.disk / f"inode-{number}"
                path.touch()
                made.append(path)
    yield site.rng.uniform(0.5, 4)
    for path in made:
        path.unlink()


def no_descriptors(site: Site) -> Iterator[float]:
    """The supervisor, or a child, may open nothing more for a while."""
    pid = site.rng.choice(session_processes(site.running.pid))
    limits: Optional[tuple[int, int]] = None
    with contextlib.suppress(OSError):
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (site.rng.randint(3, 12), limits[1]))
    yield site.rng.uniform(0.5, 3)
    if limits is not None:
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def password(site: Site) -> Iterator[float]:
    """The server's password changes, sessions are cut, and the password file follows later."""
    site.passwords += 1
    fresh = site.password = f"secret-{site.passwords}"
    site.simulator.set_password(fresh)
    if site.rng.random() < 0.7:
        site.simulator.stop_worker()
        site.simulator.start_worker()
    yield site.rng.uniform(1, 6)
    path = site.disk / "password"
    for _ in range(100):
        with contextlib.suppress(OSError):
            path.write_text(f"{fresh}\n", "utf-8")
            if path.read_text("utf-8") == f"{fresh}\n":
                break
        yield 0.2


def database_gone(site: Site) -> Iterator[float]:
    """The database is restarted."""
    site.simulator.stop_worker()
    yield site.rng.choice([0.0, 0.5, 3.0])
    site.simulator.start_worker()


def database_sick(site: Site) -> Iterator[float]:
    """A step of a statement or of the login hangs, ends, is slow or answers nonsense."""
    step = site.rng.choice(["connect", "prepare", "execute", "fetch", "payload"])
    action = site.rng.choice(["close", "rst", "error", "garbage", "slow"])
    site.simulator.set_fault(step=step, action=action, seconds=0.5 if action == "slow" else None, times=site.rng.randint(1, 5))
    yield site.rng.uniform(0.2, 2)
    site.simulator.clear_faults()


KINDS: Mapping[str, Callable[[Site], Iterator[float]]] = {
    kind.__name__: kind
    for kind in (
        reload_valid,
        reload_garbage,
        sighup,
        clock_step,
        pause_one,
        pause_all,
        kill_child,
        remove_files,
        slow_fsync,
        failing_fsync,
        full_disk,
        no_inodes,
        no_descriptors,
        password,
        database_gone,
        database_sick,
    )
}
