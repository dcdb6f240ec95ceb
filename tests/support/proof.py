"""Many random schedules of outages, full disks, kills and restarts, and what they have cost.

Usage: python -m tests.support.proof [--schedules N] [--seed S] [--only agent,disk,crash,file,lifetimes]
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.support.schedules import SCHEDULES, Outcome

TURNS = ("agent", "lifetimes", "disk", "agent", "disk", "crash", "lifetimes", "agent", "disk", "crash", "file", "lifetimes", "crash")


def main() -> int:
    """Run them one after the other and print the figures; exit code 1 when one doesn't hold, with its seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--schedules", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first; the others follow (default: %(default)s)")
    parser.add_argument("--only", default="", help="kinds of schedules, separated by commas")
    options = parser.parse_args()
    kinds = options.only.split(",") if options.only else TURNS
    sums = {kind: Outcome() for kind in SCHEDULES}
    counts = dict.fromkeys(SCHEDULES, 0)
    failures = 0
    started = time.monotonic()
    for seed in range(options.seed, options.seed + options.schedules):
        kind = kinds[seed % len(kinds)]
        try:
            outcome = SCHEDULES[kind](seed)
        except Exception:  # noqa: BLE001 - the seed must be told, whatever it was
            traceback.print_exc()
            outcome = Outcome(lost=1)
        if not outcome.holds:
            failures += 1
            say(f"seed {seed}: {outcome}; again: python -m tests.support.proof --schedules 1 --seed {seed} --only {kind}")
        sums[kind] = sums[kind].plus(outcome)
        counts[kind] += 1
    total = Outcome()
    for kind, outcome in sums.items():
        say(f"{kind:9} {counts[kind]:6} schedules  {figures(outcome)}")
        total = total.plus(outcome)
    say(f"total     {options.schedules:6} schedules  {figures(total)}  in {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def figures(outcome: Outcome) -> str:
    """The counts of an outcome as a line."""
    return (
        f"records {outcome.records:>10,}  lost {outcome.lost}  doubled {outcome.doubled}  torn {outcome.torn}  "
        f"gaps reported {outcome.gaps_reported:,} injected {outcome.gaps_injected:,}  kills {outcome.kills}"
    )


if __name__ == "__main__":
    sys.exit(main())
