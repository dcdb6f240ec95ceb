"""The locks that a statement wants, by its text, and which locks conflict: the table of SQreamDB's guide to concurrency and locks."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Mapping

EXCLUSIVE = "Exclusive"
INCLUSIVE = "Inclusive"

_NAME = r'("(?:[^"]|"")*"|[^\W\d]\w*)'
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})?(?:\s*\.\s*{_NAME})?"
_MAYBE = r"(?:if\s+(?:not\s+)?exists\s+)?"
_COMMENTS = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))+", re.DOTALL)
_RULES = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("insert", rf"(?:insert\s+into|copy(?!\s+\S+\s+to\b))\s+{_PATH}"),
        ("update", rf"(?:update|delete\s+from|truncate(?:\s+table)?)\s+{_MAYBE}{_PATH}"),
        ("table", rf"(?:create(?:\s+or\s+replace)?(?:\s+(?:external|foreign))?|alter|drop)(?:\s+foreign)?\s+table\s+{_MAYBE}{_PATH}"),
        ("schema", rf"(?:create|alter|drop)\s+schema\s+{_MAYBE}{_PATH}"),
        ("database", rf"(?:create|alter|drop)\s+database\s+{_MAYBE}{_NAME}"),
        ("definition", r"(?:create|alter|drop|grant|revoke|rename)\b"),
    )
)
_HEAD = 1000  # characters of a statement that are looked at


def conflict(mode: str, other: str) -> bool:
    """Return whether locks of these modes on one object exclude each other."""
    return EXCLUSIVE.lower() in (mode.lower(), other.lower())


@lru_cache(maxsize=1024)
def wanted(sql: str, database: str) -> Mapping[str, str]:
    """Return the mode of each object that the statement must lock before it can run in this database; reading locks none."""
    text = sql[:_HEAD]
    start = _COMMENTS.match(text)
    text = text[start.end() :] if start else text
    for kind, pattern in _RULES:
        found = pattern.match(text)
        if found is not None:
            return _locks(kind, [_plain(part) for part in found.groups() if part is not None], database)
    return {}


def touches(name: str, locked_object: str) -> bool:
    """Return whether a name as people say it (t, public.t, master.public.t, or the object itself) means this object."""
    if name == locked_object:
        return True
    path = locked_object.lower().split("$")[1:]
    if path and path[-1] in ("insert", "update"):
        path.pop()
    said = name.lower().split(".")
    return path[-len(said) :] == said


def _locks(kind: str, path: list[str], database: str) -> Mapping[str, str]:
    within = {f"database${database}": INCLUSIVE}
    if kind == "definition":
        return {**within, "globalpermission$": EXCLUSIVE}
    if kind == "database":
        return {f"database${path[0]}": EXCLUSIVE, "globalpermission$": EXCLUSIVE}
    if kind == "schema":
        return {**within, "globalpermission$": EXCLUSIVE, f"schema${database}${path[-1]}": EXCLUSIVE}
    if len(path) == 3:  # noqa: PLR2004 - database, schema, table
        database = path[0]
        within = {f"database${database}": INCLUSIVE}
    schema, name = ("public", *path)[-2:]
    within[f"schema${database}${schema}"] = INCLUSIVE
    table = f"table${database}${schema}${name}"
    if kind == "insert":
        return {**within, f"{table}$Insert": INCLUSIVE}
    if kind == "update":
        return {**within, f"{table}$Update": EXCLUSIVE}
    return {**within, "globalpermission$": EXCLUSIVE, f"{table}$Insert": EXCLUSIVE, f"{table}$Update": EXCLUSIVE}


def _plain(name: str) -> str:
    """Return the name as the catalog has it: without quotes, and in lower case where it had none."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
