"""The messages of the start-up checks: the questions to the probe, and its answers."""

from __future__ import annotations

from typing import ClassVar, Optional, Union

import msgspec

from sqmon.config.settings import Connection, Metric, Output


class Outcome(msgspec.Struct, frozen=True):
    """What one check found."""

    name: str
    verdict: str
    """passed, failed, warning, or retry: failed in a way that waiting may cure."""
    text: str
    refused: bool = False
    """Whether the server refused the login, which must not be repeated soon."""


class AskDatabase(msgspec.Struct, frozen=True):
    """Whether the role can log in, and whether the worker has a GPU."""

    check: ClassVar[str] = "check_sqream_connection"
    """The check that is to blame when no answer comes."""
    lost: ClassVar[str] = "failed"
    """The verdict when no answer comes."""
    late: ClassVar[str] = "retry"
    """The verdict when no answer comes in time."""
    patience: ClassVar[float] = 30.0
    """Seconds to wait for each answer."""
    connection: Connection
    allow_gpu: bool
    output: Optional[Output] = None
    """Where a refused login is noted for the next start; None notes nothing."""


class AskPolls(msgspec.Struct, frozen=True):
    """What comes of one poll of each metric."""

    check: ClassVar[str] = "poll_metrics"
    lost: ClassVar[str] = "failed"
    late: ClassVar[str] = "failed"
    patience: ClassVar[float] = 60.0
    connection: Connection
    metrics: list[Metric]


class AskLoki(msgspec.Struct, frozen=True):
    """Whether Loki is ready."""

    check: ClassVar[str] = "check_loki_connection"
    lost: ClassVar[str] = "warning"
    late: ClassVar[str] = "warning"
    patience: ClassVar[float] = 6.0
    host: str
    port: int


UNHARMED = "records wait in the files until the agent can send them (--loki_host, --loki_port)"
"""Why no trouble with Loki keeps the service from its start."""

Question = Union[AskDatabase, AskPolls, AskLoki]

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Outcome).decode
