"""`sqmon verify`: checks that the files of a service are complete and unaltered, and that Loki has every line of them once."""

from __future__ import annotations

import argparse
import datetime as dt
import re
import signal
import sys
import time
from pathlib import Path
from typing import Callable, Optional

import msgspec

from sqmon.cli import exit_codes, log_directories, loki_options, verify_view
from sqmon.cli.console import Console
from sqmon.cli.log_directories import below, lines_of, show_each
from sqmon.clock import SystemClock
from sqmon.config import converters, options, settings
from sqmon.config.typed_time import TypedTime, typed_time
from sqmon.delivery.inspection import Inspector
from sqmon.delivery.loki_client import LokiClient
from sqmon.delivery.loki_queries import DEFAULT_SELECTOR, matchers_of
from sqmon.delivery.verify import Verdict, verify
from sqmon.delivery.verify_loki import LokiProof, LokiVerdict, Share
from sqmon.delivery.verify_record import proof_of
from sqmon.errors import ConfigError, SqmonError, reason_of, shown
from sqmon.storage import proof_file
from sqmon.storage.proof_file import Proof


def _share(text: str) -> Share:
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 0 < int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share as in 1/7")
    return Share(int(match[1]), int(match[2]))


_SECONDS = converters.number(1, 86400)

OPTIONS = {
    "files": (*log_directories.OPTIONS, *options.named("agent_positions")),
    "verify": (
        options.Option("json", False, "one JSON object, for programs; with --watch one a line, for each change"),
        options.Option(
            "watch", None, "look again every SECONDS and print what has changed, until SIGTERM or Ctrl-C", _SECONDS, metavar="SECONDS"
        ),
    ),
    "Loki": (
        options.Option(
            "loki_url", None, "ask this Loki whether it has every line, as in http://localhost:3100", converters.name, metavar="URL"
        ),
        options.Option("selector", DEFAULT_SELECTOR, "the streams of this service; the names of the files are added", str),
        options.Option(
            "since", None, "only segments with records since then, as 03:12, 2026-11-24T02:00 or -15m", typed_time, metavar="TIME"
        ),
        options.Option(
            "deep", None, "also compare every byte of this share of the segments, another share each day", _share, metavar="N/T"
        ),
        options.Option("lag", 300.0, "age in seconds up to which a line may be on its way", converters.number(0, 10**7), metavar="SECONDS"),
        *loki_options.OPTIONS,
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the directory, which may also be given as an option."""
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="PATH", help="directory of a service, a copy of it, or a bundle (default: --log_dir)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the proof, or what is wrong."""
    directories = below(args.directory or args.log_dir or settings.log_dir_to_read(), args.cluster)
    proof, since_ns = _proof(args), _nanoseconds(args.since)
    console = Console()
    if args.watch:
        if len(directories) > 1:
            raise ConfigError(["--watch: proves one cluster; name it with --cluster"])
        changes, inspector = verify_view.Changes(console, as_json=args.json), Inspector()
        log_dir = directories[0][1]
        record = _Record(log_dir, args.watch, whole=not since_ns)
        return _watch(lambda: _looked(log_dir, inspector, proof, since_ns), args.watch, changes, record)
    if args.json:
        found = {name: _looked(log_dir, Inspector(), proof, since_ns) for name, log_dir in directories}
        for line in lines_of({name: verify_view.as_json(*each) for name, each in found.items()}):
            verify_view.show_json(line, console)
        return _code(all(_proved(*each) for each in found.values()))
    return show_each(directories, lambda log_dir: _shown(log_dir, proof, since_ns, console), console)


def _shown(log_dir: Path, proof: Optional[LokiProof], since_ns: int, console: Console) -> int:
    """Print the proof of one directory, and return its exit code."""
    began = time.monotonic()
    verdict = verify(log_dir, Inspector())
    verify_view.show(verdict, time.monotonic() - began, console)
    began = time.monotonic()
    in_loki = proof.ask(verdict, since_ns=since_ns) if proof else None
    if in_loki:
        verify_view.show_in_loki(in_loki, time.monotonic() - began, console)
    return _code(_proved(verdict, in_loki))


def _code(proved: bool) -> int:
    return exit_codes.OK if proved else exit_codes.FAILED


def _proved(verdict: Verdict, in_loki: Optional[LokiVerdict]) -> bool:
    return verdict.proved and (in_loki is None or in_loki.proved)


def _nanoseconds(since: Optional[TypedTime]) -> int:
    return int(since.moment(dt.datetime.now().astimezone()).timestamp()) * 10**9 if since else 0


def _proof(args: argparse.Namespace) -> Optional[LokiProof]:
    """Return what asks Loki, None when it is not to be asked; raises ConfigError for options that don't fit together."""
    if not args.loki_url:
        unused = [name for name in ("since", "deep") if getattr(args, name) is not None]
        if unused:
            raise ConfigError([f"--{name}: says what to ask Loki for; give its URL with --loki_url" for name in unused])
        return None
    client = LokiClient(loki_options.access_of(args))
    return LokiProof(
        client, matchers_of(args.selector), clock=SystemClock(), lag_s=args.lag, positions=args.agent_positions, deep=args.deep
    )


Look = tuple[Verdict, Optional[LokiVerdict]]
"""What a look at the files, and at Loki where that is asked for, has found."""


def _looked(log_dir: Path, inspector: Inspector, proof: Optional[LokiProof], since_ns: int) -> Look:
    verdict = verify(log_dir, inspector)
    inspector.forget_all_but({inspected.sealed.file for inspected in verdict.found})
    return verdict, proof.ask(verdict, since_ns=since_ns) if proof else None


class _Record:
    """The proof file in the log directory, as far as this user may write it."""

    def __init__(self, log_dir: Path, every_s: float, *, whole: bool) -> None:
        self._log_dir = log_dir
        self._every_s = every_s
        self._whole = whole
        self._newest: Optional[Proof] = None
        self._trouble = ""

    def take(self, verdict: Verdict, in_loki: Optional[LokiVerdict]) -> None:
        """Write what a look has found in Loki; a bundle has no service."""
        if in_loki is not None and not self._log_dir.is_file():
            self._write(proof_of(verdict, in_loki, looked_ns=time.time_ns(), every_s=self._every_s, whole=self._whole))

    def close(self) -> None:
        """Write that no further look is to be expected."""
        if self._newest is not None:
            self._write(msgspec.structs.replace(self._newest, ended=True))

    def _write(self, proof: Proof) -> None:
        self._newest, trouble = proof, ""
        try:
            proof_file.write(self._log_dir, proof)
        except OSError as error:
            trouble = f"{self._log_dir / proof_file.NAME}: can't be written, so the service won't know: {reason_of(error)}"
        if trouble and trouble != self._trouble:
            print(f"sqmon: {shown(trouble)}", file=sys.stderr)
        self._trouble = trouble


def _watch(look: Callable[[], Look], seconds: float, changes: verify_view.Changes, record: _Record) -> int:
    """Look again and again until a signal comes; return what the last look found."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    proved = False
    try:
        while True:
            try:
                found = look()
            except SqmonError as error:
                proved = False
                changes.failed(error)
            else:
                proved = _proved(*found)
                changes.tell(*found)
                record.take(*found)
            time.sleep(seconds)
    except KeyboardInterrupt:
        record.close()
        return exit_codes.OK if proved else exit_codes.FAILED
