"""SQreamDB's utility functions that may be polled: what each is, how often, what it needs, and the columns it returns.

The facts come from SQream's documentation of the utility commands (4.6 and 4.10). What it leaves out is taken from what SQream's own
monitor service and drivers do with these functions. Column names are in record form (lower case, `_`).
"""

from __future__ import annotations

from typing import Iterable, Mapping, Optional

from sqmon.config.default_metrics import FIVE, Function

_OTHERS = (
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

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in (*FIVE, *_OTHERS)}
"""Read-only functions by name."""

DEFAULT_METRICS = tuple(function.name for function in FIVE)
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
    import difflib  # noqa: PLC0415 - memory that only a wrong name is worth

    found = difflib.get_close_matches(name, FUNCTIONS, n=1, cutoff=0.6)
    return found[0] if found else None
