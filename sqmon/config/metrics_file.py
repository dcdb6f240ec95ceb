"""The parser of the metrics file: a file with a mistake is refused as a whole, and every mistake is named with its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Optional

import msgspec

from sqmon.config import catalogue, custom_query, read_only, small_file
from sqmon.config.settings import Emit, Metric
from sqmon.config.strict_json import MOST_PROBLEMS, Object, key_problems, object_of, short, struct_of
from sqmon.errors import ConfigError, reason_of

NAME = r"^[a-z][a-z0-9_]{0,63}$"
"""What a metric's name looks like, in a form that JSON schemas know, too."""
_NAME = re.compile(NAME.replace("$", r"\Z"))
RESERVED = {
    "sqmon": "is the name of the service's own stream",
    "lifetimes": "is the name of the stream of lifetimes",
    "current": "is the name of the directory of links",
}
_SCHEMA = "$schema"
SHORTEST = 0.05
LONGEST = 366 * 86400.0
_LARGEST_FILE = 1 << 20
MOST_METRICS = 1000
_EXAMPLE = '{"show_locks": 2}'


class Entry(msgspec.Struct):
    """A value of the metrics file in its long form."""

    interval: Any
    timeout: Any = None
    query: Optional[str] = None
    allow_functions: list[str] = []
    """What the query may call besides the functions that are known to be read-only."""
    allow_state_change: bool = False
    emit: Emit = "rows"
    keyframe_s: Any = 600


_FIELDS = Entry.__struct_fields__


def defaults(query_timeout: Optional[float] = None) -> list[Metric]:
    """Return the metrics that are polled when there is no metrics file."""
    return [
        Metric(name, interval, query_timeout or default_timeout(interval), read_only.call(name))
        for name, interval in ((name, catalogue.FUNCTIONS[name].interval) for name in catalogue.DEFAULT_METRICS)
    ]


def read(path: Optional[Path], query_timeout: Optional[float] = None) -> list[Metric]:
    """Return the metrics of the file, or the catalogue's five for None; raises ConfigError with every problem."""
    return defaults(query_timeout) if path is None else parse(content(path), str(path), query_timeout)


def content(path: Path) -> bytes:
    """Return the bytes of the file; raises ConfigError for one that can't be read, which is any that isn't a small regular file."""
    try:
        return small_file.read(path, _LARGEST_FILE)
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {reason_of(error)}"]) from None


def default_timeout(interval: float) -> float:
    """Return the seconds that a poll may take where nothing else is said."""
    return max(10.0, 2 * interval)


def parse(text: bytes, place: str, query_timeout: Optional[float] = None) -> list[Metric]:
    """Return the metrics that `text` describes; raises ConfigError with every problem, each with `place` and the entry it is in."""
    return metrics_of(object_of(text, place, what="metric names and seconds", example=_EXAMPLE), place, query_timeout)


def metrics_of(pairs: Object, place: str, query_timeout: Optional[float] = None) -> list[Metric]:
    """Return the metrics of an object that has been read, as `parse` does."""
    problems: list[str] = []
    metrics: dict[str, Metric] = {}
    seen = set()
    for name, value in pairs:
        if len(problems) >= MOST_PROBLEMS:
            problems[MOST_PROBLEMS:] = [f"{place}: and more, which are told when these are put right"]
            break
        if name == _SCHEMA:
            continue
        if name in seen:
            problems.append(f"{place}: {short(name)}: appears twice")
            continue
        seen.add(name)
        try:
            metrics[name] = _metric(name, value, query_timeout)
        except ConfigError as error:
            problems.extend(f"{place}: {short(name)}{problem}" for problem in error.problems)
    if len(metrics) > MOST_METRICS:
        problems.append(f"{place}: names {len(metrics)} metrics; each is a process and a login of its own, so {MOST_METRICS} is the most")
    elif not seen:
        problems.append(f"{place}: names no metric; write for example {_EXAMPLE}")
    if problems:
        raise ConfigError(problems)
    return list(metrics.values())


