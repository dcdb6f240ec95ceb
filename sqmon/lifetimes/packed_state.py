"""The state of lifetimes as text for the lines of their own stream, from which a process goes on that comes after a kill."""

from __future__ import annotations

import binascii
import zlib
from typing import Iterator, Optional, Sequence

import msgspec

from sqmon.lifetimes.directory import DirectoryState
from sqmon.lifetimes.lifetimes import LifetimesState

_VERSION = 1
"""Of what State means; another one begins anew."""
_PART = 30_000  # characters, so that a line stays below its limit
_AT_ONCE = 500  # items of a list that are encoded together: the text of 100,000 locks has 100 MB


class State(msgspec.Struct):
    """What was read, and all that matters of it for the lines to come."""

    version: int
    at_ns: int
    """The beginning of the poll after which it was written, in nanoseconds since 1970."""
    directory: DirectoryState
    lifetimes: LifetimesState


def pack(at_ns: int, directory: DirectoryState, lifetimes: LifetimesState) -> list[str]:
    """Return the state in parts, each of which fits into a line."""
    squeezer = zlib.compressobj(1)
    squeezed = b"".join([*map(squeezer.compress, _json(State(_VERSION, at_ns, directory, lifetimes))), squeezer.flush()])
    packed = binascii.b2a_base64(squeezed, newline=False).decode()
    return [packed[start : start + _PART] for start in range(0, len(packed), _PART)]


def unpack(parts: Sequence[str]) -> Optional[State]:
    """Return the state that all the parts together are; None when they are not one that this version understands."""
    try:
        state = msgspec.json.decode(zlib.decompress(binascii.a2b_base64("".join(parts))), type=State)
    except (ValueError, zlib.error):
        return None
    return state if state.version == _VERSION else None


def _json(value: object) -> Iterator[bytes]:
    """Yield the text that `msgspec.json.encode` returns, in pieces: all at once it would need more memory than the state itself."""
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, dict):
        before = b"{"
        for name, each in value.items():
            yield before + msgspec.json.encode(name) + b":"
            yield from _json(each)
            before = b","
        yield b"}" if value else b"{}"
    elif isinstance(value, list):
        yield b"["
        for start in range(0, len(value), _AT_ONCE):
            yield (b"," if start else b"") + msgspec.json.encode(value[start : start + _AT_ONCE])[1:-1]
        yield b"]"
    else:
        yield msgspec.json.encode(value)
