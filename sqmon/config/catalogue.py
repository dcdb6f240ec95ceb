"""SQreamDB's utility functions that may be polled: what each is, how often, what it needs, and the columns it returns.

The facts come from SQream's documentation of the utility commands (4.6 and 4.10). What it leaves out is taken from what SQream's own
monitor service and drivers do with these functions. Column names are in record form (lower case, `_`).
"""

from __future__ import annotations

import difflib
from typing import Iterable, Mapping, NamedTuple, Optional


class Function(NamedTuple):
    """One utility function that may be polled as it is."""

    name: str
    summary: str
    interval: float
    """Seconds between polls that suit its cost and how fast its answer changes."""
    rights: str
    """What the role needs, as far as it is documented."""
    columns: tuple[str, ...]
    """Columns of SQreamDB 4.7 and newer, in server order; empty where nothing is documented."""
    aliases: Mapping[str, str] = {}
    """Names that other versions use for the same columns: name there -> name in `columns`."""
    computed: Mapping[str, str] = {}
    """Columns that sqmon adds after the server's, and what each says; one whose sources a server doesn't send is left out."""
    needed: tuple[str, ...] = ()
    """Columns that the shipped alerts can't do without, read or computed from."""
    arguments: str = ""
    """Arguments that the function can't be called without, as an example; such a one needs a `query`."""


