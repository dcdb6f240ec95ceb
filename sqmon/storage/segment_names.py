"""The names of segments: `<metric>-<UTC stamp>-<number>.jsonl`, unique, and increasing within their directory."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, NamedTuple, Optional

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"([a-z][a-z0-9_]*)-([0-9]{8}T[0-9]{6}\.[0-9]{6})Z-([0-9]{6,})\.jsonl", re.ASCII)
_STAMP = "%Y%m%dT%H%M%S.%f"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


class SegmentName(NamedTuple):
    """What a name says; names of one metric sort as these do."""

    microseconds: int  # since 1970 UTC, when it was made
    number: int  # of the segments of the directory so far

    def text(self, metric: str) -> str:
        """The file name."""
        return f"{metric}-{_EPOCH + dt.timedelta(microseconds=self.microseconds):{_STAMP}}Z-{self.number:06d}.jsonl"

    def following(self, now_ns: int) -> SegmentName:
        """The next name: later than this one even when the clock has stepped back."""
        return SegmentName(max(now_ns // 1000, self.microseconds + 1), self.number + 1)


NO_SEGMENT = SegmentName(0, 0)


def parsed(metric: str, name: str) -> Optional[SegmentName]:
    """What `name` says when it is exactly the name of a segment of `metric`, else None."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != metric:
        return None
    try:
        moment = dt.datetime.strptime(match[2], _STAMP).replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return None
    return SegmentName((moment - _EPOCH) // dt.timedelta(microseconds=1), int(match[3]))


def number_of(metric: str, name: str) -> int:
    """The number in the name of a segment of `metric`, 0 when it isn't one; sooner than `parsed` where there are many names."""
    match = _NAME.fullmatch(name)
    return int(match[3]) if match is not None and match[1] == metric else 0


def newest(directory: Path, metric: str) -> SegmentName:
    """The latest stamp and the highest number among the segments of the directory; raises OSError."""
    names = [name for name in (parsed(metric, entry.name) for entry in directory.iterdir()) if name]
    return SegmentName(max((name.microseconds for name in names), default=0), max((name.number for name in names), default=0))
