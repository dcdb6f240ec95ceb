"""The files of --clusters_dir: one `NAME.json` for each cluster, and `_defaults.json` for what they share."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Callable, Mapping, NamedTuple, Optional, Union

import msgspec
from msgspec import UNSET, UnsetType

from sqmon.config import converters, metrics_file, small_file
from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection, Metric
from sqmon.config.strict_json import Object, key_problems, object_of, short, struct_of
from sqmon.errors import ConfigError, reason_of

DEFAULTS = "_defaults.json"
"""Not the file of a cluster, since no name begins with an underscore."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""What the name of a cluster looks like."""
_NAME = re.compile(NAME.replace("$", r"\Z"))
RESERVED = frozenset({"archive", "current", "lifetimes", "sqmon"})
"""Names of directories that a service without --clusters_dir makes."""
_SUFFIX = ".json"
_SCHEMA = "$schema"
_LARGEST_FILE = 1 << 20
_EXAMPLE = '{"host": "10.0.0.1", "port": 5000, "password_file": "prod.password"}'
_OPEN_BITS = 0o137  # what a file with a password may not allow: 0640 at most


class ClusterFile(msgspec.Struct):
    """Everything that a cluster's file may say. What it leaves out is as in the defaults, and what they leave out as among the options."""

    host: Union[str, UnsetType] = UNSET
    port: Union[Annotated[int, msgspec.Meta(ge=1, le=65535)], UnsetType] = UNSET
    database: Union[str, UnsetType] = UNSET
    user: Union[str, UnsetType] = UNSET
    password: Union[str, UnsetType] = UNSET
    password_file: Union[str, UnsetType] = UNSET
    clustered: Union[bool, UnsetType] = UNSET
    service: Union[str, UnsetType] = UNSET
    use_ssl: Union[bool, UnsetType] = UNSET
    server_timezone: Union[str, UnsetType] = UNSET
    metrics: Any = UNSET
    metrics_file: Union[str, UnsetType] = UNSET


_FIELDS = ClusterFile.__struct_fields__
EITHER = (("password", "password_file"), ("metrics", "metrics_file"))
_CONVERTERS: Mapping[str, Callable[[str], Any]] = {"host": converters.host, "server_timezone": converters.zone}


class Basis(NamedTuple):
    """What the files begin with: the options that stand for what they leave out."""

    connection: Connection
    metrics_file: Optional[Path]
    query_timeout: Optional[float]
    only: str = ""
    """The name of the one cluster that counts; "" is all."""


class Described(NamedTuple):
    """One cluster as the files describe it."""

    name: str
    file: Path
    connection: Connection
    metrics: list[Metric]
    problems: list[str]
    """Why it can't be polled; empty for one that can. One that can't has no metrics."""


class Reading(NamedTuple):
    """What the files say of one cluster at one moment."""

    key: tuple[object, ...]
    """Differs when anything has changed."""
    described: Described
    metrics_file: Optional[Path]
    """The file that it takes its metrics from, where that is another one."""


class _File(NamedTuple):
    """One file: its content for comparing, and what it says or why nothing can be made of it."""

    path: Path
    key: tuple[object, ...]
    values: Mapping[str, Any]
    problems: list[str]


def read_all(directory: Path, basis: Basis) -> dict[str, Reading]:
    """Return what the files of the directory say, by the names of the clusters; raises ConfigError when it can't be read or has none."""
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."))
    except OSError as error:
        raise ConfigError([f"{directory}: can't be read: {reason_of(error)}"]) from None
    if basis.only:
        only = f"{basis.only}{_SUFFIX}"
        if only not in names:
            raise ConfigError([f"{directory / only}: there is no such file, which --cluster asks for"])
        names = [name for name in names if name in (only, DEFAULTS)]
    if not [name for name in names if name != DEFAULTS]:
        raise ConfigError([f"{directory}: has no file of a cluster; write for example {directory / 'prod.json'} with {_EXAMPLE}"])
    defaults = _read(directory / DEFAULTS) if DEFAULTS in names else _File(directory / DEFAULTS, (), {}, [])
    return {name[: -len(_SUFFIX)]: _reading(_read(directory / name), defaults, basis) for name in names if name != DEFAULTS}


