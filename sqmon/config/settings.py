"""The settings of one run, as frozen values that are made once and passed on in pieces."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, Optional, Sequence, Union

from sqmon.config.password import PasswordSource, is_sendable
from sqmon.errors import ConfigError


@dataclass(frozen=True)
class Connection:
    """The address of SQreamDB and the role that logs in.

    pysqream pastes the texts into JSON as they are, so they must be ASCII without quotes and backslashes.
    """

    host: str
    port: int
    database: str
    user: str
    service: str
    clustered: bool = False
    use_ssl: bool = False
    server_timezone: str = ""
    """Zone of the times in the server's answers, which name none; "" is this host's."""
    password: PasswordSource = field(default_factory=PasswordSource)

    def __post_init__(self) -> None:
        for name in ("host", "database", "user", "service"):
            value = getattr(self, name)
            if not value or not is_sendable(value):
                raise ConfigError(
                    [f"--{name}: {value!r} can't be sent to SQreamDB; use ASCII without quotes, backslashes and control characters"]
                )

    @property
    def address(self) -> str:
        """Host and port as URLs write them: an IPv6 address stands in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def with_password(self, password: str) -> Connection:
        """Return the same connection with a password that asks no file any more."""
        return replace(self, password=PasswordSource(password))


Emit = Literal["rows", "changes"]
"""Whether a poll writes all rows, or those that came or went since the poll before."""


@dataclass(frozen=True)
class Metric:
    """One metric of the metrics file: what to send, how often, and how long to wait."""

    name: str
    interval: float
    """Seconds between polls."""
    timeout: float
    """Seconds that a login or one poll may take."""
    query: str
    is_command: bool = False
    """A state-changing call that was allowed on purpose: its result is an event, never a record."""
    emit: Emit = "rows"
    keyframe_s: float = 600.0
    """Seconds after which a metric that emits changes writes all rows again."""


@dataclass(frozen=True)
class SegmentOptions:
    """When segments end, how much waits in memory, and when the disk is asked to keep what it was given."""

    max_bytes: int = 64 << 20
    max_age_s: float = 24 * 3600.0
    buffer_bytes: int = 8 << 20
    fsync: Literal["interval", "seal", "never"] = "interval"


@dataclass(frozen=True)
class SegmentOutput:
    """Lines go to segments below `log_dir`, a directory of ours."""

    log_dir: Path
    options: SegmentOptions = SegmentOptions()
    cluster: str = ""
    """The name of the SQreamDB cluster that every line carries; "" is none."""


@dataclass(frozen=True)
class FileOutput:
    """The lines of all metrics go to one file, which is rotated; its directory is not ours."""

    path: Path
    max_bytes: int = 64 << 20
    backups: int = 7
    """How many old files are kept."""
    buffer_bytes: int = 8 << 20
    cluster: str = ""
    """As in SegmentOutput."""


Output = Union[SegmentOutput, FileOutput]


@dataclass(frozen=True)
class Outside:
    """What the start-up checks need to know of the world outside."""

    connection: Connection
    allow_gpu: bool
    loki: Optional[tuple[str, int]]
    """None in file-only mode: there is no agent, so no Loki either."""
    startup_timeout: float


@dataclass(frozen=True)
class Retention:
    """How long segments are kept, how much room they may take, how much must stay free."""

    seconds: float
    bytes: int
    min_free_bytes: int
    agent_positions: Optional[Path]
    """The positions file of the agent: segments that it is not known to have read are deleted last. None looks in the usual places."""
    has_agent: bool = True
    """Whether an agent reads the segments; in file-only mode none does."""
    compress: bool = True
    """Whether sealed segments are compressed."""

    @property
    def compress_after_s(self) -> float:
        """How old a segment must be before it is compressed although nobody is known to have read it; with an agent, never."""
        return math.inf if self.has_agent else 0.0


SqlMode = Literal["full", "masked", "none"]
"""What becomes of SQL text in the records: everything but secrets, everything but literals, or nothing."""


@dataclass(frozen=True)
class Settings:
    """Everything that one `sqmon run` needs to know."""

    connection: Connection
    output: Output
    metrics_file: Optional[Path]
    """None stands for the catalogue's five."""
    outside: Outside
    query_timeout: Optional[float]
    retention: Retention
    sql: SqlMode
    lifetimes: bool
    """Whether a process writes what becomes of locks, statements and nodes; never beside a single file."""
    metrics_port: Optional[int]
    """The port on which Prometheus can scrape the service; None opens none."""
    metrics_address: str
    clusters_dir: Optional[Path] = None
    """Where each file describes a cluster; None is one cluster, which the other settings describe."""

    @property
    def cluster(self) -> str:
        """The name of the cluster, "" where it has none."""
        return self.output.cluster


class Configuration(NamedTuple):
    """What is said of one cluster: how to watch it, and what to poll."""

    settings: Settings
    metrics: list[Metric]
    file: Optional[Path]
    """The file that says so; None for the catalogue's five."""
    problems: Sequence[str] = ()
    """Why it can't be polled; empty for one that can."""

    @property
    def name(self) -> str:
        """The name of the cluster."""
        return self.settings.cluster


def url_host(host: str) -> str:
    """Return `host` as it stands in a URL: an IPv6 address has brackets there."""
    return f"[{host}]" if ":" in host else host


def default_log_dir() -> Path:
    """Return /var/log/sqmon where it can be written to, else ./logs."""
    system = Path("/var/log/sqmon")
    return system if os.access(system, os.W_OK | os.X_OK) else Path("logs")


def log_dir_to_read() -> Path:
    """Return the directory where the service of this host most likely writes: /var/log/sqmon if it can be read, else ./logs.

    A member of the group may read the first without being able to write to it. A user who may not even do that should be told so, unless
    there is the second.
    """
    system, here = Path("/var/log/sqmon"), Path("logs")
    if os.access(system, os.R_OK | os.X_OK) or (system.is_dir() and not here.is_dir()):
        return system
    return here


def default_metrics_file() -> Optional[Path]:
    """Return the first metrics file that exists of the places where one is looked for, or None for the catalogue's five."""
    for path in (
        Path("monitor_input.json"),
        Path("config_files/monitor_input.json"),
        Path("/etc/sqmon/monitor_input.json"),
    ):
        if _may_be_a_file(path):
            return path
    return None


def _may_be_a_file(path: Path) -> bool:
    """Return whether there is a file, or something that keeps us from knowing, which is better told than passed over."""
    try:
        return path.is_file()
    except OSError:
        return True
