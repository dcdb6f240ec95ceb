"""The conversion of the driver's values into strict JSON values, without losing digits."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Optional, Union

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

Plain = Union[None, bool, int, float, str]

LARGEST_INT = 2**53  # readers of JSON that only have doubles (Loki, JavaScript) lose digits beyond it

_TEXTS = frozenset({type(None), str})
_AS_THEY_ARE = frozenset({type(None), bool, dt.date, dt.datetime})  # the encoder writes the last two as ISO 8601
_encode = msgspec.json.Encoder().encode


def plain_column(values: Sequence[Any], longest: int) -> Optional[Sequence[Any]]:
    """Return the values in a form that the encoder can write; None if a string exceeds `longest` characters."""
    kinds = set(map(type, values))
    if kinds <= _TEXTS:
        return None if max((len(text) for text in values if text is not None), default=0) > longest else values
    if kinds <= _AS_THEY_ARE:
        return values
    worked = tuple(map(plain, values))
    return None if any(type(value) is str and len(value) > longest for value in worked) else worked


def plain(value: object, longest: int = 1 << 15) -> Plain:
    """Return a JSON scalar for any Python value; strings keep at most `longest` characters."""
    kind = type(value)
    if kind is str:
        return _text(value, longest)  # type: ignore[arg-type]
    if value is None or kind is bool:
        return value  # type: ignore[return-value]
    if isinstance(value, int):
        return _whole_number(int(value))
    if isinstance(value, float):
        return float(value) if value - value == 0 else None  # the difference is not 0 for NaN and the infinities
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return plain(value.tolist(), longest)
    return _text(_words(value), longest)


def _whole_number(value: int) -> Plain:
    if -LARGEST_INT <= value <= LARGEST_INT:
        return value
    return str(Decimal(value))  # str(int) refuses more than 4300 digits


def _text(value: Union[str, None], longest: int) -> Union[str, None]:
    if value is None:
        return None
    # str() of a slice also turns subclasses into real strings.
    text = str(value[:longest])
    try:
        text.encode()
    except UnicodeEncodeError:
        # By way of UTF-16, two halves of a pair become their character again, and a lone half becomes U+FFFD.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _words(value: Any) -> Union[str, None]:
    try:
        if isinstance(value, str):
            return str(value)
        if isinstance(value, Decimal):
            return str(value) if value.is_finite() else None
        if isinstance(value, (dt.date, dt.time)):
            # pandas.NaT is a datetime that isn't equal to itself.
            return value.isoformat() if value == value else None  # noqa: PLR0124
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value).decode(errors="replace")
        return _structure(value)
    except Exception:  # noqa: BLE001 - a value with a broken __str__ must not stop the row it is in
        return f"<{type(value).__name__}>"


def _structure(value: Any) -> str:
    """Return arrays and mappings as JSON text, because a record is flat."""
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        try:
            return _encode(_nested(value)).decode()
        except RecursionError:
            return repr(value)
    return str(value)


def _nested(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(plain(key)): _nested(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_nested(item) for item in value]
    return plain(value)
