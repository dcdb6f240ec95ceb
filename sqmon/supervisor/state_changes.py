"""When state-changing calls last ran, according to the events of earlier services."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable

import msgspec

from sqmon.clock import stamp_ns, utc_stamp
from sqmon.config.settings import Metric
from sqmon.storage.look_back import BackwardReader

_LOOK_BACK_BYTES = 256 * 1024 * 1024
_BEGINNING = b'{"ts":"'
_MARK = b'"event":"state_change"'


class _StateChange(msgspec.Struct):
    ts: str
    metric: str
    target: str


_decode = msgspec.json.Decoder(_StateChange).decode


def last_runs(files: Iterable[Path], metrics: Iterable[Metric], *, now_ns: int) -> dict[str, int]:
    """Return when each of the calls among `metrics` ran last, in nanoseconds since 1970; those are left out that are due anyhow.

    `files` hold the `sqmon` stream and are given newest first. The events are asked rather than a file of their own, because they are
    there already, are written only after the call, and are what people believe; `status.json` forgets with every start. Where they do
    not reach back far enough, because retention has deleted them or nobody has called before, the call runs at once: statistics
    that are reset too often are of some use, those that are never reset are of none.
    """
    wanted = {metric.name: metric.interval for metric in metrics if metric.is_command}
    if not wanted:
        return {}
    found: dict[str, int] = {}
    oldest = _BEGINNING + utc_stamp(max(now_ns - int(max(wanted.values()) * 1e9), 0)).encode()
    for line in BackwardReader(files, max_bytes=_LOOK_BACK_BYTES, brief=True):
        if len(found) == len(wanted) or (line.startswith(_BEGINNING) and line < oldest):
            break
        if _MARK not in line:
            continue
        try:
            change = _decode(line)
            if change.metric == "sqmon" and change.target in wanted:
                found.setdefault(change.target, stamp_ns(change.ts))
        except (msgspec.DecodeError, ValueError):
            continue
    return found
