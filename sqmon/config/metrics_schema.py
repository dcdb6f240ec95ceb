"""The JSON schema of the metrics file, for editors and for checks before a file reaches a host."""

from __future__ import annotations

from typing import Any

import msgspec

from sqmon.config import catalogue, metrics_file, read_only

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_DESCRIPTIONS = {
    "interval": "seconds between polls",
    "timeout": "seconds that a login or a poll may take",
    "query": "a select of your own; the metric's name is then yours to choose",
    "allow_functions": "functions of your own that the query may call, in lower case",
    "allow_state_change": f"true allows {read_only.RESET}, and nothing else",
    "emit": "rows writes every row of every poll, changes only the rows that came or went",
    "keyframe_s": "with emit changes, the seconds after which a poll writes all rows again",
}
_SECONDS = {"type": "number", "minimum": metrics_file.SHORTEST, "maximum": metrics_file.LONGEST}
_TYPES: dict[str, Any] = {
    "interval": _SECONDS,
    "timeout": {"anyOf": [_SECONDS, {"type": "null"}]},
    "allow_functions": {"type": "array", "items": {"type": "string", "pattern": metrics_file.NAME}},
    "keyframe_s": _SECONDS,
}
"""What the types of the entry's fields leave open, because the reader tells it in words of its own."""

_NO_QUERY = {"query": {"type": "null"}, "allow_functions": {"maxItems": 0}}
_QUERY_OF_ONES_OWN = {
    "$ref": "#/$defs/entry",
    "properties": {"query": {"type": "string"}, "allow_state_change": {"const": False}},
    "required": ["query"],
}
_FUNCTION = {
    "anyOf": [
        _SECONDS,
        {"$ref": "#/$defs/entry", "properties": {**_NO_QUERY, "allow_state_change": {"const": False}}},
        {"$ref": "#/$defs/query"},
    ]
}
_RESET = {
    "anyOf": [
        {
            "$ref": "#/$defs/entry",
            "properties": {**_NO_QUERY, "allow_state_change": {"const": True}},
            "required": ["allow_state_change"],
        },
        {"$ref": "#/$defs/query"},
    ]
}


def schema() -> dict[str, Any]:
    """Return the schema. It accepts what the service accepts, except that it doesn't read the text of queries."""
    functions = {
        function.name: {"description": function.summary, "$ref": f"#/$defs/{'query' if function.arguments else 'function'}"}
        for function in catalogue.FUNCTIONS.values()
    }
    return {
        "$schema": DIALECT,
        "title": "The metrics file of sqmon",
        "description": "What is polled: the name of a function, and the seconds between polls or an object that says more.",
        "type": "object",
        "propertyNames": {"pattern": rf"^\$schema$|{metrics_file.NAME}", "not": {"enum": sorted(metrics_file.RESERVED)}},
        "properties": {
            "$schema": {"type": "string"},
            **functions,
            read_only.RESET: {"description": read_only.STATE_CHANGING[read_only.RESET], "$ref": "#/$defs/reset"},
        },
        "additionalProperties": {"$ref": "#/$defs/query"},
        "if": {"required": ["$schema"]},
        "then": {"minProperties": 2, "maxProperties": metrics_file.MOST_METRICS + 1},
        "else": {"minProperties": 1, "maxProperties": metrics_file.MOST_METRICS},
        "$defs": {"entry": _entry(), "function": _FUNCTION, "query": _QUERY_OF_ONES_OWN, "reset": _RESET},
    }


def _entry() -> dict[str, Any]:
    """Return the schema of an entry in its long form: the fields of its type, each described."""
    made: dict[str, Any] = msgspec.json.schema(metrics_file.Entry)["$defs"]["Entry"]
    fields = {name: {"description": _DESCRIPTIONS[name], **field, **_TYPES.get(name, {})} for name, field in made["properties"].items()}
    return {"type": "object", "properties": fields, "required": made["required"], "additionalProperties": False}
