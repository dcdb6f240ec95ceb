"""What the archiver, a process that compresses segments, reports to the supervisor."""

from __future__ import annotations

from typing import Union

import msgspec


class Busy(msgspec.Struct, tag="busy", frozen=True):
    """It is still at work."""


class Compressed(msgspec.Struct, tag="compressed", frozen=True):
    """A segment has become an archive."""

    file: str
    bytes: int
    """Of the archive."""


class Left(msgspec.Struct, tag="left", frozen=True):
    """A segment was left as it is."""

    file: str
    reason: str
    for_good: bool
    """Whether it would be in vain to try again."""


class Finished(msgspec.Struct, tag="finished", frozen=True):
    """Every segment of the order has been reported."""


Report = Union[Busy, Compressed, Left, Finished]

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Report).decode
