"""The metrics file: which functions are polled, read whole and refused whole."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, Optional, Union

import msgspec

from sqmon.config import catalogue, read_only
from sqmon.config.settings import Metric
from sqmon.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_RESERVED = {"sqmon": "is the name of the service's own stream", "current": "is the name of the directory of links"}
_SHORTEST = 0.05
_LONGEST = 366 * 86400.0


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """A value of the metrics file in its long form."""

    interval: Union[int, float, str]
    timeout: Union[int, float, str, None] = None
    query: Optional[str] = None
    allow_state_change: bool = False


def defaults(query_timeout: Optional[float] = None) -> list[Metric]:
    """Return the metrics that are polled when there is no metrics file."""
    return [
        Metric(name, interval, query_timeout or default_timeout(interval), read_only.call(name))
        for name, interval in ((name, catalogue.FUNCTIONS[name].interval) for name in catalogue.DEFAULT_METRICS)
    ]


def read(path: Optional[Path], query_timeout: Optional[float] = None) -> list[Metric]:
    """Return the metrics of the file, or the catalogue's five for None; raises ConfigError with every problem."""
    if path is None:
        return defaults(query_timeout)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {error.strerror}"]) from None
    return parse(text, str(path), query_timeout)


def default_timeout(interval: float) -> float:
    """Return the seconds that a poll may take where nothing else is said."""
    return max(10.0, 2 * interval)


def parse(text: bytes, place: str, query_timeout: Optional[float] = None) -> list[Metric]:
    """Return the metrics that `text` describes; raises ConfigError with every problem, each with `place` and the entry it is in."""
    try:
        entries = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_pairs)
    except UnicodeDecodeError:
        raise ConfigError([f"{place}: is not UTF-8 text"]) from None
    except json.JSONDecodeError as error:
        if not text.strip():
            raise ConfigError([f'{place}: is empty; write for example {{"show_locks": 2}}']) from None
        raise ConfigError([f"{place}:{error.lineno}:{error.colno}: is not JSON: {error.msg[0].lower()}{error.msg[1:]}"]) from None
    if not isinstance(entries, _Pairs):
        raise ConfigError([f'{place}: must be an object of metric names and seconds, like {{"show_locks": 2}}'])
    if not entries.pairs:
        raise ConfigError([f'{place}: names no metric; write for example {{"show_locks": 2}}'])
    problems: list[str] = []
    metrics: dict[str, Metric] = {}
    for name, value in entries.pairs:
        if name in metrics:
            problems.append(f"{place}: {name}: is there twice")
            continue
        try:
            metrics[name] = _metric(name, value, query_timeout)
        except ConfigError as error:
            problems.extend(f"{place}: {name}{problem}" for problem in error.problems)
    if problems:
        raise ConfigError(problems)
    return list(metrics.values())


class _Pairs:
    """A JSON object with its pairs in order, so that a name given twice can be seen."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


_pairs = _Pairs


def _metric(name: str, value: Any, query_timeout: Optional[float]) -> Metric:
    """Return the metric of one entry; raises ConfigError whose problems continue the entry's name."""
    if name in _RESERVED:
        raise ConfigError([f": {_RESERVED[name]}; choose another name"])
    if not _NAME.match(name):
        raise ConfigError([": is no metric name; use lower-case letters, digits and _, a letter first"])
    entry = _entry(value)
    problems = []
    interval = timeout = None
    try:
        interval = _seconds(entry.interval)
    except ValueError as error:
        problems.append(f".interval: {error}" if isinstance(value, _Pairs) else f": {error}")
    if entry.timeout is not None:
        try:
            timeout = _seconds(entry.timeout)
        except ValueError as error:
            problems.append(f".timeout: {error}")
    refusal = _refusal(name, entry)
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
    )


def _entry(value: Any) -> _Entry:
    if not isinstance(value, _Pairs):
        return _Entry(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else _Entry(repr(value))
    names = [name for name, _ in value.pairs]
    if len(set(names)) < len(names):
        raise ConfigError([f".{name}: is there twice" for name in sorted({name for name in names if names.count(name) > 1})])
    try:
        return msgspec.convert(dict(value.pairs), _Entry)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise ConfigError([f"{path.rstrip('`')}: {text[0].lower()}{text[1:]}"]) from None


def _seconds(value: Any) -> float:
    """Return `value` as a number of seconds; raises ValueError with the end of a sentence."""
    if isinstance(value, str):
        raise ValueError(f"{value!r} is not a number of seconds")  # noqa: TRY004 - its text is what is caught and told
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value} must be greater than 0")
    if not _SHORTEST <= value <= _LONGEST:
        raise ValueError(f"{value} must be from {_SHORTEST} to {_LONGEST:.0f} seconds")
    return float(value)


def _refusal(name: str, entry: _Entry) -> str:
    """Return why this entry must not be polled, as the continuation of its name, or ""."""
    if entry.allow_state_change and (name != read_only.RESET or entry.query is not None):
        return f".allow_state_change: is for {read_only.RESET} alone"
    if entry.query is not None:
        problem = read_only.problem(entry.query)
        return f".query: {problem}" if problem else ""
    if name == read_only.RESET and not entry.allow_state_change:
        return f': {read_only.STATE_CHANGING[name]}; if that is wanted: {{"interval": 86400, "allow_state_change": true}}'
    change = read_only.state_change(name)
    if change and not entry.allow_state_change:
        return f": {change}, so it is never polled"
    return "" if change else _unknown_or_incomplete(name)


def _unknown_or_incomplete(name: str) -> str:
    function = catalogue.FUNCTIONS.get(name)
    if function is None:
        nearest = catalogue.nearest(name)
        hint = f"did you mean {nearest}?" if nearest else 'for a query of your own give {"interval": ..., "query": "select ..."}'
        return f": is no known function; {hint}"
    if function.arguments:
        query = f"select {name}({function.arguments});"
        return f': needs arguments; give {{"interval": {function.interval:g}, "query": "{query}"}}'
    return ""
