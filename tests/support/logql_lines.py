"""The lines of LogQL on their way through a query: tokens, stages, labels."""

from __future__ import annotations

import json
import operator
import re
from typing import Any, Callable, Iterator, Mapping, NamedTuple

_TOKEN = re.compile(
    r'\s+|(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<duration>\d+[smhd])\b|(?P<number>\d+(?:\.\d+)?)'
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>=~|!~|!=|>=|<=|==|[=<>/*+\-(){}\[\],|])"
)
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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


def seconds(duration: str) -> float:
    """Return how long a duration of one unit is."""
    return float(int(duration[:-1]) * _UNITS[duration[-1]])


def tokens(text: str) -> Iterator[str]:
    """Yield the tokens of a query; ValueError for what is none."""
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"not understood: {text[place:]}")
        place = found.end()
        if found.lastgroup:
            yield found[0]


def unquoted(token: str) -> str:
    """Return the text of a string, in whichever quotes."""
    return token[1:-1] if token.startswith("`") else str(json.loads(token))


def matches(sample: Sample, name: str, sign: str, text: str) -> bool:
    """Whether a line passes a filter on a label."""
    value = sample.labels.get(name, "")
    if sign in COMPARISONS:
        return value != "" and COMPARISONS[sign](float(value), float(text))
    found = value == text if sign in ("=", "!=") else re.fullmatch(text, value) is not None
    return found == (sign in ("=", "=~"))


def parsed(sample: Sample, pairs: list[tuple[str, str]]) -> Sample:
    """Return the line after `| json`, with the keys of its record as labels."""
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


def formatted(sample: Sample, pairs: list[tuple[str, str]]) -> Sample:
    """Return the line after `| label_format`."""
    labels = dict(sample.labels)
    for name, template in pairs:
        labels[name] = filled(template.replace("{{ __timestamp__ | unixEpoch }}", f"{int(sample.time)}"), labels)
    return sample._replace(labels=labels)


def filled(template: str, labels: Mapping[str, str]) -> str:
    """Fill a template of `{{.name}}` and `{{ or .name .other }}`, which is the first that isn't empty."""

    def value(found: re.Match[str]) -> str:
        return next((labels[word[1:]] for word in found[1].split() if labels.get(word[1:])), "")

    text = re.sub(r"\{\{ ?(?:or )?(\.\w+(?: \.\w+)*) ?\}\}", value, template)
    assert "{{" not in text, template
    return text


def unwrapped(sample: Sample, name: str) -> Sample:
    """Return the line after `| unwrap`, with a label as its value."""
    labels = {key: value for key, value in sample.labels.items() if key != name}
    try:
        return sample._replace(labels=labels, value=float(sample.labels.get(name, "")))
    except ValueError:
        return sample._replace(labels={**labels, "__error__": "SampleExtractionErr"})
