"""Which locks a statement wants, by its text, and which locks conflict (the table of SQreamDB's guide to concurrency)."""

from __future__ import annotations

import re

INCLUSIVE = "Inclusive"
EXCLUSIVE = "Exclusive"
Wanted = tuple[tuple[str, str], ...]
"""Pairs of object and mode."""

_NAME = r'("(?:[^"]|"")+"|\w+)'
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})?(?:\s*\.\s*{_NAME})?"
_MAYBE = r"(?:if\s+(?:not\s+)?exists\s+)?"
_INSERT = re.compile(rf"(?:insert\s+into|copy(?!\s+\S+\s+to\b))\s+{_PATH}", re.IGNORECASE)
_UPDATE = re.compile(rf"(?:update|delete\s+from|truncate(?:\s+table)?)\s+{_MAYBE}{_PATH}", re.IGNORECASE)
_TABLE = re.compile(rf"(?:create(?:\s+or\s+replace)?(?:\s+(?:external|foreign))?|alter|drop)\s+table\s+{_MAYBE}{_PATH}", re.IGNORECASE)
_SCHEMA = re.compile(rf"(?:create|alter|drop)\s+schema\s+{_MAYBE}{_NAME}", re.IGNORECASE)
_DATABASE = re.compile(rf"(?:create|alter|drop)\s+database\s+{_MAYBE}{_NAME}", re.IGNORECASE)
_DEFINITION = re.compile(r"(?:create|alter|drop|grant|revoke|rename)\b", re.IGNORECASE)
_GLOBAL = ("globalpermission$", EXCLUSIVE)


def conflict(mode: str, other: str) -> bool:
    """Return whether locks of these modes on one object exclude each other."""
    return EXCLUSIVE in (mode, other)


def wanted(sql: str, database: str) -> Wanted:
    """Return the locks that the statement must have before it can run in this database; reading wants none."""
    text = sql.strip()
    within = (f"database${database}", INCLUSIVE)
    insert, update, table = _INSERT.match(text), _UPDATE.match(text), _TABLE.match(text)
    found = insert or update or table
    if found:
        *_, schema, name = ("public", *(_plain(part) for part in found.groups() if part))
        path = f"table${database}${schema}${name}"
        inside = (within, (f"schema${database}${schema}", INCLUSIVE))
        if insert:
            return (*inside, (f"{path}$Insert", INCLUSIVE))
        if update:
            return (*inside, (f"{path}$Update", EXCLUSIVE))
        return (within, _GLOBAL, inside[1], (f"{path}$Insert", EXCLUSIVE), (f"{path}$Update", EXCLUSIVE))
    found = _SCHEMA.match(text)
    if found:
        return (within, _GLOBAL, (f"schema${database}${_plain(found[1])}", EXCLUSIVE))
    found = _DATABASE.match(text)
    if found:
        return ((f"database${_plain(found[1])}", EXCLUSIVE), _GLOBAL)
    return (within, _GLOBAL) if _DEFINITION.match(text) else ()


def _plain(name: str) -> str:
    """Return the name as the catalog has it: without quotes, and in lower case when it had none."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
