"""The command line: `sqmon [COMMAND] [OPTIONS]`, and the mapping of failures to exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import traceback
from typing import Mapping, NoReturn, Optional, Protocol, Sequence, cast

import sqmon.interpreter  # noqa: F401 - it imports msgspec before anybody else does
from sqmon import __version__, stdio
from sqmon.cli import exit_codes
from sqmon.config import environment, options
from sqmon.errors import ConfigError, SqmonError, shown
from sqmon.ipc.check import Outcome

COMMANDS: Mapping[str, str] = {
    "run": "check, then one worker per metric until SIGTERM or Ctrl-C",
    "check": "the start-up checks alone, a line each",
    "once": "poll once and print the records; nothing is written",
    "status": "what each metric is doing now; exit code 0 healthy, 1 degraded, 2 not running",
    "top": "what the cluster is doing now, or was at another time: workers, statements, locks, licence, the monitor",
    "verify": "prove that the files, and with --loki_url what is in Loki, are what the service wrote; exit code 0 proved, 1 not",
    "logs": "records and events by time, text and column; one poll as a table, or what changed between two",
    "bundle": "pack what a service has written into one file that can leave the site",
    "replay": "send to Loki what it does not have of a bundle or of a log directory",
    "history": "what became of locks, statements and nodes, and when the monitor was blind (exit code 1)",
    "report": "one HTML file of what the cluster did: locks and who waited for them, statements, workers, gaps",
    "scrub": "show what masking leaves of the SQL text in a file, before and after",
    "agent-config": "the configuration of Alloy (or another agent) for this installation",
    "assets": "write out what ships beside the program: agents' configurations, rules, dashboards, units, man pages",
    "schema": "the JSON schema of the metrics file, or of a cluster's file",
    "demo": "a simulated SQreamDB, the service, and a live view; needs no database",
    "simulate": "a simulated SQreamDB alone",
}
"""Each command and its summary; its module, of the same name, is imported only when it runs."""


class Command(Protocol):
    """The module of one command."""

    OPTIONS: Mapping[str, tuple[options.Option, ...]]
    """Its options by heading; each can also come from the environment."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what is not an option."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit code; raises SqmonError for what is the user's or the world's fault."""
        ...


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command and return its exit code: 0 clean, 1 the world is wrong (one line says how), 2 usage, 3 a bug."""
    stdio.ensure_open()
    words = options.spell(sys.argv[1:] if argv is None else argv)
    name = words.pop(0) if words and not words[0].startswith("-") else "run"
    if name not in COMMANDS:
        _usage(f"unknown command {name!r}; the commands are {', '.join(COMMANDS)}")
    if name == "run":
        # From the first moment: a reload that comes too early must not be what ends the service. It reads the file after its checks.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command = load(name)
    parser = parser_of(name, command)
    environment.set_defaults(parser, command.OPTIONS, os.environ)
    args = parser.parse_args(words)
    args.doubts = _doubts(words)
    if name not in ("run", "check"):  # these have better places to tell them
        for doubt in args.doubts:
            print(f"sqmon: {doubt.text}", file=sys.stderr)
    return _run(command, args)


def _run(command: Command, args: argparse.Namespace) -> int:
    """Return the exit code of a command, whichever way it ends."""
    try:
        return command.run(args)
    except ConfigError as error:
        for problem in error.problems:
            print(f"sqmon: {problem}", file=sys.stderr)
        return exit_codes.FAILED
    except SqmonError as error:
        print(f"sqmon: {shown(str(error))}", file=sys.stderr)
        return exit_codes.FAILED
    except KeyboardInterrupt:
        return exit_codes.OK
    except BrokenPipeError:
        # The reader of our output has gone; Python must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OK
    except Exception:  # noqa: BLE001 - the last line of defence
        traceback.print_exc()
        print("sqmon: this is a bug; please report it with the lines above", file=sys.stderr)
        return exit_codes.BUG


_PASSWORD_DOUBT = "other users of this host can read --password in the process list; use --password_file or SQMON_PASSWORD"


def _doubts(words: Sequence[str]) -> list[Outcome]:
    """Return what is doubtful about a command line and its environment, though nothing is wrong with it."""
    doubts = [Outcome("environment", "warning", text) for text in environment.unknown(os.environ)]
    if any(word.split("=")[0] == "--password" for word in words):
        doubts.append(Outcome("password", "warning", _PASSWORD_DOUBT))
    return doubts


def load(name: str) -> Command:
    """Return the module of the command called `name`."""
    return cast("Command", importlib.import_module(f"sqmon.cli.{name.replace('-', '_')}"))


def parser_of(name: str, command: Command) -> argparse.ArgumentParser:
    """Return the parser of one command; `run`'s also lists the other commands, since `sqmon --help` is its help."""
    summary = COMMANDS[name]
    description = summary[0].upper() + summary[1:] + "."
    if name == "run":
        width = max(map(len, COMMANDS))
        listed = "\n".join(f"  {word:{width}}  {summary}" for word, summary in COMMANDS.items())
        description = (
            "sqmon polls SQreamDB's utility functions and writes each row as one JSON line.\n\n"
            f"commands:\n{listed}\n\n`sqmon` alone is `sqmon run`; sqmon COMMAND --help lists the options of a command."
        )
    epilog = "Every option can be given as SQMON_<NAME> in the environment, and every --a_b also as --a-b."
    parser = _Parser(
        prog="sqmon" if name == "run" else f"sqmon {name}",
        usage="sqmon [COMMAND] [options]" if name == "run" else None,
        description=description,
        epilog=epilog if command.OPTIONS else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if name == "run":
        parser.add_argument("--version", action="version", version=f"sqmon {__version__}")
    command.add_arguments(parser)
    options.add_options(parser, command.OPTIONS)
    return parser


class _Parser(argparse.ArgumentParser):
    """Reports a usage error in one line, like every other error, instead of printing all options."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        _usage(message, self.prog)


def _usage(text: str, prog: str = "sqmon") -> NoReturn:
    print(f"sqmon: {text}; see {prog} --help", file=sys.stderr)
    raise SystemExit(exit_codes.USAGE)
