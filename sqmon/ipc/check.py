"""What the start-up checks are asked, and what they answer."""

from __future__ import annotations

from typing import Optional

import msgspec

from sqmon.config.settings import Connection


class Outcome(msgspec.Struct, frozen=True):
    """What one check found."""

    name: str
    verdict: str
    """passed, failed, warning, or retry: failed in a way that waiting may cure."""
    text: str


class Questions(msgspec.Struct, frozen=True):
    """What to find out; None leaves a check out."""

    connection: Optional[Connection]
    allow_gpu: bool = False
    loki: Optional[tuple[str, int]] = None


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Outcome).decode
