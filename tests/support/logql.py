"""An interpreter for the part of LogQL that the shipped queries use, with Loki's limits."""

from __future__ import annotations

import operator
import re
from collections import Counter
from pathlib import Path
from typing import Callable, Mapping, NamedTuple, Optional, Union

import yaml

from tests.support import ROOT
from tests.support.logql_lines import COMPARISONS, Entry, Sample, filled, formatted, matches, parsed, seconds, tokens, unquoted, unwrapped

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Value = Union[float, Vector]

_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "/": operator.truediv,
    "*": operator.mul,
    "+": operator.add,
    "-": operator.sub,
}


class Limits(NamedTuple):
    """The settings that decide whether Loki answers a query, and with which lines; the defaults are Loki's."""

    series: int = 500  # limits_config.max_query_series
    look_back_s: float = 9660.0  # ingester.query_store_max_look_back_period: older lines are hidden until they are flushed

    @classmethod
    def of(cls, path: Path) -> Limits:
        """Return the limits that a configuration file sets."""
        settings = yaml.safe_load(path.read_text("utf-8"))
        look_back = settings.get("ingester", {}).get("query_store_max_look_back_period")
        return cls(
            settings["limits_config"].get("max_query_series", cls().series),
            seconds(look_back) if look_back else cls().look_back_s,
        )


DEFAULTS = Limits()
SHIPPED = Limits.of(ROOT / "alloy" / "loki" / "loki.yaml")


class TooManySeriesError(Exception):
    """Loki refuses the query with 400, and a rule has the health `err` and fires nothing."""


class _Leg(dict[frozenset[tuple[str, str]], float]):
    """A result that Loki computes in shards when it is asked over HTTP, so that the limit holds before anything makes it smaller."""


class _Aggregated(_Leg):
    """The same, once each shard has aggregated its part; a further aggregation needs the parts put together."""