_ROWS = (
    Function(
        "show_server_status",
        "every statement of the cluster: who runs what where, queued or running, since when",
        7,
        "SUPERUSER",
        (
            "service",
            "instanceid",
            "connection_id",
            "serverip",
            "serverport",
            "database_name",
            "user_name",
            "clientip",
            "statementid",
            "statement",
            "statementstarttime",
            "statementstatus",
            "statementstatusstart",
        ),
        {
            "service_id": "service",
            "instance": "instanceid",
            "instance_id": "instanceid",
            "server_ip": "serverip",
            "server_port": "serverport",
            "client_ip": "clientip",
            "statement_id": "statementid",
            "statement_start_time": "statementstarttime",
            "statement_status": "statementstatus",
            "statement_status_start": "statementstatusstart",
        },
        {
            "statement_age_s": "seconds since the statement started",
            "status_age_s": "seconds since it came into its status",
            "is_self": "whether it is the statement of this very poll",
        },
        ("service", "user_name", "statementid", "statement", "statementstarttime", "statementstatus", "statementstatusstart"),
    ),
    Function(
        "show_locks",
        "every lock: which statement holds what, how, since when; no rows when there are none",
        2,
        "CONNECT on the database (SUPERUSER up to 4.4)",
        (
            "statement_id",
            "statement_string",
            "username",
            "server",
            "port",
            "locked_object",
            "lock_mode",
            "statement_start_time",
            "lock_start_time",
            "is_statement_active",
            "is_snapshot_active",
        ),
        {"stmt_id": "statement_id", "stmt_string": "statement_string", "lockmode": "lock_mode"},
        {"lock_age_s": "seconds since the lock was taken", "statement_age_s": "seconds since its statement started"},
        ("statement_id", "username", "locked_object", "lock_mode", "lock_start_time", "is_statement_active"),
    ),
    Function(
        "get_leveldb_stats",
        "how long the metadata server takes per message type, accumulated since the last reset",
        5,
        "not documented (SUPERUSER is safe)",
        (
            "timestamp",
            "server_ip",
            "server_port",
            "msg",
            "count",
            "average",
            "max",
            "max_timestamp",
            "variance",
        ),
        {
            "ts": "timestamp",
            "m_count": "count",
            "m_average": "average",
            "m_max": "max",
            "m_max_timestamp": "max_timestamp",
            "m_variance": "variance",
        },
        needed=("msg", "max"),
    ),
    Function(
        "show_cluster_nodes",
        "every worker of the cluster and its last heartbeat; a dead one disappears",
        4,
        "not documented (SUPERUSER is safe)",
        ("server_ip", "server_port", "connection_id", "instance_id", "last_heartbeat", "connection_status"),
        needed=("instance_id", "last_heartbeat"),
    ),
    Function(
        "get_license_info",
        "one row: size used and allowed, expiry, and whether either is exceeded",
        5,
        "none",
        (
            "compressed_cluster_size",
            "uncompressed_cluster_size",
            "compress_type",
            "cluster_size_limit",
            "expiration_date",
            "is_date_expired",
            "is_size_exceeded",
            "cluster_size_left",
            "data_read_size_limit",
            "data_write_size_limit",
            "gpu_limit",
        ),
        computed={
            "days_to_expiration": "days until the licence expires, below zero when it has",
            "size_used_ratio": "used size by allowed size, of the kind that the licence counts",
        },
        needed=(
            "compressed_cluster_size",
            "uncompressed_cluster_size",
            "compress_type",
            "cluster_size_limit",
            "expiration_date",
            "is_date_expired",
            "is_size_exceeded",
        ),
    ),
    Function(
        "show_connections",
        "the connections of the one worker that answers",
        10,
        "SUPERUSER",
        ("ip", "conn_id", "conn_start_time", "stmt_id", "stmt_start_time", "stmt"),
    ),
    Function(
        "show_subscribed_instances",
        "which workers serve which service",
        30,
        "SUPERUSER",
        ("service", "servernode", "serverip", "serverport"),
    ),
    Function(
        "get_open_snapshots",
        "metadata snapshots that are held open, and by which statement (4.7 and newer)",
        30,
        "SUPERUSER",
        (
            "database_name",
            "reason",
            "open_time",
            "database_version",
            "snapshot_id",
            "statement_id",
            "current_time",
            "is_statement_active",
        ),
    ),
    Function("show_version", "the server's version", 3600, "none", ("bytesread",)),
    Function(
        "get_role_permissions",
        "what the polling role may do",
        3600,
        "none",
        ("permission_type", "object_type", "object_name"),
    ),
    Function("show_conf", "the server's flags and their values", 3600, "not documented", ()),
    Function("list_utility_functions", "the utility functions that the server knows", 3600, "not documented", ()),
    Function("get_gpu_info", "what a GPU worker says of its GPUs", 60, "not documented", ()),
    Function(
        "get_total_chunks_size",
        "size of all chunks; walks the whole metadata, so once an hour at most",
        3600,
        "none",
        ("compression_type", "value", "size"),
        arguments="'GB'",
    ),
    Function(
        "show_node_info",
        "the execution plan of one running statement with times per node",
        10,
        "SUPERUSER",
        (
            "stmt_id",
            "node_id",
            "node_type",
            "rows",
            "chunks",
            "avg_rows_in_chunk",
            "time",
            "parent_node_id",
            "read",
            "write",
            "comment",
            "timesum",
        ),
        arguments="42",
    ),
    Function(
        "gpu_metrics",
        "days on which more GPUs were used than licensed (4.4 and newer)",
        86400,
        "SUPERUSER",
        ("date", "actual_number_of_gpus", "data_read_limit_license_value"),
        arguments="'daily', '2026-11-01', '2026-11-30'",
    ),
    Function(
        "show_md_flag",
        "flags that are kept in the metadata",
        3600,
        "not documented",
        (),
        arguments="'all'",
    ),
)

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in _ROWS}
"""Read-only functions by name."""

DEFAULT_METRICS = ("show_server_status", "show_locks", "get_leveldb_stats", "show_cluster_nodes", "get_license_info")
"""What is polled where no metrics file says otherwise."""


def missing(metric: str, columns: Iterable[str]) -> list[str]:
    """Return what the alerts need of `metric` and is not among `columns`, which are in record form under the names of any version."""
    function = FUNCTIONS.get(metric)
    if function is None:
        return []
    sent = {function.aliases.get(name, name) for name in columns}
    return [name for name in function.needed if name not in sent]


def nearest(name: str) -> Optional[str]:
    """Return the pollable function whose name looks most like `name`, or None when none is near."""
    found = difflib.get_close_matches(name, FUNCTIONS, n=1, cutoff=0.6)
    return found[0] if found else None
