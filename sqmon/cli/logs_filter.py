"""The lines that `sqmon logs` was asked for: a regular expression on the line, and conditions on its columns.

Most lines are never parsed. What a wanted line must hold is looked for in the bytes of a whole piece of lines, at the speed of the
regular expression; only a line in which it was found is looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import operator
import re
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Optional, Sequence

import msgspec

_CONDITION = re.compile(r"([A-Za-z0-9_]+)(!=|!~|<=|>=|==|=|<|>|~)(.*)", re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_SEES_OTHER_LINES = re.compile(rb"\\[AZz]|\(\?[^:iaP]|\(\?i?s|\(\?P=")
"""What may match a line alone but not among others, or the other way round: ends of the text, and looking around."""
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


Find = Callable[[bytes, int], int]
"""Finds, from a position of a piece of lines on, a place in the next line that may be wanted; returns -1 when there is none."""


class Condition(NamedTuple):
    """What a column must be; a line that doesn't have the column never fulfils it."""

    column: str
    operator: str
    """One of = != < <= > >= ~ !~, the last two for a regular expression."""
    value: str

    def holds(self, found: object) -> bool:
        """Return whether a value of the column is as it must be: numbers compare as numbers, everything else as text."""
        if self.operator in ("~", "!~"):
            return (re.search(self.value, _text_of(found)) is not None) == (self.operator == "~")
        if self.operator in ("=", "!="):
            return self._equals(found) == (self.operator == "=")
        if found is None:
            return False
        bound = _number(self.value)
        if bound is None:
            return _ORDERS[self.operator](_text_of(found), self.value)
        number = _number(found)
        return number is not None and _ORDERS[self.operator](number, bound)

    def find(self) -> Optional[Find]:
        """Return what finds the next line that may fulfil the condition without parsing the others; None where its needle is as good."""
        bound = _number(self.value)
        if self.operator in _ORDERS and bound is not None:
            return _number_finder(self.column, _ORDERS[self.operator], bound)
        if self.operator == "!=" and bound is None:
            return _other_finder(b'"%b":' % self.column.encode(), msgspec.json.encode(self.value))
        return None

    def needle(self) -> Optional[bytes]:
        """Return a regular expression that every line has whose column is as it must be; None when there is none."""
        name = re.escape(b'"%b":' % self.column.encode())
        if self.operator != "=":
            return name
        forms = [re.escape(msgspec.json.encode(self.value))]
        if _NUMBER.fullmatch(self.value):
            # 2 is 2.0, and both are "2".
            whole, _, fraction = self.value.partition(".")
            digits = fraction.rstrip("0")
            forms.append(re.escape(f"{whole}.{digits}".encode()) + b"0*" if digits else re.escape(whole.encode()) + rb"(?:\.0+)?")
        elif _number(self.value) is not None:
            return name
        elif self.value.lower() in ("null", "true", "false"):
            forms.append(self.value.lower().encode())
        return name + (forms[0] if len(forms) == 1 else b"(?:%b)[,}]" % b"|".join(forms))

    def _equals(self, found: object) -> bool:
        if found is None or isinstance(found, bool):
            return self.value.lower() == _text_of(found)
        if isinstance(found, (int, float)):
            return _number(self.value) == found
        return _text_of(found) == self.value


def condition(text: str) -> Condition:
    """Return the condition of an option; argparse's error for what is none."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a condition, such as username=etl, status!=ok, 'lock_age_s>60' or statement~insert"
        )
    found = Condition(match[1].lower(), "=" if match[2] == "==" else match[2], match[3])
    if "~" in found.operator:
        expression(found.value)
    return found


def expression(text: str) -> str:
    """Return the regular expression of an option; argparse's error for what is none."""
    try:
        re.compile(text)
        re.compile(text.encode())
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None
    return text


class Filter:
    """Passes lines that match an expression and fulfil all conditions."""

    def __init__(self, grep: str, conditions: Sequence[Condition]) -> None:
        """Without an expression, which is "", and without conditions every line passes."""
        self.passes_all = not grep and not conditions
        self._grep = re.compile(grep.encode(), re.MULTILINE) if grep else None
        self._conditions = conditions
        columns = sorted({each.column for each in conditions})
        fields = [(f"f{number}", Any, msgspec.UNSET) for number in range(len(columns))]
        names = dict(zip((name for name, _, _ in fields), columns))
        self._columns = [(each, f"f{columns.index(each.column)}") for each in conditions]
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Wanted", fields, rename=names, gc=False)).decode if conditions else None
        self._find = self._finder()

    def lines(self, piece: bytes) -> Iterator[bytes]:
        """Yield the lines of a piece of whole lines that pass, each with its newline."""
        position = 0
        while True:
            found = self._find(piece, position)
            if found < 0:
                return
            start, end = piece.rfind(b"\n", 0, found) + 1, piece.find(b"\n", found) + 1
            if not end:
                return
            line = piece[start:end]
            if self.passes(line):
                yield line
            position = end

    def passes(self, line: bytes) -> bool:
        """Return whether a line passes; one that is no record fulfils no condition."""
        if self._grep is not None and self._grep.search(line, 0, len(line) - 1) is None:
            return False
        if self._decode is None:
            return True
        try:
            record = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        for each, field in self._columns:
            value = getattr(record, field)
            if value is msgspec.UNSET or not each.holds(value):
                return False
        return True

    def _finder(self) -> Find:
        needles = [needle for needle in (each.needle() for each in self._conditions) if needle is not None]
        if self._grep is not None and not _SEES_OTHER_LINES.search(self._grep.pattern):
            needles.insert(0, self._grep.pattern)
        if not needles:
            return lambda piece, position: position if position < len(piece) else -1
        best = max(needles, key=lambda needle: (_literal(needle) is not None, len(needle)))
        literal = _literal(best)
        others = [find for find in (each.find() for each in self._conditions) if find is not None]
        if others and self._grep is None and all(each.operator != "=" for each in self._conditions):
            return others[0]
        if literal is not None:
            return lambda piece, position: piece.find(literal, position)
        search = re.compile(best, re.MULTILINE).search

        def found(piece: bytes, position: int) -> int:
            match = search(piece, position)
            return match.start() if match is not None else -1

        return found


def _number_finder(column: str, holds: Callable[[Any, Any], bool], bound: float) -> Find:
    """Find lines whose column is a number, or a text that is one, in an order to the bound."""
    search = re.compile(rb'"%b":"?(-?[0-9][0-9.eE+-]*)' % re.escape(column.encode())).search

    def found(piece: bytes, position: int) -> int:
        match = search(piece, position)
        while match is not None:
            number = _number(match[1].decode())
            if number is None or holds(number, bound):
                return match.start()
            match = search(piece, match.end())
        return -1

    return found


def _other_finder(name: bytes, value: bytes) -> Find:
    """Find lines whose column does not have the value."""

    def found(piece: bytes, position: int) -> int:
        at = piece.find(name, position)
        while at >= 0 and piece.startswith(value, at + len(name)):
            at = piece.find(name, at + len(name))
        return at

    return found


def _literal(needle: bytes) -> Optional[bytes]:
    """Return the text that an expression stands for, None when it stands for several."""
    text = re.sub(rb"\\([^A-Za-z0-9])", rb"\1", needle)
    return text if re.escape(text) == needle or not re.search(rb"[\\.^$*+?{}\[\]|()]", needle) else None


def _text_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return value if isinstance(value, str) else str(value)


def _number(value: object) -> Optional[float]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) else None
    return None
