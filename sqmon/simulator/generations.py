"""The generations of SQreamDB that the simulator can imitate, and the columns of the default metrics in each."""

from __future__ import annotations

from typing import Mapping

from sqmon.simulator.columns import Column

GENERATIONS = ("2019", "2024-05", "4.6", "4.7", "4.10")
"""Oldest first. Two are known by when they were seen: 2019 has blanks in its names, a server of May 2024 has underscores there."""


def columns(text: str) -> list[Column]:
    """Return the columns that `name type, name type` describes; `+` in a name is a blank, `!` after a type is NOT NULL."""
    pairs = [entry.split() for entry in text.split(",")]
    return [Column(name.replace("+", " "), type_.rstrip("!"), not type_.endswith("!")) for name, type_ in pairs]


def since(texts: Mapping[str, str]) -> dict[str, list[Column]]:
    """Return the columns by generation: each text holds from its generation until the next one, and there are none before the first."""
    found, text = {}, ""
    for generation in GENERATIONS:
        text = texts.get(generation, text)
        if text:
            found[generation] = columns(text)
    return found


def always(text: str) -> dict[str, list[Column]]:
    """Return the same columns for every generation."""
    return since({GENERATIONS[0]: text})


_STATUS = (
    "service text, instanceid text, connection_id int, serverip text, serverport int, database_name text, user_name text, clientip text,"
    " statementid int, statement text, statementstarttime varchar(19), statementstatus text, statementstatusstart varchar(19)"
)
_STATUS_OF_MAY_2024 = (
    "service text, instance_id text, connection_id int, server_ip text, server_port int, database_name text, user_name text,"
    " client_ip text, statement_id int, statement text, statement_start_time varchar(19), statement_status text,"
    " statement_status_start varchar(19)"
)
_STATUS_OF_2019 = _STATUS_OF_MAY_2024.replace("_", "+").replace("service text", "service+id text")
_LOCKS = (
    "statement_id text!, statement_string text, username text, server text, port text, locked_object text, lockmode varchar(9),"
    " statement_start_time varchar(19), lock_start_time varchar(19)"
)
_LOCKS_OF_MAY_2024 = (
    "statement+id text!, statement+string text, username text, server text, port text, locked+object text, lock+mode varchar(9),"
    " statement+start+time varchar(19), lock+start+time varchar(19)"
)
_LOCKS_OF_2019 = _LOCKS.replace("statement_id", "stmt_id").replace("statement_string", "stmt_string")
_LICENCE_OF_4_6 = (
    "compressed_cluster_size bigint, uncompressed_cluster_size bigint, compress_type text, cluster_size_limit bigint,"
    " expiration_date varchar(10), is_date_expired int, is_size_exceeded int, cluster_size_left bigint"
)
_LICENCE = f"{_LICENCE_OF_4_6}, data_read_size_limit bigint, data_write_size_limit bigint, gpu_limit int"

SERVER_STATUS = since({"2019": _STATUS_OF_2019, "2024-05": _STATUS_OF_MAY_2024, "4.6": _STATUS})
LOCKS = since(
    {
        "2019": _LOCKS_OF_2019,
        "2024-05": _LOCKS_OF_MAY_2024,
        "4.6": _LOCKS,
        "4.7": f"{_LOCKS_OF_MAY_2024}, is_statement_active int, is_snapshot_active int",
    }
)
LEVELDB_STATS = since(
    {
        "2024-05": "timestamp varchar(19), server_ip text, server_port int, msg text, count bigint, average double, max double,"
        " max_timestamp varchar(19), variance double"
    }
)
CLUSTER_NODES = always("server_ip text, server_port int, connection_id int, instance_id text, last_heartbeat int, connection_status text")
LICENCE_INFO = since({"2024-05": _LICENCE, "4.6": _LICENCE_OF_4_6, "4.7": _LICENCE})
