"""The five metrics that are polled by default, and what each entry of the catalogue says."""

from __future__ import annotations

from typing import Mapping, NamedTuple


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


FIVE = (
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
        "every worker of the cluster and the seconds since its last heartbeat; a dead one disappears",
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
)
