"""The command line of the simulator, used by `sqmon simulate` and `python -m sqmon.simulator`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from types import FrameType
from typing import Optional

from sqmon.simulator.certificate import CertificateError
from sqmon.simulator.generations import GENERATIONS
from sqmon.simulator.server import Simulator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Put the simulator's options on this parser."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=5000, help="worker port, 0 = any free one (default: %(default)s)")
    parser.add_argument("--tls_port", type=int, help="worker port that speaks TLS (needs the openssl command)")
    parser.add_argument("--picker_port", type=int, help="server picker that hands out the worker port")
    parser.add_argument("--picker_tls_port", type=int, help="server picker that hands out the TLS port, with or without TLS itself")
    parser.add_argument("--control_port", type=int, help="faults and counters, one JSON object a line")
    parser.add_argument(
        "--version",
        choices=GENERATIONS,
        default="4.10",
        help="whose columns and texts, a release or when such a server was seen (default: %(default)s)",
    )
    parser.add_argument("--gpu", action="store_true", help="a worker with a GPU: select 1 succeeds")
    parser.add_argument("--user", default="sqream", help="the one role (default: %(default)s)")
    parser.add_argument("--password", default="sqream", help="its password (default: %(default)s)")
    parser.add_argument("--database", action="append", help="may be repeated (default: master)")
    parser.add_argument("--service", action="append", help="may be repeated (default: sqream and monitor)")
    parser.add_argument("--rows_locks", type=int, metavar="N", help="show_locks answers N rows")
    parser.add_argument("--seed", type=int, default=0, help="of the cluster's life (default: %(default)s)")
    parser.add_argument(
        "--contention",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of statements, 0 to 1, that want the same lock (default: %(default)s)",
    )
    parser.add_argument(
        "--statement_lock_timeout",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="a statement that waits so long for its locks fails (default: %(default)s)",
    )
    parser.add_argument(
        "--clock_skew", type=float, default=0.0, metavar="SECONDS", help="the server's clock is so far ahead (default: %(default)s)"
    )
    parser.add_argument("--time_zone", metavar="ZONE", help="of the server's clock, a name or +05:30 (default: this host's)")
    parser.add_argument("--idle", action="store_true", help="no statement comes and no node fails unless the control port says so")
    parser.add_argument("--reconnect", action="store_true", help="each statement moves to a second worker port")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM and return 0; return 1, with one line on stderr, when it can't start."""
    try:
        simulator = Simulator(
            host=args.host,
            port=args.port,
            tls_port=args.tls_port,
            picker_port=args.picker_port,
            picker_tls_port=args.picker_tls_port,
            control_port=args.control_port,
            version=args.version,
            gpu=args.gpu,
            user=args.user,
            password=args.password,
            databases=args.database or ("master",),
            services=args.service or ("sqream", "monitor"),
            rows_locks=args.rows_locks,
            seed=args.seed,
            reconnect=args.reconnect,
            contention=args.contention,
            statement_lock_timeout=args.statement_lock_timeout,
            clock_skew=args.clock_skew,
            time_zone=args.time_zone or "",
            idle=args.idle,
        )
        simulator.start()
    except (CertificateError, OSError, OverflowError, ValueError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 1
    over = threading.Event()

    def end(_signal: int, _frame: Optional[FrameType]) -> None:
        over.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for name, (host, port) in simulator.addresses.items():
            sys.stdout.write(f"{name} [{host}]:{port}\n" if ":" in host else f"{name} {host}:{port}\n")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        over.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        simulator.stop()
    return 0


def main() -> int:
    """Run `python -m sqmon.simulator`."""
    parser = argparse.ArgumentParser(prog="python -m sqmon.simulator", description="A SQreamDB worker on the wire, simulated.")
    add_arguments(parser)
    return run(parser.parse_args())
