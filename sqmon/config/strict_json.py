"""The strict reading of JSON that people write: keys that are given twice or unknown are told, each with its place."""

from __future__ import annotations

import collections
import json
from typing import Any, Mapping, Sequence, TypeVar, Union

import msgspec

from sqmon.errors import ConfigError, shown

MOST_PROBLEMS = 20
_MOST_DIGITS = 30
_LONGEST_SHOWN = 60

T = TypeVar("T")


class Object(list[tuple[str, Any]]):
    """A JSON object as its pairs in order, so that a name that is given twice can be seen."""


def object_of(text: bytes, place: str, *, what: str, example: str) -> Object:
    """Return the object that `text` is in JSON; raises ConfigError for whatever else it is, which says `what` there should be."""
    try:
        found = json.loads(text.decode("utf-8-sig"), object_pairs_hook=Object, parse_int=_whole_number)
    except UnicodeDecodeError:
        raise ConfigError([f"{place}: is not UTF-8 text"]) from None
    except RecursionError:
        raise ConfigError([f"{place}: is nested too deeply"]) from None
    except json.JSONDecodeError as error:
        if not text.decode("utf-8-sig").strip():
            raise ConfigError([f"{place}: is empty; write for example {example}"]) from None
        raise ConfigError([f"{place}:{error.lineno}:{error.colno}: is not JSON: {error.msg[0].lower()}{error.msg[1:]}"]) from None
    if not isinstance(found, Object):
        raise ConfigError([f"{place}: must be an object of {what}, like {example}"])
    return found


def key_problems(pairs: Sequence[tuple[str, Any]], known: Sequence[str]) -> list[str]:
    """Return what is wrong with the keys of an object, as continuations of its place."""
    names = collections.Counter(name for name, _ in pairs)
    problems = [f".{short(name)}: appears twice" for name in known if names[name] > 1]
    for name in [name for name in names if name not in known][:MOST_PROBLEMS]:
        import difflib  # noqa: PLC0415 - memory that only a wrong name is worth

        nearest = difflib.get_close_matches(name[:_LONGEST_SHOWN], known, n=1)
        problems.append(f".{short(name)}: is unknown; {f'did you mean {nearest[0]}?' if nearest else 'known are ' + ', '.join(known)}")
    return problems


def struct_of(values: Mapping[str, Any], kind: type[T]) -> T:
    """Return the values as a struct; raises ConfigError, whose problem continues the place, for the first that has a wrong type."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise ConfigError([f"{path.rstrip('`')}: {text[0].lower()}{text[1:]}"]) from None


def short(value: Any) -> str:
    """Return a name or a value for people: printable, and no longer than it helps."""
    if isinstance(value, str):
        text = shown(value[: _LONGEST_SHOWN + 1])
    elif isinstance(value, (list, tuple)):
        text = "an object" if isinstance(value, Object) else "a list"
    else:
        text = json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _whole_number(digits: str) -> Union[int, float]:
    # Python refuses to read integers of more than 4300 digits, and no double holds one of more than 309.
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)
