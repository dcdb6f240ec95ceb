"""The seal of a segment: its contents, and the chain that links it to the previous seal of the stream.

A seal is what a `segment_sealed` event says of a segment that nobody will append to again. The SHA-256 of a seal is
that of its canonical form: one JSON object in UTF-8 without blanks or a newline, with the keys `file`, `lines`,
`bytes`, `first_seq`, `last_seq`, `sha256`, `torn_bytes` and `prev` in this order; a key that is missing, as in the seals
of older versions, is null. `prev` is the SHA-256, in hexadecimal, of the seal before it of the same stream, in the
order in which the `sqmon` stream tells them; it is null in the first. To change, remove or add a seal breaks the chain
at that place, so the SHA-256 of the newest seal of a stream, its head, vouches for all seals before it. With jq:

    jq -cj '{file,lines,bytes,first_seq,last_seq,sha256,torn_bytes,prev}' | sha256sum
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from sqmon.storage.writer import Sealed

_KEYS = (*Sealed._fields, "prev")


def stream_of(file: str) -> str:
    """Return the stream of a segment whose name is relative to the log directory."""
    return file.partition("/")[0]


def canonical(seal: Mapping[str, Any]) -> bytes:
    """Return the bytes that stand for a seal."""
    return msgspec.json.encode({key: seal.get(key) for key in _KEYS})


def digest(seal: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a seal in hexadecimal, which is the `prev` of the next."""
    return hashlib.sha256(canonical(seal)).hexdigest()


class Chain:
    """The chains of all streams, each of which goes on at its head."""

    def __init__(self, heads: Mapping[str, str]) -> None:
        """Go on from these heads: the digest of the newest seal of each stream that has one."""
        self._heads = dict(heads)

    @property
    def heads(self) -> Mapping[str, str]:
        """The digest of the newest seal of each stream."""
        return self._heads

    def link(self, sealed: Sealed) -> dict[str, Any]:
        """Return the seal of a segment, chained to the one before it; it is the head of its stream from now on."""
        stream = stream_of(sealed.file)
        seal = {**sealed._asdict(), "prev": self._heads.get(stream)}
        self._heads[stream] = digest(seal)
        return seal


class Break(NamedTuple):
    """Two seals that follow each other in a stream although the second is not chained to the first."""

    before: Mapping[str, Any]
    seal: Mapping[str, Any]


def breaks(seals: Iterable[Mapping[str, Any]]) -> Iterator[Break]:
    """Yield every break in the chains of these seals, which are given in the order of the `sqmon` stream.

    The first seal of a stream proves nothing about those before it, which may have gone with retention. A seal without
    `prev` comes from an older version and belongs to no chain.
    """
    last: dict[str, Mapping[str, Any]] = {}
    for seal in seals:
        stream = stream_of(seal["file"])
        if stream in last and "prev" in seal and seal["prev"] != digest(last[stream]):
            yield Break(last[stream], seal)
        last[stream] = seal
