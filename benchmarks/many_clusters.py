"""Many clusters in one service while three of them are in trouble: memory, how late polls begin, and ticks missed by the others.

One cluster accepts connections and never answers, one refuses the login, and one holds 100,000 locks. The simulators run in processes of
their own, on the same machine. Memory is PSS, the kernel's fair share of pages, summed over the service's processes.

Usage: python -m benchmarks.many_clusters [--clusters N] [--seconds N] [--locks N] [--lifetimes on|off] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

from benchmarks.many_metrics import cpu_seconds, processes, pss_mib
from sqmon.simulator import Simulator
from sqmon.storage.reader import StreamReader

_HOLED, _REFUSING, _FLOODED = "holed", "refusing", "flooded"
_SETTLE_SECONDS = 20.0
_ALIKE = """
import signal
from contextlib import ExitStack
from sqmon.simulator import Simulator
with ExitStack() as stack:
    servers = [stack.enter_context(Simulator(**{options!r})) for _ in range({number})]
    print(*(server.port for server in servers), flush=True)
    signal.sigwait([signal.SIGTERM])
"""


@contextlib.contextmanager
def simulators(number: int, **options: Any) -> Iterator[list[int]]:
    """Yield the ports of as many simulated servers, all in one process."""
    code = _ALIKE.format(options=options, number=number)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield [int(port) for port in process.stdout.readline().split()]
        finally:
            process.terminate()


def measure(clusters: int, seconds: float, locks: int, lifetimes: str) -> dict[str, object]:
    """Run the service for `seconds` after all clusters have started, and return the figures."""
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = {f"c{number:02}": port for number, port in enumerate(stack.enter_context(simulators(clusters - 3, rows_locks=2)))}
        (ports[_FLOODED],) = stack.enter_context(simulators(1, rows_locks=locks))
        refusing, holed = stack.enter_context(Simulator()), stack.enter_context(Simulator())
        refusing.set_password("another")
        holed.set_fault("*", step="connect", action="hang")
        ports |= {_REFUSING: refusing.port, _HOLED: holed.port}
        directory = place / "clusters"
        directory.mkdir()
        for name, port in ports.items():
            (directory / f"{name}.json").write_text(json.dumps({"host": "127.0.0.1", "port": port}), "utf-8")
        command = [sys.executable, "-m", "sqmon", "run", "--clusters_dir", str(directory), "--log_file_path", f"{place}/logs/"]
        service = subprocess.Popen([*command, "--log_level", "error", "--lifetimes", lifetimes], cwd=place, start_new_session=True)
        stack.callback(service.kill)
        time.sleep(_SETTLE_SECONDS)
        began_cpu, began = {pid: cpu_seconds(pid) for pid in processes(service.pid)}, time.time_ns()
        time.sleep(seconds)
        pids = processes(service.pid)
        memory: dict[int, float] = {}
        for pid in pids:
            with contextlib.suppress(OSError):  # one that has ended meanwhile
                memory[pid] = pss_mib(pid)
        cpu = sum(cpu_seconds(pid) - began_cpu.get(pid, 0.0) for pid in memory)
        supervisor = cpu_seconds(service.pid) - began_cpu[service.pid]
        threads = len(list(Path(f"/proc/{service.pid}/task").iterdir()))
        descriptors = len(list(Path(f"/proc/{service.pid}/fd").iterdir()))
        service.send_signal(signal.SIGTERM)
        began_stop = time.monotonic()
        service.wait(60)
        stopped = time.monotonic() - began_stop
        events = {name: list(StreamReader(place / "logs" / name, "sqmon").read()) for name in ports}
        refused_logins = refusing.stats()["failed_logins"]
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began / 1e9))
    others = {name: found for name, found in events.items() if name not in (_HOLED, _REFUSING, _FLOODED)}
    polls = [event for found in others.values() for event in found if event["event"] == "poll" and event["ts"] >= since]
    late = sorted(poll["late_ms"] for poll in polls if poll["status"] != "skipped")
    flood = [event for event in events[_FLOODED] if event["event"] == "poll" and event.get("rows", 0) >= locks]
    return {
        "clusters": len(ports),
        "processes": len(pids),
        "lifetimes": lifetimes,
        "supervisor_threads": threads,
        "supervisor_descriptors": descriptors,
        "pss_mib": round(sum(memory.values()), 1),
        "pss_mib_supervisor": round(memory[service.pid], 1),
        "pss_mib_largest_worker": round(max(figure for pid, figure in memory.items() if pid != service.pid), 1),
        "polls_of_the_others": len(late),
        "late_ms_p50": late[len(late) // 2],
        "late_ms_p99": late[int(len(late) * 0.99)],
        "late_ms_max": late[-1],
        "ticks_missed_by_the_others": sum(poll.get("skipped") or 0 for poll in polls),
        "failed_polls_of_the_others": sum(poll["status"] not in ("ok", "empty", "skipped") for poll in polls),
        "others_that_poll": sum(any(event["event"] == "poll" for event in found) for found in others.values()),
        "refused_logins": refused_logins,
        "polls_of_the_flood": len(flood),
        "cpu_percent_of_a_core": round(100 * cpu / seconds, 1),
        "cpu_percent_supervisor": round(100 * supervisor / seconds, 1),
        "seconds_to_stop": round(stopped, 1),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clusters", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--locks", type=int, default=100_000)
    parser.add_argument("--lifetimes", choices=("on", "off"), default="on")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the simulators, which inherit it
    figures = measure(args.clusters, args.seconds, args.locks, args.lifetimes)
    if args.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:30} {figure}")


if __name__ == "__main__":
    main()
