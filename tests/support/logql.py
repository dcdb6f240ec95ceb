"""The part of LogQL that the shipped queries use, evaluated over lines in memory; where there is a Loki, Loki is asked instead."""

from __future__ import annotations

import json
import operator
import re
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Optional, Union

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Value = Union[float, Vector]

_TOKEN = re.compile(
    r'\s+|(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<duration>\d+[smhd])\b|(?P<number>\d+(?:\.\d+)?)'
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>=~|!~|!=|>=|<=|==|[=<>/*+\-(){}\[\],|])"
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
}
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "/": operator.truediv,
    "*": operator.mul,
    "+": operator.add,
    "-": operator.sub,
}


class Entry(NamedTuple):
    """A line as Loki has it: its time in seconds, the labels of its stream with the structured metadata, and its text."""

    time: float
    labels: Mapping[str, str]
    line: str


class Sample(NamedTuple):
    """A line on its way through a query; `value` once it was unwrapped."""

    time: float
    labels: dict[str, str]
    line: str
    value: float = 1.0


class Query:
    """One query at one moment."""

    def __init__(self, text: str, entries: list[Entry], now: float) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0
        self._entries = entries
        self._now = now

    def result(self) -> Vector:
        """Evaluate; ValueError for what isn't understood."""
        value = self._sets()
        if self._place != len(self._tokens) or not isinstance(value, dict):
            raise ValueError(f"not understood: {self._tokens[self._place :]}")
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
        """`on (...)` and `group_left ()`, which is only ever used for many lines on the left."""
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
            right = self._compared()
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
        while self._peek() in _COMPARISONS:
            compare = _COMPARISONS[self._take()]
            right = self._calculated()
            assert isinstance(left, dict)
            assert not isinstance(right, dict)
            left = {labels: value for labels, value in left.items() if compare(value, right)}
        return left

    def _calculated(self) -> Value:
        left = self._single()
        while self._peek() in _ARITHMETIC:
            calculate = _ARITHMETIC[self._take()]
            on = self._matching()
            right = self._single()
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
            return dict(sorted(inner.items(), key=lambda item: -item[1])[:limit])
        groups: dict[Labels, list[float]] = {}
        for labels, value in inner.items():
            groups.setdefault(_part(labels, by), []).append(value)
        return {labels: _AGGREGATIONS[kind](values) for labels, values in groups.items()}

    def _replaced(self) -> Vector:
        self._take("(")
        inner = self._sets()
        words = []
        while self._peek() == ",":
            self._take()
            words.append(_unquoted(self._take()))
        self._take(")")
        assert isinstance(inner, dict)
        target, text, source, pattern = words
        return {
            frozenset({**dict(labels), target: text}.items()) if re.fullmatch(pattern, dict(labels).get(source, "")) else labels: value
            for labels, value in inner.items()
        }

    def _over_time(self, function: str) -> Vector:
        self._take("(")
        samples, equal = self._log_query()
        self._take("[")
        duration = self._take()
        seconds = int(duration[:-1]) * _UNITS[duration[-1]]
        self._take("]")
        self._take(")")
        groups: dict[Labels, list[Sample]] = {}
        for sample in samples:
            if self._now - seconds < sample.time <= self._now:
                groups.setdefault(frozenset(item for item in sample.labels.items() if item[1]), []).append(sample)
        if function == "absent_over_time":
            return {} if groups else {frozenset(equal.items()): 1.0}
        return {labels: _OVER_TIME[function](found, seconds) for labels, found in groups.items()}

    def _log_query(self) -> tuple[list[Sample], dict[str, str]]:
        self._take("{")
        samples = [Sample(entry.time, dict(entry.labels), entry.line) for entry in self._entries]
        equal = {}
        while self._peek() != "}":
            name, sign, text = self._take(), self._take("=", "!=", "=~", "!~"), _unquoted(self._take())
            samples = [sample for sample in samples if _matches(sample, name, sign, text)]
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
            return [_unwrapped(sample, name) for sample in samples]
        if word in ("json", "label_format"):
            pairs = []
            while True:
                name, _, text = self._take(), self._take("="), _unquoted(self._take())
                pairs.append((name, text))
                if self._peek() != ",":
                    break
                self._take()
            return [(_parsed if word == "json" else _formatted)(sample, pairs) for sample in samples]
        if word == "line_format":
            template = _unquoted(self._take())
            return [sample._replace(line=_filled(template, sample.labels)) for sample in samples]
        sign, text = self._take("=", "!=", "=~", "!~"), _unquoted(self._take())
        return [sample for sample in samples if _matches(sample, word, sign, text)]


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"not understood: {text[place:]}")
        place = found.end()
        if found.lastgroup:
            yield found[0]


def _unquoted(token: str) -> str:
    return token[1:-1] if token.startswith("`") else str(json.loads(token))


def _part(labels: Labels, names: Optional[list[str]]) -> Labels:
    return labels if names is None else frozenset(item for item in labels if item[0] in names)


def _matches(sample: Sample, name: str, sign: str, text: str) -> bool:
    value = sample.labels.get(name, "")
    found = value == text if sign in ("=", "!=") else re.fullmatch(text, value) is not None
    return found == (sign in ("=", "=~"))


def _parsed(sample: Sample, pairs: list[tuple[str, str]]) -> Sample:
    try:
        record = json.loads(sample.line)
    except ValueError:
        return sample._replace(labels={**sample.labels, "__error__": "JSONParserErr"})
    found = {}
    for name, key in pairs:
        value = record.get(key)
        found[f"{name}_extracted" if name in sample.labels else name] = (
            "" if value is None else value if isinstance(value, str) else json.dumps(value)
        )
    return sample._replace(labels={**sample.labels, **found})


def _formatted(sample: Sample, pairs: list[tuple[str, str]]) -> Sample:
    labels = dict(sample.labels)
    for name, template in pairs:
        labels[name] = _filled(template, labels)
    return sample._replace(labels=labels)


def _filled(template: str, labels: Mapping[str, str]) -> str:
    """A template of `{{.name}}` and `{{ or .name .other }}`, which is the first that isn't empty."""

    def value(found: re.Match[str]) -> str:
        return next((labels[word[1:]] for word in found[1].split() if labels.get(word[1:])), "")

    filled = re.sub(r"\{\{ ?(?:or )?(\.\w+(?: \.\w+)*) ?\}\}", value, template)
    assert "{{" not in filled, template
    return filled


def _unwrapped(sample: Sample, name: str) -> Sample:
    labels = {key: value for key, value in sample.labels.items() if key != name}
    try:
        return sample._replace(labels=labels, value=float(sample.labels.get(name, "")))
    except ValueError:
        return sample._replace(labels={**labels, "__error__": "SampleExtractionErr"})


def _grown(samples: list[Sample], seconds: float) -> float:
    """How much a counter grew per second, a smaller number than before being a new beginning."""
    values = [sample.value for sample in sorted(samples)]
    return sum(after - before if after >= before else after for before, after in zip(values, values[1:])) / seconds


_AGGREGATIONS: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min, "count": len}
_OVER_TIME: Mapping[str, Callable[[list[Sample], float], float]] = {
    "count_over_time": lambda samples, _: float(len(samples)),
    "rate": lambda samples, seconds: len(samples) / seconds,
    "bytes_rate": lambda samples, seconds: sum(len(sample.line.encode()) for sample in samples) / seconds,
    "max_over_time": lambda samples, _: max(sample.value for sample in samples),
    "min_over_time": lambda samples, _: min(sample.value for sample in samples),
    "sum_over_time": lambda samples, _: sum(sample.value for sample in samples),
    "rate_counter": _grown,
}


def evaluated(text: str, entries: list[Entry], now: float) -> list[tuple[dict[str, str], float]]:
    """Return what an instant query finds."""
    return [(dict(labels), value) for labels, value in Query(text, entries, now).result().items()]