class Query:
    """One query at one moment, asked over HTTP as Grafana does, or by the ruler, which doesn't shard; nothing is flushed yet."""

    def __init__(self, text: str, entries: list[Entry], now: float, *, limits: Limits = DEFAULTS, in_ruler: bool = False) -> None:
        self._tokens = list(tokens(text))
        self._place = 0
        self._entries = [entry for entry in entries if now - entry.time <= limits.look_back_s]
        self._now = now
        self._limits = limits
        self._in_ruler = in_ruler

    def result(self) -> Vector:
        """Evaluate; ValueError for what isn't understood, TooManySeriesError for what Loki refuses."""
        value = self._whole(self._sets())
        if self._place != len(self._tokens) or not isinstance(value, dict):
            raise ValueError(f"not understood: {self._tokens[self._place :]}")
        return self._limited(value)

    def _whole(self, value: Value) -> Value:
        """Put the parts of the shards together."""
        if isinstance(value, _Leg) and not self._in_ruler:
            self._limited(value)
        return value

    def _limited(self, value: Vector) -> Vector:
        if len(value) > self._limits.series:
            raise TooManySeriesError(f"maximum of series ({self._limits.series}) reached for a single query")
        return value

    def lines(self) -> list[Sample]:
        """Evaluate a query for lines."""
        samples, _ = self._log_query()
        if self._place != len(self._tokens):
            raise ValueError(f"not understood: {self._tokens[self._place :]}")
        return samples

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self, *expected: str) -> str:
        token = self._peek()
        if expected and token not in expected:
            raise ValueError(f"expected {expected}, found {self._tokens[self._place : self._place + 5]}")
        self._place += 1
        return token

    def _names(self) -> list[str]:
        self._take("(")
        names = []
        while self._peek() != ")":
            names.append(self._take())
            if self._peek() == ",":
                self._take()
        self._take(")")
        return names

    def _matching(self) -> Optional[list[str]]:
        """Take `on (...)` and `group_left ()`, which the queries use only for many series on the left."""
        on = None
        if self._peek() == "on":
            self._take()
            on = self._names()
        if self._peek() == "group_left":
            self._take()
            self._names()
        return on

    def _sets(self) -> Value:
        left = self._compared()
        while self._peek() in ("or", "and", "unless"):
            word = self._take()
            on = self._matching()
            left, right = self._whole(left), self._whole(self._compared())
            assert isinstance(left, dict)
            assert isinstance(right, dict)
            ours, theirs = {_part(labels, on) for labels in left}, {_part(labels, on) for labels in right}
            if word == "or":
                left = {**left, **{labels: value for labels, value in right.items() if _part(labels, on) not in ours}}
            else:
                left = {labels: value for labels, value in left.items() if (_part(labels, on) in theirs) == (word == "and")}
        return left

    def _compared(self) -> Value:
        left = self._calculated()
        while self._peek() in COMPARISONS:
            compare = COMPARISONS[self._take()]
            left, right = self._whole(left), self._calculated()
            assert isinstance(left, dict)
            assert not isinstance(right, dict)
            left = {labels: value for labels, value in left.items() if compare(value, right)}
        return left

    def _calculated(self) -> Value:
        left = self._single()
        while self._peek() in _ARITHMETIC:
            calculate = _ARITHMETIC[self._take()]
            on = self._matching()
            left, right = self._whole(left), self._whole(self._single())
            assert isinstance(left, dict)
            if isinstance(right, dict):
                others = {_part(labels, on): value for labels, value in right.items()}
                assert len(others) == len(right), "many-to-many"
                pairs = {labels: (value, others.get(_part(labels, on))) for labels, value in left.items()}
                left = {labels: calculate(value, other) for labels, (value, other) in pairs.items() if other is not None}
            else:
                left = {labels: calculate(value, right) for labels, value in left.items()}
        return left

    def _single(self) -> Value:
        token = self._take()
        if token == "-":
            value = self._single()
            assert not isinstance(value, dict)
            return -value
        if token == "(":
            value = self._sets()
            self._take(")")
            return value
        if token[0].isdigit():
            return float(token)
        if token in _AGGREGATIONS or token == "topk":
            return self._aggregated(token)
        if token == "label_replace":
            return self._replaced()
        return self._over_time(token)

    def _aggregated(self, kind: str) -> Vector:
        by: list[str] = []
        if self._peek() == "by":
            self._take()
            by = self._names()
        self._take("(")
        limit = 0
        if kind == "topk":
            limit = int(self._take())
            self._take(",")
        inner = self._sets()
        self._take(")")
        assert isinstance(inner, dict)
        if kind == "topk":
            self._whole(inner)
            best = sorted(inner.items(), key=lambda item: -item[1])
            places: Counter[Labels] = Counter()
            kept = {}
            for labels, value in best:
                places[_part(labels, by)] += 1
                if places[_part(labels, by)] <= limit:
                    kept[labels] = value
            return kept
        groups: dict[Labels, list[float]] = {}
        for labels, value in inner.items():
            groups.setdefault(_part(labels, by), []).append(value)
        found = {labels: _AGGREGATIONS[kind](values) for labels, values in groups.items()}
        if type(inner) is _Leg:
            return _Aggregated(found)
        self._whole(inner)
        return found

    def _replaced(self) -> Vector:
        self._take("(")
        inner = self._sets()
        words = []
        while self._peek() == ",":
            self._take()
            words.append(unquoted(self._take()))
        self._take(")")
        assert isinstance(inner, dict)
        target, text, source, pattern = words
        return {
            frozenset({**dict(labels), target: text}.items()) if re.fullmatch(pattern, dict(labels).get(source, "")) else labels: value
            for labels, value in inner.items()
        }

    def _over_time(self, function: str) -> Vector:
        self._take("(")
        if function == "quantile_over_time":
            self._take("1")
            self._take(",")
        samples, equal = self._log_query()
        self._take("[")
        span = seconds(self._take())
        self._take("]")
        self._take(")")
        by = None
        if self._peek() == "by":
            self._take()
            by = self._names()
        groups: dict[Labels, list[Sample]] = {}
        for sample in samples:
            if self._now - span < sample.time <= self._now:
                labels = frozenset(item for item in sample.labels.items() if item[1])
                groups.setdefault(_part(labels, by), []).append(sample)
        if function == "absent_over_time":
            return {} if groups else {frozenset(equal.items()): 1.0}
        result = {labels: _OVER_TIME[function](found, span) for labels, found in groups.items()}
        return result if function in _NOT_SHARDED else _Leg(result)

    def _log_query(self) -> tuple[list[Sample], dict[str, str]]:
        self._take("{")
        samples = [Sample(entry.time, dict(entry.labels), entry.line) for entry in self._entries]
        equal = {}
        while self._peek() != "}":
            name, sign, text = self._take(), self._take("=", "!=", "=~", "!~"), unquoted(self._take())
            samples = [sample for sample in samples if matches(sample, name, sign, text)]
            if sign == "=":
                equal[name] = text
            if self._peek() == ",":
                self._take()
        self._take("}")
        while self._peek() == "|":
            self._take()
            samples = self._staged(samples)
        return samples, equal

    def _staged(self, samples: list[Sample]) -> list[Sample]:
        word = self._take()
        if word == "unwrap":
            name = self._take()
            return [unwrapped(sample, name) for sample in samples]
        if word in ("json", "label_format"):
            pairs = []
            while True:
                name, _, text = self._take(), self._take("="), unquoted(self._take())
                pairs.append((name, text))
                if self._peek() != ",":
                    break
                self._take()
            return [(parsed if word == "json" else formatted)(sample, pairs) for sample in samples]
        if word == "line_format":
            template = unquoted(self._take())
            return [sample._replace(line=filled(template, sample.labels)) for sample in samples]
        filters = [self._filter(word)]
        while self._peek() == "or":
            self._take()
            filters.append(self._filter(self._take()))
        return [sample for sample in samples if any(matches(sample, *each) for each in filters)]

    def _filter(self, name: str) -> tuple[str, str, str]:
        sign, text = self._take("=", "!=", "=~", "!~", *COMPARISONS), self._take()
        return name, sign, text if sign in COMPARISONS else unquoted(text)


