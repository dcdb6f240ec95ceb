"""Every option of the command line and of the environment: its name, its default, what it means."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

from sqmon.config.time_zone import zone_of

LOG_LEVELS = ("debug", "info", "warning", "error")


class Option(NamedTuple):
    """One option, as argparse and the environment see it."""

    name: str
    default: Any
    help: str
    convert: Optional[Callable[[str], Any]] = None
    """None makes it a flag."""
    choices: Optional[Sequence[str]] = None
    metavar: Optional[str] = None


def _port(text: str) -> int:
    port = int(text) if text.isdigit() else 0
    if not 0 < port < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return port


def positive(text: str) -> float:
    """Return the number that `text` is; raises argparse's error for what is not greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return value


def _not_negative(text: str) -> float:
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def _zone(text: str) -> str:
    try:
        zone_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("is not a path")
    return Path(text)


CONNECTION = (
    Option("host", "localhost", "address of the SQreamDB worker, or of the server picker with --clustered", str),
    Option("port", 5000, "its port; a server picker listens on 3108", _port),
    Option("database", "master", "database to log in to", str),
    Option("user", "sqream", "role to log in as (also --username)", str),
    Option("password", "sqream", "its password; other users can see it in ps, so better use --password_file", str),
    Option("password_file", None, "file whose content is the password; read anew for each login", _path, metavar="FILE"),
    Option("clustered", False, "--host and --port are those of the server picker"),
    Option("service", "monitor", "SQreamDB service of the monitor worker", str),
    Option("use_ssl", False, "speak TLS with the worker (its TLS port is usually 5100)"),
    Option("server_timezone", "", "time zone of the server's clock, as in Europe/Berlin (default: this host's)", _zone, metavar="ZONE"),
)
CHECKS = (
    Option(
        "loki_host",
        "localhost",
        "host of the Loki that the agent sends to; asked once at start whether it is ready",
        str,
    ),
    Option("loki_port", 3100, "its port", _port),
    Option(
        "startup_timeout",
        30.0,
        "seconds to wait for a database that can't be reached yet",
        _not_negative,
        metavar="SECONDS",
    ),
    Option("allow_gpu", False, "poll even through a worker that has a GPU"),
)
FILES = (
    Option(
        "log_dir",
        None,
        "directory of the segments (default: /var/log/sqmon if it is writable, else ./logs)",
        _path,
        metavar="DIR",
    ),
    Option(
        "log_file_path",
        None,
        "file-only mode without Loki: one FILE for all metrics, or DIR/ for segments",
        str,
        metavar="PATH",
    ),
    Option(
        "segment_mb",
        64.0,
        "MiB after which the next segment (or the next file of --log_file_path) begins",
        positive,
        metavar="MIB",
    ),
    Option("segment_hours", 24.0, "age after which the next segment begins", positive, metavar="HOURS"),
    Option("file_backups", 7, "old files kept of a --log_file_path FILE", int, metavar="N"),
    Option("buffer_mb", 8.0, "MiB per metric that wait in memory while the disk takes nothing", positive, metavar="MIB"),
    Option("fsync", "interval", "when lines are forced to the disk", str, choices=("seal", "interval", "never")),
    Option("retention_days", 7.0, "days that sealed segments are kept", positive, metavar="DAYS"),
    Option("retention_mb", 2048.0, "MiB that all segments together may take", positive, metavar="MIB"),
    Option(
        "min_free_mb",
        0.0,
        "MiB of disk that must stay free; the oldest sealed segments go first",
        _not_negative,
        metavar="MIB",
    ),
    Option(
        "agent_positions",
        None,
        "the positions file of Alloy, Promtail or vlagent: what the agent is not known to have read is deleted last",
        _path,
        metavar="FILE",
    ),
)
POLLING = (
    Option(
        "metrics_file",
        None,
        "JSON file of metric names and seconds (default: monitor_input.json in ., config_files or /etc/sqmon, else the built-in five)",
        _path,
        metavar="FILE",
    ),
    Option(
        "query_timeout",
        None,
        "seconds that a poll may take (default: the longer of 10 s and twice its interval)",
        positive,
        metavar="SECONDS",
    ),
    Option(
        "sql",
        "full",
        "SQL text in records: full, masked (every literal becomes ?) or none; passwords and keys are masked in each",
        str,
        choices=("full", "masked", "none"),
    ),
)
SERVICE = (
    Option("metrics_port", None, "port at which Prometheus may scrape the service (default: none)", _port, metavar="PORT"),
    Option("metrics_address", "127.0.0.1", "address to listen on for that", str, metavar="ADDRESS"),
    Option("cluster", "", "name of the SQreamDB cluster, for the start event", str),
    Option("log_level", "info", "least level of the log on stderr", str, choices=LOG_LEVELS),
)
GROUPS: Mapping[str, tuple[Option, ...]] = {
    "SQreamDB": CONNECTION,
    "start-up checks": CHECKS,
    "files": FILES,
    "polling": POLLING,
    "service": SERVICE,
}


