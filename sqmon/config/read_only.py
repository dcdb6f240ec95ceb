"""The functions that a query may call because they only read, and what the other known functions would change."""

from __future__ import annotations

from typing import Mapping

from sqmon.config.catalogue import FUNCTIONS

RESET = "reset_leveldb_stats"
"""The one state-changing function that sites need: the statistics only ever accumulate, so somebody resets them daily."""

STATE_CHANGING: Mapping[str, str] = {
    "shutdown_server": "shuts the server down",
    "abort_server": "ends the server",
    "backup_metadata": "writes files on the server",
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
    "rechunk_include_all": "rewrites a table's chunks",
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

READ_ONLY_UTILITIES = frozenset(
    """
    data_read_metrics get_catalogs get_chunk_info get_columns get_extent_info get_schemas get_sqream_server_version
    get_statement_locks get_statement_permissions get_table_types get_tables get_type_info get_views is_table_exists is_view_exists
    list_saved_queries show_conf_extended show_db_info show_instance_services show_last_node_info
    """.split()  # noqa: SIM905 - names
)
"""SQreamDB's functions that only read, besides those of the catalogue: they need arguments, or say nothing of the server's health."""

SQL_FUNCTIONS = frozenset(
    """
    abs acos ascii asin atan atn2 avg cast ceil ceiling char_length charindex chr coalesce concat corr cos cot count covar_pop covar_samp
    crc64 cume_dist curdate current_date current_timestamp date_part dateadd datediff datepart decode degrees dense_rank eomonth exp
    extract first_value floor from_unixts from_unixtsms getdate greatest hex_to_int is_ascii is_castable isnull isprefixof lag
    last_value lead least left len length log log10 lower ltrim max min mod mode nth_value ntile nullif octet_length patindex
    percent_rank percentile_cont percentile_disc pi position power radians rank regexp_count regexp_instr regexp_replace
    regexp_substr repeat replace reverse right round row_number rtrim sign sin sqrt square stddev stddev_pop stddev_samp substr
    substring sum sysdate tan text_to_array to_hex to_unixts to_unixtsms trim trunc upper var_pop var_samp variance
    array char datetime decimal double float nchar numeric nvarchar text varchar
    """.split()  # noqa: SIM905 - names
)
"""SQL's own functions, and types that take arguments; none of them can change anything."""


def call(function: str) -> str:
    """Return the statement that polls `function`."""
    return f"select {function}();"


def state_change(function: str) -> str:
    """Return what `function` would do to the server (or put into the log) as the end of a sentence, or "" when that is not known."""
    return STATE_CHANGING.get(function, "writes a file on the server" if function.startswith("export_") else "")


def only_reads(function: str) -> bool:
    """Return whether `function` is known to change nothing."""
    return function in FUNCTIONS or function in READ_ONLY_UTILITIES or function in SQL_FUNCTIONS
