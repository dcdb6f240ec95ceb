"""A site: the lines of one sqmon, with polls and events at chosen times before now."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Any, Callable, Iterable, NamedTuple, Sequence

from sqmon.clock import stamp_ns
from sqmon.config.time_zone import zone_of
from sqmon.lifetimes.lifetimes import METRICS, Lifetimes
from sqmon.lifetimes.polls import Poll, Row, renamed
from sqmon.records.column_names import normalised
from sqmon.records.computed import Computation
from sqmon.records.encoder import Encoder
from sqmon.result import by_column
from tests.records.test_computed import NEW_LOCKS
from tests.support.logql_lines import Entry

NOW = int(time.time())
"""The start of the last poll: Loki takes no lines of another week."""

EVALUATED = NOW + 1
"""When queries are evaluated: the rows of a poll lie some nanoseconds after its start, and Loki looks for none after its time."""

STATUS = (
    "service",
    "instanceid",
    "serverip",
    "user_name",
    "statementid",
    "statement",
    "statementstarttime",
    "statementstatus",
    "statementstatusstart",
)
NODES = ("server_ip", "server_port", "connection_id", "instance_id", "last_heartbeat", "connection_status")
STATS = ("timestamp", "server_ip", "server_port", "msg", "count", "average", "max", "max_timestamp", "variance")
OLD_STATS = ("ts", "server_ip", "server_port", "msg", "m_count", "m_average", "m_max", "m_max_timestamp", "m_variance")
LICENCE = (
    "compressed_cluster_size",
    "uncompressed_cluster_size",
    "compress_type",
    "cluster_size_limit",
    "expiration_date",
    "is_date_expired",
    "is_size_exceeded",
    "cluster_size_left",
)
OWN = "select show_server_status();"


class Site:
    """The lines of one sqmon, as an agent would label them."""

    def __init__(self, cluster: str = "prod") -> None:
        self.cluster = cluster
        self.written: list[Entry] = []
        """The lines of metrics and of events."""
        self._lives: list[Entry] = []
        self._answers: list[tuple[int, int, str, list[Row]]] = []
        self._encoders: dict[str, Encoder] = {}
        self._polls = 0

    def polls(
        self, metric: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]], *, at: Iterable[float] = range(0, 600, 30)
    ) -> Site:
        """Poll `rows` at these times before now, with the computed columns and with the event of each poll."""
        computation = Computation(metric, query=OWN, user="sqream", zone=zone_of("UTC"))
        kept = list(rows)
        for ago in sorted(at, reverse=True):
            self._polls += 1
            nanoseconds = int((NOW - ago) * 1e9)
            rows_then = [tuple(_written(value, ago) for value in row) for row in kept]
            extended = computation.extended(by_column([*columns], rows_then), computation.at(nanoseconds))
            for batch in self._encoder(metric).part(extended, poll=self._polls, poll_rows=len(kept), started_ns=nanoseconds):
                self.written += self._labelled(metric, batch.data)
            if metric in METRICS:
                names = normalised(extended.columns, ())
                answer: list[Row] = [dict(zip(names, values)) for values in extended.tuples()]
                self._lives = []
                self._answers.append((nanoseconds, self._polls, metric, answer))
            self.event("poll", at=ago, target=metric, status="ok" if kept else "empty", rows=len(kept))
        return self

    def event(self, event: str, level: str = "info", at: float = 10, **fields: Any) -> Site:
        """Write an event of sqmon."""
        self.written += self._labelled("sqmon", self._encoder("sqmon").event(level, event, fields, now_ns=int((NOW - at) * 1e9)).data)
        return self

    @property
    def entries(self) -> list[Entry]:
        """Everything that an agent would have read."""
        self._lives = self._lives or self.lives()
        return self.written + self._lives

    def lives(self, said: Callable[[str, Row], Row] = lambda _, row: row) -> list[Entry]:
        """Return the lines of lifetimes; `said` makes of a row of a metric what the server said."""
        lifetimes, encoder = Lifetimes(), Encoder("lifetimes", f"run-{self.cluster}")
        found = []
        for began_ns, number, metric, answer in sorted(self._answers, key=lambda each: each[:2]):
            rows = renamed(metric, [said(metric, row) for row in answer])
            for line in lifetimes.take(Poll(metric, f"run-{self.cluster}", number, began_ns, began_ns + 10**6, rows)):
                fields = {name: value for name, value in line.items() if name not in ("ts", "metric")}
                found += self._labelled("lifetimes", encoder.timed(stamp_ns(line["ts"]), fields).data)
        return found

    def _encoder(self, metric: str) -> Encoder:
        return self._encoders.setdefault(metric, Encoder(metric, f"run-{self.cluster}"))

    def _labelled(self, metric: str, data: bytes) -> list[Entry]:
        entries = []
        for line in data.decode().splitlines():
            record = json.loads(line)
            seconds = _seconds(record["ts"])
            labels = {"job": "sqmon", "cluster": self.cluster, "instance": "host", "filename": f"/{metric}.jsonl", "metric": metric}
            labels.update({"run_id": record["run_id"]}, **({"level": record["level"]} if "level" in record else {}))
            entries.append(Entry(seconds, labels, line))
        return entries


class Age(NamedTuple):
    """A time so long before now, or before each poll, in the form in which the server writes it."""

    seconds: float
    form: str = "%Y-%m-%d %H:%M:%S"
    of_poll: bool = False


def _written(value: Any, poll_ago: float) -> Any:
    if isinstance(value, Age):
        since = NOW - value.seconds - (poll_ago if value.of_poll else 0)
        return f"{dt.datetime.fromtimestamp(since, dt.timezone.utc):{value.form}}"
    return value


def _seconds(text: str) -> float:
    """Return a `ts` in seconds since 1970, rounded up, since an instant query sees nothing after its time."""
    return dt.datetime.fromisoformat(text[:26] + "+00:00").timestamp() + (1e-6 if text[26:29] != "000" else 0)


def lock(seconds: float, columns: Sequence[str] = NEW_LOCKS, active: int = 1) -> tuple[Any, ...]:
    """Return a row of show_locks whose lock is that old."""
    row = (
        "7",
        "insert into t",
        "etl",
        "10.0.0.1",
        5000,
        "table$t",
        "Exclusive",
        Age(seconds, "%d-%m-%Y %H:%M:%S"),
        Age(seconds),
        active,
        1,
    )
    return row[: len(columns)]


def statement(status: str, started: float, since: float, number: int = 11, service: str = "sqream") -> tuple[Any, ...]:
    """Return a row of show_server_status."""
    return (service, "node_1", "10.0.0.1", "etl", number, "select 1", Age(started), status, Age(since))


def own(seconds: float = 0) -> tuple[Any, ...]:
    """Return the poll's own row, which show_server_status always has."""
    return ("monitor", "node_9", "10.0.0.9", "sqream", 1, OWN, Age(seconds, of_poll=True), "Executing", Age(seconds, of_poll=True))


def node(name: str, heartbeat: float = 2) -> tuple[Any, ...]:
    """Return a row of show_cluster_nodes."""
    return ("10.0.0.1", 5000, 3, name, heartbeat, "available")


def licence(used: float = 10, days: int = 365, expired: object = 0, exceeded: object = 0) -> tuple[Any, ...]:
    """Return a row of get_license_info with a limit of 100."""
    return (used, 3 * used, "compressed", 100, Age(-days * 86400, "%Y-%m-%d"), expired, exceeded, 100 - used)
