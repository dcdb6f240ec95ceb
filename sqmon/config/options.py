"""The table of all options: name, default, meaning, and the values that each accepts."""

from __future__ import annotations

import argparse
import re
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

from sqmon.config import converters

_TIME_AGO = re.compile(r"-[0-9][0-9.smhdw]*[smhdw]")
_PAIRS = ("--diff",)  # options that have two times
LOG_LEVELS = ("debug", "info", "warning", "error")


class Option(NamedTuple):
    """One option, as argparse and the environment see it."""

    name: str
    default: Any
    help: str
    convert: Optional[Callable[[str], Any]] = None
    """Makes the value of a text; None makes the option a flag."""
    choices: Optional[Sequence[str]] = None
    metavar: Optional[str] = None
    alias: str = ""
    """Another name for it on the command line."""


CONNECTION = (
    Option("host", "localhost", "address of the SQreamDB worker, or of the server picker with --clustered", converters.host),
    Option("port", 5000, "its port; a server picker listens on 3108", converters.port),
    Option("database", "master", "database to log in to", converters.name),
    Option("user", "sqream", "role to log in as", converters.name, alias="username"),
    Option("password", "sqream", "its password; other users can see it in ps, so better use --password_file", str),
    Option("password_file", None, "file that contains the password; read again for each login", converters.path, metavar="FILE"),
    Option("clustered", False, "--host and --port are those of the server picker"),
    Option("service", "monitor", "SQreamDB service of the monitor worker", converters.name),
    Option("use_ssl", False, "speak TLS with the worker (its TLS port is usually 5100)"),
    Option(
        "server_timezone",
        "",
        "time zone of the server's clock, as in Europe/Berlin (default: this host's)",
        converters.zone,
        metavar="ZONE",
    ),
)
CHECKS = (
    Option(
        "loki_host",
        "localhost",
        "host of the Loki that the agent sends to; the start-up checks ask whether it is ready",
        converters.host,
    ),
    Option("loki_port", 3100, "its port", converters.port),
    Option(
        "startup_timeout",
        30.0,
        "seconds to wait at start for a database that can't be reached",
        converters.number(0, 86400),
        metavar="SECONDS",
    ),
    Option("allow_gpu", False, "poll even through a worker that has a GPU"),
)
FILES = (
    Option(
        "log_dir",
        None,
        "directory of the segments (default: /var/log/sqmon if it is writable, else ./logs)",
        converters.path,
        metavar="DIR",
    ),
    Option(
        "log_file_path",
        None,
        "file-only mode without Loki: one FILE for all metrics, or DIR/ for segments",
        converters.path_text,
        metavar="PATH",
    ),
    Option(
        "segment_mb",
        64.0,
        "MiB after which the next segment (or the next file of --log_file_path) begins",
        converters.number(0.01, 65536),
        metavar="MIB",
    ),
    Option("segment_hours", 24.0, "age after which the next segment begins", converters.number(0.001, 8760), metavar="HOURS"),
    Option("file_backups", 7, "number of old files to keep of a --log_file_path FILE", converters.whole_number(0, 1000), metavar="N"),
    Option(
        "buffer_mb",
        8.0,
        "MiB per metric that may wait in memory while the disk accepts nothing",
        converters.number(0.1, 4096),
        metavar="MIB",
    ),
    Option("fsync", "interval", "when lines are forced to the disk", str, choices=("seal", "interval", "never")),
    Option("retention_days", 7.0, "days for which sealed segments are kept", converters.number(0.001, 36500), metavar="DAYS"),
    Option("retention_mb", 2048.0, "MiB that all segments together may occupy", converters.number(0.001, 10**9), metavar="MIB"),
    Option(
        "min_free_mb",
        0.0,
        "MiB of disk that must stay free; the oldest sealed segments go first",
        converters.number(0, 10**9),
        metavar="MIB",
    ),
    Option(
        "agent_positions",
        None,
        "the positions file of Alloy, Promtail or vlagent: what the agent is not known to have read is deleted last"
        " (default: the one in the usual places that tells of --log_dir)",
        converters.path,
        metavar="FILE",
    ),
    Option(
        "compress",
        "auto",
        "auto compresses sealed segments when the agent has read them, after a day, or when room is short",
        str,
        choices=("auto", "never"),
    ),
)
POLLING = (
    Option(
        "metrics_file",
        None,
        "JSON file of metric names and seconds (default: monitor_input.json in ., config_files or /etc/sqmon, else the built-in five)",
        converters.path,
        metavar="FILE",
        alias="metrics_json_path",
    ),
    Option(
        "query_timeout",
        None,
        "seconds that a poll may take (default: the longer of 10 s and twice its interval)",
        converters.number(0.05, 86400),
        metavar="SECONDS",
    ),
    Option(
        "sql",
        "full",
        "SQL text in records: full, masked (every literal becomes ?) or none; passwords and keys are masked in each",
        str,
        choices=("full", "masked", "none"),
    ),
    Option(
        "lifetimes",
        "on",
        "on writes what becomes of each lock, statement and node to a stream of its own; never with a --log_file_path FILE",
        str,
        choices=("on", "off"),
    ),
)
SERVICE = (
    Option(
        "clusters_dir",
        None,
        "directory that has a file NAME.json for each of several clusters; each gets a directory NAME in --log_dir",
        converters.path,
        metavar="DIR",
    ),
    Option("metrics_port", None, "port at which Prometheus may scrape the service (default: none)", converters.port, metavar="PORT"),
    Option("metrics_address", "127.0.0.1", "address on which that port listens", converters.host, metavar="ADDRESS"),
    Option("cluster", "", "name of the SQreamDB cluster, for every line and as a label", str),
    Option("log_level", "info", "minimum level of the log on stderr", str, choices=LOG_LEVELS),
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
            names = [f"--{name}" for name in (option.name, option.alias) if name]
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
    """Return `argv` with every --a-b written as --a_b, which is how the options are known; values and what follows -- stay.

    A time such as -15m is joined to the option before it, since argparse would take it for an option; a blank has the same effect where
    an option has two times.
    """
    spelled: list[str] = []
    ended = False
    for word in argv:
        ended = ended or word == "--"
        if not ended and _TIME_AGO.fullmatch(word) and spelled and re.fullmatch(r"--[a-z_]+", spelled[-1]):
            if spelled[-1] in _PAIRS:
                spelled.append(f" {word}")
            else:
                spelled[-1] += f"={word}"
            continue
        if not ended and _TIME_AGO.fullmatch(word) and len(spelled) > 1 and spelled[-2] in _PAIRS:
            spelled.append(f" {word}")
            continue
        match = None if ended else re.match(r"--[a-z][a-z0-9-]*(?==|\Z)", word)
        spelled.append("--" + match[0][2:].replace("-", "_") + word[match.end() :] if match else word)
    return spelled


def named(*names: str) -> tuple[Option, ...]:
    """Return the options of `run` with these names."""
    return tuple(option for group in GROUPS.values() for option in group if option.name in names)
