"""The JSON schema of a file of --clusters_dir, for editors and for checks before a file reaches a host."""

from __future__ import annotations

from typing import Any

import msgspec

from sqmon.config import metrics_schema
from sqmon.config.clusters import EITHER, ClusterFile

_DESCRIPTIONS = {
    "host": "address of the SQreamDB worker, or of the server picker where clustered is true",
    "port": "its port; a server picker listens on 3108",
    "database": "database to log in to",
    "user": "role to log in as",
    "password": "its password; nobody but the owner and the group of this file may read it then (mode 0640)",
    "password_file": "file that contains the password; read again for each login, and relative to the directory of this file",
    "clustered": "whether host and port are those of the server picker",
    "service": "SQreamDB service of the monitor worker",
    "use_ssl": "whether to speak TLS",
    "server_timezone": "time zone of the server's clock, as in Europe/Berlin",
    "metrics": "what is polled: the content of a metrics file",
    "metrics_file": "file of what is polled, relative to the directory of this file",
}


def schema() -> dict[str, Any]:
    """Return the schema of a cluster's file and of the defaults, which have the same keys. What they say of the world is not checked."""
    made: dict[str, Any] = msgspec.json.schema(ClusterFile)["$defs"]["ClusterFile"]
    fields = {name: {"description": _DESCRIPTIONS[name], **field} for name, field in made["properties"].items()}
    # With an id of its own, its references stay its own.
    fields["metrics"] = {"$ref": "#/$defs/metrics", "description": _DESCRIPTIONS["metrics"]}
    return {
        "$schema": metrics_schema.DIALECT,
        "title": "A cluster of sqmon",
        "description": "How one SQreamDB cluster is reached; _defaults.json in the same directory stands for what is left out.",
        "type": "object",
        "properties": {"$schema": {"type": "string"}, **fields},
        "additionalProperties": False,
        "not": {"anyOf": [{"required": [first, second]} for first, second in EITHER]},
        "$defs": {"metrics": {"$id": "metrics.schema.json", **metrics_schema.schema()}},
    }
