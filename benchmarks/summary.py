"""One table of the figures that are promised: each beside its floor, measured in the same run, and its aim.

Usage: python -m benchmarks.summary [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any


def figures(name: str, *options: str) -> Any:
    """Return what a benchmark prints as JSON."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def row(figure: str, value: str, floor: str, ratio: str, aim: str) -> None:
    """Print one line of the table."""
    print(f"{figure:42}{value:>14}{floor:>34}{ratio:>8}   {aim}", flush=True)


def main() -> None:
    """Run the benchmarks one after the other, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each service runs (default: %(default)s)")
    args = parser.parse_args()
    seconds = ("--seconds", str(args.seconds))
    row("figure", "measured", "floor", "ratio", "aim")
    poll = figures("big_poll", "--rounds", "3")
    row(
        f"poll of {poll['rows']:,} rows, seconds",
        f"{poll['poll']['seconds']:.2f}",
        f"{poll['fetchall']['seconds']:.2f} (bare fetchall)",
        f"{poll['ratio']:.2f}",
        "0.6 of bare fetchall",
    )
    ours, theirs = poll["ordinary_cpu_ms"], poll["ordinary_fetchall_cpu_ms"]
    row(
        f"poll of {poll['ordinary_rows']:,} rows, ms of CPU", f"{ours:.2f}", f"{theirs:.2f} (bare fetchall)", f"{ours / theirs:.2f}", "3 ms"
    )
    rates = figures("emit", "--only", "sqmon,floor", "--rounds", "3")["rows_per_s"]
    row(
        "row tuples to lines in a file, rows/s",
        f"{rates['sqmon']:,}",
        f"{rates['floor']:,} (dicts)",
        f"{rates['sqmon'] / rates['floor']:.2f}",
        "0.6",
    )
    memory = figures("memory", *seconds)
    every, bare = memory["sqmon, all"]["pss"], memory["bare interpreter"]["pss"]
    row("five default metrics, MiB", f"{every:.1f}", f"{bare:.1f} (an interpreter)", f"{every / bare:.1f}", "48 MiB")
    many = figures("many_metrics", *seconds)
    row("200 metrics at 1 s, % of a core", f"{many['cpu_percent_of_a_core']:.1f}", "", "", "18 %, with the start")
    supervisor = 100 * many["supervisor_cpu_seconds"] / args.seconds
    row("  of it the supervisor", f"{supervisor:.1f}", "", "", "3 %")
    row("  MiB of each further metric", f"{many['pss_mib_per_worker']:.2f}", "", "", "4 MiB")


if __name__ == "__main__":
    main()