def add_options(parser: argparse.ArgumentParser, groups: Mapping[str, tuple[Option, ...]]) -> None:
    """Add the options of `groups` to `parser`, each under the heading of its group."""
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for option in options:
            names = [f"--{option.name}", *(["--username"] if option.name == "user" else [])]
            if option.convert is None:
                group.add_argument(*names, action="store_true", help=option.help)
                continue
            text = option.help + ("" if option.default in (None, "") else " (default: %(default)s)")
            group.add_argument(
                *names,
                type=option.convert,
                default=option.default,
                help=text,
                choices=option.choices,
                metavar=option.metavar,
                dest=option.name,
            )


def spell(argv: Sequence[str]) -> list[str]:
    """Return `argv` with every --a-b written as --a_b, which is how the options are known; values and what follows -- stay."""
    spelled, ended = [], False
    for word in argv:
        ended = ended or word == "--"
        match = None if ended else re.match(r"--[a-z][a-z0-9-]*(?==|\Z)", word)
        spelled.append("--" + match[0][2:].replace("-", "_") + word[match.end() :] if match else word)
    return spelled


def named(*names: str) -> tuple[Option, ...]:
    """Return the options of `run` with these names."""
    return tuple(option for group in GROUPS.values() for option in group if option.name in names)


def environment_defaults(parser: argparse.ArgumentParser, groups: Mapping[str, tuple[Option, ...]], environ: Mapping[str, str]) -> None:
    """Make SQMON_<NAME> the default of each option of `groups`; a bad value ends in a usage error like a bad argument.

    The values are checked here, also when an argument overrides them: argparse would blame an argument that was not given.
    """
    for option in (option for group in groups.values() for option in group):
        name = f"SQMON_{option.name.upper()}"
        value = environ.get(name)
        if value is not None and not _KUBERNETES_LINK.match(value):
            parser.set_defaults(**{option.name: _converted(parser, name, option, value)})


def _converted(parser: argparse.ArgumentParser, name: str, option: Option, value: str) -> Any:
    if option.convert is None:
        if value.lower() not in _TRUE | _FALSE:
            parser.error(f"{name}: {value!r} is neither true nor false")
        return value.lower() in _TRUE
    if option.choices is not None and value not in option.choices:
        parser.error(f"{name}: {value!r} is none of {', '.join(option.choices)}")
    try:
        return option.convert(value)
    except argparse.ArgumentTypeError as error:
        parser.error(f"{name}: {error}")
    except (TypeError, ValueError):
        parser.error(f"{name}: {value!r} is no {getattr(option.convert, '__name__', 'value')}")


# A service called sqmon in Kubernetes puts SQMON_PORT=tcp://10.0.0.1:9188 into the environment of every container.
_KUBERNETES_LINK = re.compile(r"(tcp|udp|sctp)://")


_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}
