"""The labels under which lines go to Loki: exactly those that the agent's configuration gives them."""

from __future__ import annotations

from typing import Iterable, NamedTuple, Optional

import msgspec


class Labels(NamedTuple):
    """What is the same for all lines of a place."""

    cluster: str
    """Of the lines that don't name theirs."""
    instance: str
    log_dir: str
    """Where the agent finds the segments, which is part of the label `filename`."""
    job: str = "sqmon"


class Line(NamedTuple):
    """A line on its way to Loki."""

    place: int
    """In its segment."""
    ts_ns: int
    text: bytes


class _Told(msgspec.Struct):
    """What the agent takes out of a line."""

    metric: str = ""
    run_id: str = ""
    level: Optional[str] = None
    cluster: Optional[str] = None


_decode = msgspec.json.Decoder(_Told).decode
Key = tuple[str, str, str]
"""What may differ between the lines of a segment and makes another stream: metric, level and cluster."""


def stream_key(text: bytes) -> Key:
    """Return what decides about the stream of a line."""
    told = _decode(text)
    return told.metric, told.level or "", told.cluster or ""


def push_body(labels: Labels, file: str, key: Key, lines: Iterable[Line]) -> bytes:
    """Return the body of a push of lines of one stream: `run_id` is structured metadata, as the agent makes it."""
    metric, level, cluster = key
    stream = {
        "job": labels.job,
        "instance": labels.instance,
        "cluster": cluster or labels.cluster,
        "metric": metric,
        **({"level": level} if level else {}),
        "filename": f"{labels.log_dir.rstrip('/')}/{file}",
    }
    values = [(str(line.ts_ns), line.text.decode(), {"run_id": _decode(line.text).run_id}) for line in lines]
    return msgspec.json.encode({"streams": [{"stream": stream, "values": values}]})
