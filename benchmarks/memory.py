"""Where each MiB of the running service is: its processes by kind of memory, beside a bare interpreter and a service of another checkout.

Everything is PSS, the kernel's fair share of pages. `own` pages are those that one more worker costs; `shared` ones came with the fork.

Usage: python -m benchmarks.memory [--metrics N] [--seconds N] [--rival DIRECTORY]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, NamedTuple

from benchmarks.many_metrics import processes
from sqmon.simulator import Simulator

_KINDS = ("code and libraries", "shared with others", "own")


class Memory(NamedTuple):
    """The memory of one process, in MiB."""

    code: float
    """Its share of the pages that are mapped from files and unchanged."""
    shared: float
    """Its share of the changed pages that it has in common with other processes: those from before the fork."""
    own: float
    """Changed pages that are its own."""

    @property
    def pss(self) -> float:
        """The proportional set size."""
        return sum(self)


def memory_of(pid: int) -> Memory:
    """Return the memory of a living process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    kib = {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    own = kib["Private_Dirty"]
    return Memory((kib["Pss"] - kib["Pss_Anon"]) / 1024, (kib["Pss_Anon"] - own) / 1024, own / 1024)


@contextlib.contextmanager
def service(checkout: Path, metrics: int) -> Iterator[int]:
    """Yield the id of the running service of a checkout, whose own interpreter runs it if it has one."""
    python = checkout / ".venv/bin/python"
    with tempfile.TemporaryDirectory() as directory, Simulator() as simulator:
        command = [str(python) if python.exists() else sys.executable, "-m", "sqmon", "run", "--host", "127.0.0.1"]
        command += ["--port", str(simulator.port), "--log_file_path", f"{directory}/logs{os.sep}", "--log_level", "error"]
        if metrics:
            entry = {"interval": 1, "query": "select show_cluster_nodes()"}
            (Path(directory) / "metrics.json").write_text(json.dumps({f"m{number:03}": entry for number in range(metrics)}), "utf-8")
            command += ["--metrics_file", f"{directory}/metrics.json"]
        with subprocess.Popen(command, cwd=directory, start_new_session=True) as process:
            try:
                yield process.pid
            finally:
                process.terminate()


def measured(checkout: Path, metrics: int, seconds: float) -> list[tuple[str, Memory]]:
    """Return the memory of each process, by what it is, after `seconds`."""
    with service(checkout, metrics) as supervisor:
        time.sleep(seconds)
        others = sorted(set(processes(supervisor)) - {supervisor}, key=lambda pid: Path(f"/proc/{pid}").stat().st_ctime_ns)
        names = ["supervisor", "forkserver", *(f"worker {number}" for number in range(1, len(others)))]
        return list(zip(names, map(memory_of, [supervisor, *others])))


def bare() -> Memory:
    """Return the memory of an interpreter that does nothing: no process of Python is smaller."""
    with subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE) as process:
        time.sleep(0.5)
        found = memory_of(process.pid)
        process.kill()
    return found


def total(found: list[tuple[str, Memory]]) -> Memory:
    """Return the sum of all processes."""
    return Memory(*map(sum, zip(*(memory for _, memory in found))))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--metrics", type=int, default=0, help="0: the built-in five (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rival", type=Path, help="another checkout, measured in the same run")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measured(Path(__file__).parent.parent, args.metrics, args.seconds)
    rows = [("bare interpreter", bare()), *found, ("sqmon, all", total(found))]
    if args.rival is not None:
        rows.append(("rival, all", total(measured(args.rival, args.metrics, args.seconds))))
    if args.json:
        print(json.dumps({name: {**memory._asdict(), "pss": memory.pss} for name, memory in rows}))
        return
    print(f"{'MiB (PSS)':18}{'all':>8}" + "".join(f"{kind:>21}" for kind in _KINDS))
    for name, memory in rows:
        print(f"{name:18}{memory.pss:8.1f}" + "".join(f"{size:21.1f}" for size in memory))


if __name__ == "__main__":
    main()