def _metric(name: str, value: Any, query_timeout: Optional[float]) -> Metric:
    """Return the metric of one entry; raises ConfigError whose problems continue the entry's name."""
    if name in RESERVED:
        raise ConfigError([f": {RESERVED[name]}; choose another name"])
    if not _NAME.match(name):
        raise ConfigError([": is not a metric name; use lower-case letters, digits and _, a letter first, at most 64 in all"])
    entry = _entry(value)
    problems = []
    interval = timeout = None
    try:
        interval = _seconds(entry.interval)
    except ValueError as error:
        problems.append(f".interval: {error}" if isinstance(value, Object) else f": {error}")
    if entry.timeout is not None:
        try:
            timeout = _seconds(entry.timeout)
        except ValueError as error:
            problems.append(f".timeout: {error}")
    try:
        keyframe_s = _seconds(entry.keyframe_s)
    except ValueError as error:
        problems.append(f".keyframe_s: {error}")
    refusal = "" if interval is None else _refusal(name, entry)
    if refusal:
        problems.append(refusal)
    if problems or interval is None:
        raise ConfigError(problems)
    return Metric(
        name=name,
        interval=interval,
        timeout=timeout or query_timeout or default_timeout(interval),
        query=entry.query or read_only.call(name),
        is_command=entry.allow_state_change,
        emit=entry.emit,
        keyframe_s=keyframe_s,
    )


def _entry(value: Any) -> Entry:
    if not isinstance(value, Object):
        return Entry(value)
    problems = key_problems(value, _FIELDS)
    if all(name != "interval" for name, _ in value):
        problems.append(".interval: is missing; give a number of seconds")
    if problems:
        raise ConfigError(problems)
    return struct_of(dict(value), Entry)


def _seconds(value: Any) -> float:
    """Return `value` as a number of seconds; raises ValueError with the end of a sentence."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        text = f"'{short(value)}'" if isinstance(value, str) else short(value)
        raise ValueError(f"{text} is not a number of seconds")  # noqa: TRY004 - its text is what is caught and told
    if not value > 0:  # which NaN isn't either
        raise ValueError(f"{value} must be greater than 0")
    if not SHORTEST <= value <= LONGEST:
        raise ValueError(f"{value} must be from {SHORTEST} to {LONGEST:.0f} seconds")
    return float(value)


def _refusal(name: str, entry: Entry) -> str:
    """Return why this entry must not be polled, as the continuation of its name, or ""."""
    if entry.allow_state_change and (name != read_only.RESET or entry.query is not None):
        return f".allow_state_change: is for {read_only.RESET} alone"
    if entry.query is not None:
        return _query_refusal(entry.query, entry.allow_functions)
    if entry.allow_functions:
        return ".allow_functions: is for a query"
    if name == read_only.RESET and not entry.allow_state_change:
        asked = f'"{name}": {{"interval": {entry.interval:g}, "allow_state_change": true}}'
        return f": {read_only.STATE_CHANGING[name]}, which a number alone does not ask for; if that is wanted, write {asked}"
    change = read_only.state_change(name)
    if change and not entry.allow_state_change:
        return f": {change}, so it is never polled"
    return "" if change else _unknown_or_incomplete(name)


def _query_refusal(query: str, allowed: list[str]) -> str:
    for function in allowed:
        if not _NAME.match(function):
            return f".allow_functions: {short(function)} is not the name of a function in lower case"
        if read_only.state_change(function):
            return f".allow_functions: {function} {read_only.state_change(function)}, so it is never polled"
    problem = custom_query.problem(query, allowed)
    return f".query: {problem}" if problem else ""


def _unknown_or_incomplete(name: str) -> str:
    function = catalogue.FUNCTIONS.get(name)
    if function is None:
        nearest = catalogue.nearest(name)
        hint = f"did you mean {nearest}?" if nearest else 'for a query of your own give {"interval": ..., "query": "select ..."}'
        return f": is not a known function; {hint}"
    if function.arguments:
        query = f"select {name}({function.arguments});"
        return f': needs arguments; give {{"interval": {function.interval:g}, "query": "{query}"}}'
    return ""