def _part(labels: Labels, names: Optional[list[str]]) -> Labels:
    return labels if names is None else frozenset(item for item in labels if item[0] in names)


def _time(sample: Sample) -> float:
    return sample.time


def _grown(samples: list[Sample], span: float) -> float:
    """Return how much a counter grew per second, where a smaller number is a new start."""
    values = [sample.value for sample in sorted(samples, key=_time)]
    return sum(after - before if after >= before else after for before, after in zip(values, values[1:])) / span


_NOT_SHARDED = ("quantile_over_time", "last_over_time", "rate_counter")
_AGGREGATIONS: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min, "count": len}
_OVER_TIME: Mapping[str, Callable[[list[Sample], float], float]] = {
    "count_over_time": lambda samples, _: float(len(samples)),
    "rate": lambda samples, span: len(samples) / span,
    "bytes_rate": lambda samples, span: sum(len(sample.line.encode()) for sample in samples) / span,
    "max_over_time": lambda samples, _: max(sample.value for sample in samples),
    "min_over_time": lambda samples, _: min(sample.value for sample in samples),
    "sum_over_time": lambda samples, _: sum(sample.value for sample in samples),
    "quantile_over_time": lambda samples, _: max(sample.value for sample in samples),  # of 1
    "last_over_time": lambda samples, _: max(reversed(samples), key=_time).value,  # of equal times the last line
    "rate_counter": _grown,
}


def evaluated(
    text: str, entries: list[Entry], now: float, *, limits: Limits = DEFAULTS, in_ruler: bool = False
) -> list[tuple[dict[str, str], float]]:
    """Return what an instant query finds."""
    query = Query(text, entries, now, limits=limits, in_ruler=in_ruler)
    return [(dict(labels), value) for labels, value in query.result().items()]
