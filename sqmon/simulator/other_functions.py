"""The utility functions beyond the five default metrics, and the table of all functions."""

from __future__ import annotations

import re

from sqmon.simulator.default_functions import DEFAULTS, Function, Question, Row
from sqmon.simulator.generations import always, columns, since
from sqmon.simulator.metadata import CHECK_LOCKS, HEARTBEAT, READ_MANY, READ_PREFIX

_FLAGS = (("heartbeatTimeout", "111"), ("maxConnections", "1000"), ("rechunkThreshold", "90"))
_UNITS = {"B": 1 << 30, "KB": 1 << 20, "MB": 1 << 10, "GB": 1, "TB": 1 / (1 << 10)}


def flags(*, gpu: bool) -> list[tuple[str, str]]:
    """Return the flags and their values; a worker without a GPU is one that may use none of its memory."""
    return [("cudaMemQuota", "90" if gpu else "0"), *_FLAGS]


def _connections(question: Question) -> list[Row]:
    here = question.cluster.here
    return [
        (
            caller.ip or here.ip,
            caller.connection_id,
            question.stamp(caller.connected),
            caller.statement_id if caller.running else -1,
            question.stamp(caller.started if caller.running else caller.connected),
            caller.statement if caller.running else "",
        )
        for caller in question.callers
    ]


def _subscriptions(question: Question) -> list[Row]:
    nodes = question.cluster.listed_nodes()
    return [(service, node.instance, node.ip, node.port) for node in nodes for service in node.services]


def _snapshots(question: Question) -> list[Row]:
    now = question.stamp(question.cluster.now)
    running = question.cluster.statements.values()
    held = {lock.statement.id: lock.statement for lock in question.cluster.locks if not lock.active and lock.snapshot}
    rows = [(item, 1) for item in running if item.node] + [(item, 0) for item in held.values()]
    return [
        (item.database, "on_new_statement", question.stamp(item.started), 1, 30_000 + item.id, item.id, now, active)
        for item, active in rows
    ]


def _node_info(question: Question) -> list[Row]:
    statement = question.cluster.statements.get(int(question.arguments[0]))
    if statement is None or statement.node is None:
        return []
    now = question.cluster.now
    table = next(iter(re.findall(r"\w+\.\w+", statement.text)), "")
    chunks = 1 + int(now - statement.status_since)
    steps = (("PushToNetworkQueue", -1, "", ""), ("GpuTransform", 1, "", ""), ("ReadTable", 2, "4MB", table))
    return [
        (statement.id, number, kind, chunks * 1000, chunks, 1000, question.stamp(now), parent, read, "", comment, 0.004 * chunks)
        for number, (kind, parent, read, comment) in enumerate(steps, start=1)
    ]


def _version(question: Question) -> list[Row]:
    return [(question.server_version,)]


def _chunks_size(question: Question) -> list[Row]:
    asked = question.arguments[0].upper()
    unit = asked if asked in _UNITS else "GB"
    sizes = (("Compressed", question.cluster.compressed_gb), ("Uncompressed", question.cluster.uncompressed_gb))
    return [(kind, size * _UNITS[unit], unit) for kind, size in sizes]


def _no_rows(_: Question) -> list[Row]:
    return []


def _read_metrics(question: Question) -> list[Row]:
    return [(question.arguments[1], "20GB", "5000GB")]


def _health(question: Question) -> list[Row]:
    cluster, category = question.cluster, question.arguments[0]
    queued = sum(item.status == "In queue" for item in cluster.statements.values())
    found = {
        "storage": [("No. fragmented chunks", "12")],
        "license": [("Used storage capacity", f"{cluster.compressed_gb:.0f}")],
        "self_healing": [("Queries in queue", str(queued))],
        "metadata_stats": [
            (message, f"{max((kept.maximum for key, kept in cluster.stats.latencies.items() if key[1] == message), default=0.0):.2f}")
            for message in (HEARTBEAT, CHECK_LOCKS, READ_MANY, READ_PREFIX)
        ],
    }.get(category, [])
    return [(question.stamp(cluster.now), category, name, "", value, "info", 0.01) for name, value in found]


def _permissions(question: Question) -> list[Row]:
    return [("SUPERUSER", "cluster", ""), ("CONNECT", "database", question.caller.database)]


def _configuration(question: Question) -> list[Row]:
    return [(flag, value, "true", "RND", "regular") for flag, value in flags(gpu=question.gpu)]


def _metadata_flags(question: Question) -> list[Row]:
    return [(flag, value) for flag, value in flags(gpu=question.gpu) if question.arguments[0] in ("all", flag)]


def _extents(question: Question) -> list[Row]:
    return [(question.arguments[0], int(question.arguments[1]), 0, 0, 0, 1024, 4096)]


_EXTENTS = "database_name text, table_id int, column_id int, chunk_id int, extent_id int, compressed_size bigint, uncompressed_size bigint"
_PERMISSIONS = "permission_type text, object_type text, object_name text"

OTHERS = (
    Function(
        "show_connections",
        always("ip text, conn_id int, conn_start_time varchar(19), stmt_id int, stmt_start_time varchar(19), stmt text"),
        _connections,
    ),
    Function("show_subscribed_instances", always("service text, servernode text, serverip text, serverport int"), _subscriptions),
    Function(
        "get_open_snapshots",
        since(
            {
                "4.7": "database_name text, reason text, open_time varchar(19), database_version int, snapshot_id bigint, statement_id int,"
                " current_time varchar(19), is_statement_active int"
            }
        ),
        _snapshots,
    ),
    Function(
        "show_node_info",
        always(
            "stmt_id int, node_id int, node_type text, rows bigint, chunks bigint, avg_rows_in_chunk bigint, time varchar(19),"
            " parent_node_id int, read text, write text, comment text, timeSum double"
        ),
        _node_info,
        range(1, 2),
    ),
    Function("show_version", always("bytesread text"), _version),
    Function("get_sqream_server_version", always("get_sqream_server_version text"), _version),
    Function("get_total_chunks_size", since({"2024-05": "compression-type text, value double, size text"}), _chunks_size, range(1, 5)),
    Function(
        "gpu_metrics",
        since({"4.7": "date text, actual_number_of_gpus int, data_read_limit_license_value int"}),
        _no_rows,
        range(3, 4),
    ),
    Function(
        "data_read_metrics",
        {"4.6": columns("date text, actual_data_read text, data_read_limit_license_value text")},
        _read_metrics,
        range(3, 4),
    ),
    Function(
        "health_check_monitoring",
        since(
            {
                "2024-05": "metric_time varchar(19), metric_category text, metric_name text, metric_description text, metric_value text,"
                " metric_validation_status text, response_time_sec double"
            }
        ),
        _health,
        range(3, 7),
    ),
    Function("get_role_permissions", since({"2024-05": _PERMISSIONS}), _permissions),
    Function("get_statement_permissions", always(_PERMISSIONS), _permissions, range(1, 2)),
    Function("show_conf", always("flag text, default_value text, developer_mode text, category text, type text"), _configuration),
    Function("show_md_flag", always("flag text, value text"), _metadata_flags, range(1, 2)),
    Function("list_saved_queries", always("saved_query text"), _no_rows),
    Function("get_chunk_info", since({"2024-05": _EXTENTS}), _extents, range(2, 4)),
    Function("get_extent_info", since({"2024-05": _EXTENTS}), _extents, range(2, 4)),
)

FUNCTIONS = {function.name: function for function in (*DEFAULTS, *OTHERS)}
