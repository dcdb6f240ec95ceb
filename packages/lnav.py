"""What lnav needs to know of the files: a log format, and with it an SQL table, for each default metric, the events and the lifetimes."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

from sqmon.config import catalogue
from sqmon.records.sql_columns import HASH

_INTEGERS = frozenset(
    [
        "seq",
        "poll",
        "poll_rows",
        "from_poll",
        "polls_seen",
        "nth",
        "depth",
        "milestone_s",
        "rows",
        "first_seq",
        "last_seq",
        "lines",
        "bytes",
        "pid",
        "exit_code",
        "connection_id",
        "statementid",
        "serverport",
        "server_port",
        "is_statement_active",
        "is_snapshot_active",
        "lock_age_s",
        "statement_age_s",
        "status_age_s",
        "last_heartbeat",
        "count",
        "max",
        "compressed_cluster_size",
        "uncompressed_cluster_size",
        "cluster_size_limit",
        "cluster_size_left",
        "data_read_size_limit",
        "data_write_size_limit",
        "days_to_expiration",
        "gpu_limit",
        "is_date_expired",
        "is_size_exceeded",
    ]
)
_FLOATS = frozenset(["average", "variance", "size_used_ratio", "duration_ms", "late_ms", "held_min_s", "held_max_s"])
_BOOLEANS = frozenset(["is_self", "orphaned", "clock_stepped"])
_EVENT = [
    "event",
    "target",
    "status",
    "reason",
    "text",
    "error",
    "rows",
    "duration_ms",
    "late_ms",
    "first_seq",
    "last_seq",
    "target_run_id",
    "since",
    "until",
    "file",
    "lines",
    "bytes",
    "sha256",
    "kind",
    "pid",
    "exit_code",
    "verdict",
]  # not check, which is a word of SQL
_LIFETIME = [
    "event",
    "statement_id",
    "username",
    "statement",
    "statement_hash",
    "locked_object",
    "lock_mode",
    "blocked_by",
    "root",
    "depth",
    "instance_id",
    "status",
    "end",
    "orphaned",
    "milestone_s",
    "began_after",
    "began_before",
    "ended_after",
    "ended_before",
    "held_min_s",
    "held_max_s",
    "polls_seen",
    "certainty",
    "from_metric",
    "from_poll",
]
_WARNINGS = "^(lock_orphaned|statement_blocked|node_down|server_restarted)$"

# The operation that lnav groups lines by: the number of the statement under each of its names.
_OPERATIONS = {"show_locks": "statement_id", "show_server_status": "statementid"}
_SHOWN = {
    "show_locks": ["statement_id", "username", "lock_mode", "locked_object", "lock_age_s", "statement_string"],
    "show_server_status": ["statementid", "user_name", "service", "statementstatus", "status_age_s", "statement"],
    "show_cluster_nodes": ["instance_id", "server_ip", "connection_status", "last_heartbeat"],
    "get_license_info": ["size_used_ratio", "days_to_expiration", "expiration_date"],
    "get_leveldb_stats": ["msg", "count", "average", "max"],
}

VIEW = """\
-- One row for each lock, as far as the lifetimes know it: a lock that is still held has no ended_before.
CREATE VIEW IF NOT EXISTS sqmon_locks AS
SELECT statement_id, username, locked_object, lock_mode,
       max(began_after) AS began_after, min(began_before) AS began_before,
       max(ended_after) AS ended_after, max(ended_before) AS ended_before,
       max(held_min_s) AS held_min_s, max(held_max_s) AS held_max_s, max(orphaned) AS orphaned, max(statement) AS statement
  FROM sqmon_lifetimes
 WHERE event LIKE 'lock_%'
 GROUP BY statement_id, locked_object, lock_mode, nth, from_run_id;
"""


def files() -> dict[str, str]:
    """Return the files of the directory that lnav reads with -I: path -> text."""
    return {"formats/sqmon/sqmon.json": json.dumps(_formats(), indent=2) + "\n", "formats/sqmon/sqmon.sql": VIEW}


def _formats() -> dict[str, Any]:
    found: dict[str, Any] = {"$schema": "https://lnav.org/schemas/format-v1.schema.json"}
    for name in catalogue.DEFAULT_METRICS:
        function = catalogue.FUNCTIONS[name]
        columns = [*function.columns, *function.computed, *([HASH] if name in _OPERATIONS else [])]
        found[f"sqmon_{name}"] = _format(
            name, function.summary, ["poll", "poll_rows", *columns], _SHOWN[name], operation=_OPERATIONS.get(name)
        )
    found["sqmon_show_locks"].update({"level-field": "is_statement_active", "level": {"warning": "^0$"}})
    lifetimes = [*_LIFETIME, "nth", "from_run_id"]
    found["sqmon_lifetimes"] = _format("lifetimes", "lifetimes", lifetimes, _LIFETIME[:13], operation="statement_id")
    found["sqmon_lifetimes"].update({"level-field": "event", "level": {"warning": _WARNINGS}})
    found["sqmon_events"] = _format("sqmon", "events of the service", ["level", *_EVENT], _EVENT[:6])
    found["sqmon_events"].update({"level-field": "level"})
    return found


def _format(metric: str, summary: str, columns: list[str], shown: list[str], operation: Optional[str] = None) -> dict[str, Any]:
    """Return the format of one metric; a line is shown as its time and the columns `shown`, and all columns can be asked for in SQL."""
    line: list[Any] = [{"field": "__timestamp__", "timestamp-format": "%Y-%m-%d %H:%M:%S.%L"}]
    for name in shown:
        line += [" ", {"field": name, "default-value": ""}]
    made: dict[str, Any] = {
        "title": f"sqmon {metric}",
        "description": f"sqmon, {metric}: {summary}",
        "json": True,
        "hide-extra": True,
        "convert-to-local-time": True,
        "file-pattern": rf"/{metric}-\d{{8}}T[^/]*\.jsonl",
        "timestamp-field": "ts",
        "line-format": line,
        "value": {name: {**_value(name), "hidden": name not in shown} for name in ("seq", "metric", "cluster", "run_id", *columns)},
    }
    if operation:
        made["opid-field"] = operation
    return made


def _value(name: str) -> Mapping[str, Any]:
    if name in _INTEGERS:
        return {"kind": "integer", "foreign-key": name in ("seq", "poll", "from_poll", "statementid", "connection_id", "pid")}
    if name in _FLOATS:
        return {"kind": "float"}
    if name in _BOOLEANS:
        return {"kind": "boolean"}
    return {"kind": "string", "identifier": name.endswith(("_id", "id", "hash", "name", "target", "event", "service", "object"))}
