"""Which SQL texts may be sent to the server as a metric."""

from __future__ import annotations

import re
from typing import Mapping

RESET = "reset_leveldb_stats"
"""The one state-changing function that sites need: the statistics only ever accumulate, so somebody resets them daily."""

STATE_CHANGING: Mapping[str, str] = {
    "shutdown_server": "shuts the server down",
    "release_defunct_locks": "releases locks, which makes some statements fail",
    RESET: "resets the metadata statistics",
    "grant_usage_on_service_to_all_roles": "grants rights to every role",
    "stop_statement": "stops a statement",
    "connection_stop_statement": "stops the statement of a connection",
    "remove_lock": "removes a lock",
    "remove_statement_lock": "removes the locks of a statement",
    "remove_statement_locks": "removes the locks of a statement",
    "subscribe_service": "changes which worker serves what",
    "unsubscribe_service": "changes which worker serves what",
    "cleanup_chunks": "deletes data files",
    "cleanup_extents": "deletes data files",
    "cleanup_discarded_chunks": "deletes data files",
    "rechunk": "rewrites a table's chunks",
    "recompile_view": "changes a view",
    "recompile_saved_query": "changes a saved query",
    "save_query": "creates a saved query",
    "drop_saved_query": "drops a saved query",
    "execute_saved_query": "runs whatever the saved query holds",
    "swap_table_names": "renames tables",
    "truncate_if_exists": "empties a table",
    "set_parallel_delete_threads": "changes a server setting",
    "rows_count_correction": "changes a table's row count",
    "key_evaluate": "changes metadata",
    "keys_evaluate": "changes metadata",
    "data_diag": "is a repair tool",
    "report": "writes a report on the server",
    "report_collection": "writes a report on the server",
    "health_check_monitoring": "writes a log file on the server",
    "export_open_snapshots": "writes a file on the server",
    "export_leveldb_stats": "writes a file on the server",
    "export_statement_queue_stats": "writes a file on the server",
    "export_conn_stats": "writes a file on the server",
    "dump_database_ddl": "puts the whole schema into the log",
    "get_ddl": "puts table definitions into the log",
    "get_all_roles_global_ddl": "puts role definitions into the log",
    "get_all_roles_database_ddl": "puts role definitions into the log",
    "ldap_get_attr": "puts directory entries into the log",
}
"""Functions that are never polled: name -> what it would do, as the end of a sentence."""

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"((?:[^"]|"")*)\"""")
_CALL = re.compile(r"([a-z_][a-z0-9_$]*)\s*\(")


def call(function: str) -> str:
    """Return the statement that polls `function`."""
    return f"select {function}();"


def state_change(function: str) -> str:
    """Return what `function` would do to the server (or put into the log) as the end of a sentence, or "" when it only reads."""
    return STATE_CHANGING.get(function, "writes a file on the server" if function.startswith("export_") else "")


def problem(query: str) -> str:
    """Return what is wrong with a custom query as the end of a sentence, or "" for one read-only statement.

    Only one `select` is allowed, without comments (they could hide what is called from this check), and without a call to a function
    that changes the server.
    """
    code = _QUOTED.sub(lambda quoted: " '' " if quoted[1] is None else " " + re.sub(r"\W", "_", quoted[1]) + " ", query)
    if re.search(r"--|/\*", code):
        return "must not hold comments"
    if code.replace("''", "").count("'") or '"' in code:
        return "has a quote that is never closed"
    statement = code.strip().rstrip(";").strip().lower()
    if not re.match(r"select\b", statement):
        return "must start with select"
    if ";" in statement:
        return "must be one statement"
    for name in _CALL.findall(statement):
        if state_change(name):
            return f"calls {name}, which {state_change(name)}"
    return ""