def _reading(file: _File, defaults: _File, basis: Basis) -> Reading:
    name = file.path.name[: -len(_SUFFIX)]
    problems = [*file.problems, *defaults.problems]
    if not _NAME.match(name) or name in RESERVED:
        problems.append(
            f"{file.path}: {short(name)} can't be the name of a cluster; use letters, digits and . _ -, not {_listed(RESERVED)}"
        )
    values = {**_without_rivals(defaults.values, file.values), **file.values}
    connection, metrics, source = basis.connection, list[Metric](), b""
    if not problems:
        try:
            connection = _connection(values, file.path, basis)
        except ConfigError as error:
            problems += error.problems
        try:
            metrics, source = _metrics(values, file.path, basis)
        except ConfigError as error:
            problems += error.problems
    described = Described(name, file.path, connection, [] if problems else metrics, problems)
    named = None if "metrics" in values else values.get("metrics_file", basis.metrics_file)
    return Reading((file.key, defaults.key, source, tuple(problems)), described, named)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _without_rivals(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults without what an own key stands in for under another name."""
    rivals = {rival for pair in EITHER for key in pair if key in own for rival in pair}
    return {key: value for key, value in defaults.items() if key not in rivals}


def _read(path: Path) -> _File:
    """Return what a file says; its relative paths begin at its directory."""
    try:
        text, mode = small_file.read(path, _LARGEST_FILE), path.stat().st_mode & 0o777
    except OSError as error:
        return _File(path, (error.strerror,), {}, [f"{path}: can't be read: {reason_of(error)}"])
    try:
        pairs = [
            pair for pair in object_of(text, str(path), what="what is special about a cluster", example=_EXAMPLE) if pair[0] != _SCHEMA
        ]
        found, problems = _values(Object(pairs), mode)
    except ConfigError as error:
        return _File(path, (text, mode), {}, error.problems)
    found.update({key: path.parent / found[key] for key in ("password_file", "metrics_file") if key in found})
    return _File(path, (text, mode), found, [f"{path}: {problem.lstrip('.: ')}" for problem in problems])


def _values(pairs: Object, mode: int) -> tuple[dict[str, Any], list[str]]:
    """Return what the object says by its keys, and what is wrong with it as continuations of its place."""
    problems = key_problems(pairs, _FIELDS)
    known = {key: value for key, value in pairs if key in _FIELDS}
    try:
        struct_of(known, ClusterFile)
    except ConfigError as error:
        return {}, [*problems, *error.problems]
    problems += filter(None, (_convert(known, key) for key in _CONVERTERS if key in known))
    problems += [f"{first}: excludes {second}; give one of them" for first, second in EITHER if first in known and second in known]
    if "password" in known and mode & _OPEN_BITS:
        problems.append(f"password: others can read the file (mode {mode:04o}); chmod 0640, or use password_file")
    if "metrics" in known and not isinstance(known["metrics"], Object):
        problems.append('metrics: must be an object of metric names and seconds, like {"show_locks": 2}')
    return known, problems


def _convert(values: dict[str, Any], key: str) -> str:
    """Replace a value by what an option of this name would make of it; return "" or what is wrong with it."""
    try:
        values[key] = _CONVERTERS[key](values[key])
    except argparse.ArgumentTypeError as error:
        return f"{key}: {error}"
    return ""


def _connection(values: Mapping[str, Any], path: Path, basis: Basis) -> Connection:
    """Return where to log in; raises ConfigError."""
    if "host" not in values:
        raise ConfigError([f"{path}: host: is missing, here and in {DEFAULTS}"])
    named = {key: values[key] for key in values if key not in {key for pair in EITHER for key in pair}}
    password = basis.connection.password
    if "password" in values or "password_file" in values:
        password = PasswordSource(values.get("password", ""), values.get("password_file"))
    try:
        connection = replace(basis.connection, **named, password=password)
        password.read()
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem.removeprefix('--')}" for problem in error.problems]) from None
    return connection


def _metrics(values: Mapping[str, Any], path: Path, basis: Basis) -> tuple[list[Metric], bytes]:
    """Return what to poll, and the content of the file that says so where it is another one; raises ConfigError."""
    if "metrics" in values:
        return metrics_file.metrics_of(values["metrics"], f"{path}: metrics", basis.query_timeout), b""
    source = values.get("metrics_file", basis.metrics_file)
    if source is None:
        return metrics_file.defaults(basis.query_timeout), b""
    content = metrics_file.content(source)
    return metrics_file.parse(content, str(source), basis.query_timeout), content
