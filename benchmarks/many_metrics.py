"""Many metrics at once against the simulator: ticks missed, how late polls begin, memory and processor time of the whole service.

Memory is PSS, the kernel's fair share of pages, summed over the service's processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Optional

from sqmon.simulator import Simulator
from sqmon.storage.reader import StreamReader

_TICKS = os.sysconf("SC_CLK_TCK")


def processes(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text("utf-8", "replace").rpartition(")")[2].split()[3]) == session:
                found.append(int(stat.parent.name))
    return found


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a process."""
    match = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"), re.MULTILINE)
    return int(match[1]) / 1024 if match else 0.0


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def measure(metrics: Optional[dict[str, object]], seconds: float) -> dict[str, object]:
    """Run the service for `seconds` and return the figures."""
    with tempfile.TemporaryDirectory() as directory, Simulator() as simulator:
        logs = Path(directory) / "logs"
        command = [sys.executable, "-m", "sqmon", "run", "--host", "127.0.0.1", "--port", str(simulator.port)]
        command += ["--log_file_path", f"{logs}{os.sep}", "--log_level", "error"]
        if metrics is not None:
            (Path(directory) / "metrics.json").write_text(json.dumps(metrics), "utf-8")
            command += ["--metrics_file", f"{directory}/metrics.json"]
        service = subprocess.Popen(command, cwd=directory, start_new_session=True)
        time.sleep(seconds)
        pids = processes(service.pid)
        memory = {pid: pss_mib(pid) for pid in pids}
        cpu = sum(map(cpu_seconds, pids))
        supervisor = cpu_seconds(service.pid)
        service.send_signal(signal.SIGTERM)
        service.wait(30)
        events = list(StreamReader(logs, "sqmon").read())
    polls = [event for event in events if event["event"] == "poll" and event["status"] != "skipped"]
    late = sorted(poll["late_ms"] for poll in polls)
    workers = [figure for pid, figure in sorted(memory.items())[2:]]
    return {
        "processes": len(pids),
        "polls": len(polls),
        "bad_polls": sum(poll["status"] not in ("ok", "empty") for poll in polls),
        "ticks_missed": sum(event.get("skipped") or 0 for event in events),
        "late_ms_p50": late[len(late) // 2],
        "late_ms_p99": late[int(len(late) * 0.99)],
        "late_ms_max": late[-1],
        "poll_ms_p50": statistics.median(poll["duration_ms"] for poll in polls),
        "cpu_seconds": round(cpu, 2),
        "cpu_percent_of_a_core": round(100 * cpu / seconds, 2),
        "supervisor_cpu_seconds": round(supervisor, 2),
        "pss_mib": round(sum(memory.values()), 1),
        "pss_mib_per_worker": round(statistics.mean(workers), 2),
        "pss_mib_by_process": [round(figure, 1) for figure in memory.values()] if len(memory) < 20 else None,
    }


def main() -> None:
    """Measure the default five, or N metrics at an interval, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=int, default=200, help="0: the built-in five at their own intervals (default: %(default)s)")
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    entry = {"interval": args.interval, "query": "select show_cluster_nodes()"}
    figures = measure({f"m{number:03}": entry for number in range(args.metrics)} or None, args.seconds)
    if args.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        if figure is not None:
            print(f"{name:24} {figure}")


if __name__ == "__main__":
    main()
