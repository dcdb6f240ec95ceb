"""The command line: `sqmon [COMMAND] [OPTIONS]`, and what each way of failing means as an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import Callable, NamedTuple, NoReturn, Optional, Sequence

from sqmon import __version__, config, options, settings, stdio
from sqmon.errors import ConfigError, SqmonError

FAILED, USAGE, BUG = 1, 2, 3
_LAST_LINES_SECONDS = 1.0  # that the reader of the log has at the end


class Command(NamedTuple):
    """One word of the command line; its functions import what they need, so that a worker that starts from here stays small."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command and return its exit code: 0 clean, 1 the world is wrong (one line says how), 2 usage, 3 a bug."""
    stdio.ensure_open()
    words = options.spell(sys.argv[1:] if argv is None else argv)
    name = words.pop(0) if words and not words[0].startswith("-") else "run"
    if name not in COMMANDS:
        _usage(f"{name!r} is no command; there are {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    parser = _parser(name, command)
    options.environment_defaults(parser, os.environ)
    args = parser.parse_args(words)
    args.password_in_ps = any(word.split("=")[0] == "--password" for word in words)
    try:
        return command.run(args)
    except ConfigError as error:
        for problem in error.problems:
            print(f"sqmon: {problem}", file=sys.stderr)
        return FAILED
    except SqmonError as error:
        print(f"sqmon: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Whoever read our output has had enough; Python must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001 - the last line of defence
        traceback.print_exc()
        print("sqmon: this is a bug; please report it with the lines above", file=sys.stderr)
        return BUG


def _usage(text: str, prog: str = "sqmon") -> NoReturn:
    print(f"sqmon: {text}; see {prog} --help", file=sys.stderr)
    raise SystemExit(USAGE)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, like everything else here does, instead of showing all options at it."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        _usage(message, self.prog)


def _parser(name: str, command: Command) -> argparse.ArgumentParser:
    """Return the parser of one command; the one of `run` also shows the other commands, since `sqmon --help` is its help."""
    description = command.summary[0].upper() + command.summary[1:] + "."
    if name == "run":
        width = max(map(len, COMMANDS))
        listed = "\n".join(f"  {word:{width}}  {other.summary}" for word, other in COMMANDS.items())
        description = (
            "sqmon polls SQreamDB's utility functions and writes each row as one JSON line.\n\n"
            f"commands:\n{listed}\n\n`sqmon` alone is `sqmon run`; sqmon COMMAND --help tells the options of a command."
        )
    parser = _Parser(
        prog="sqmon" if name == "run" else f"sqmon {name}",
        usage="sqmon [COMMAND] [options]" if name == "run" else None,
        description=description,
        epilog="Every option can be given as SQMON_<NAME> in the environment, and every --a_b also as --a-b.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if name == "run":
        parser.add_argument("--version", action="version", version=f"sqmon {__version__}")
    command.add_arguments(parser)
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_options(parser, options.GROUPS)


def _run(args: argparse.Namespace) -> int:
    from sqmon import logs, service

    chosen = settings.settings_of(args)
    relay = logs.configure(args.log_level)
    try:
        service.run(chosen, password_in_ps=args.password_in_ps)
    finally:
        relay.end(_LAST_LINES_SECONDS)
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    groups = {title: found for title, found in options.GROUPS.items() if title not in ("files", "service")}
    options.add_options(parser, {**groups, "files": options.FILE_ONLY})
    parser.add_argument("--offline", action="store_true", help="look only at the metrics file, and connect to nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object a line: check, verdict, text")


def _check(args: argparse.Namespace) -> int:
    from sqmon import checking

    return FAILED if checking.run(args) else 0


def _once_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "metrics",
        nargs="*",
        metavar="METRIC",
        help="names from the metrics file or the catalogue (default: the file's)",
    )
    options.add_options(parser, {title: options.GROUPS[title] for title in ("SQreamDB", "polling")})


def _once(args: argparse.Namespace) -> int:
    from sqmon import metrics_file, once

    metrics = metrics_file.read(args.metrics_file or config.default_metrics_file(), args.query_timeout)
    once.poll(settings.connection_of(args), once.select(metrics, args.metrics, args.query_timeout), sys.stdout.buffer)
    return 0


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=options.positive, metavar="N", help="end by itself after N seconds (default: at Ctrl-C)")
    parser.add_argument(
        "--log_dir",
        type=Path,
        default=Path("sqmon-demo"),
        metavar="DIR",
        help="directory of the demo's files (default: %(default)s)",
    )


def _demo(args: argparse.Namespace) -> int:
    from rich.console import Console

    from sqmon import demo

    demo.run(args.log_dir, args.seconds, Console())
    return 0


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_options(parser, {"files": tuple(option for option in options.FILES if option.name in ("log_dir", "log_file_path"))})
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")


def _status(args: argparse.Namespace) -> int:
    from rich.console import Console

    from sqmon import status

    log_dir, file_only = args.log_dir or config.default_log_dir(), args.log_file_path
    if file_only is not None:
        log_dir = Path(file_only)
        if not (file_only.endswith(os.sep) or log_dir.is_dir()):
            raise SqmonError(f"{file_only}: a service that writes one file leaves no status; its events are in that file (metric sqmon)")
    return status.run(log_dir, as_json=args.json, console=Console())


def _simulate_arguments(parser: argparse.ArgumentParser) -> None:
    from sqmon.simulator import command

    command.add_arguments(parser)


def _simulate(args: argparse.Namespace) -> int:
    from sqmon.simulator import command

    return command.run(args)


def _agent_config_arguments(parser: argparse.ArgumentParser) -> None:
    from sqmon.agent_config import SHIPPED

    parser.add_argument("agent", choices=SHIPPED, help="whose configuration; `offline` is Alloy's for segments that were carried out")
    told = ("log_dir", "loki_host", "loki_port", "cluster")
    options.add_options(
        parser, {"installation": tuple(option for group in options.GROUPS.values() for option in group if option.name in told)}
    )


def _agent_config(args: argparse.Namespace) -> int:
    import socket

    from sqmon.agent_config import Installation, printed

    log_dir = (args.log_dir or config.default_log_dir()).absolute()
    here = Installation(log_dir, args.loki_host, args.loki_port, args.cluster, socket.gethostname())
    sys.stdout.write(printed(args.agent, here))
    return 0


COMMANDS = {
    "run": Command("check, then one worker per metric until SIGTERM or Ctrl-C", _run_arguments, _run),
    "check": Command("the start-up checks alone, a line each", _check_arguments, _check),
    "once": Command("poll once and print the records; nothing is written", _once_arguments, _once),
    "status": Command("what each metric is doing now; exit code 0 healthy, 1 degraded, 2 not running", _status_arguments, _status),
    "agent-config": Command("the configuration of Alloy (or another agent) for this installation", _agent_config_arguments, _agent_config),
    "demo": Command("a simulated SQreamDB, the service, and a live view; needs no database", _demo_arguments, _demo),
    "simulate": Command("a simulated SQreamDB alone", _simulate_arguments, _simulate),
}


if __name__ == "__main__":
    raise SystemExit(main())
