"""The look at Loki's limits before a replay: what it would refuse, and which line of its configuration changes that."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any, Iterator, NamedTuple, Optional, Sequence

from sqmon.clock import stamp_ns
from sqmon.delivery.loki_limits import loaded, seconds, section

_MIB = 1 << 20
_UNITS = {"b": 1, "kb": 1 << 10, "mb": _MIB, "gb": 1 << 30}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmg]?b)?", re.IGNORECASE)
_LONGEST_LINE = 32 << 10
_SPARE_H = 24  # hours, so that the limit is not over before the replay is
_HOUR_S = 3600
_SHARE = 0.9  # of the rate that Loki allows
_GRACE_S = 600.0


class Concern(NamedTuple):
    """Something that stands in the way."""

    text: str
    yaml: str
    """The lines of Loki's configuration that change it."""


class Preflight(NamedTuple):
    """What Loki will do with the lines."""

    concerns: list[Concern]
    """Reasons for which lines would be refused, lost or doubled."""
    accepts_from_ns: int
    """Lines that are older are refused, or deleted at once."""
    rate: Optional[float]
    """Bytes a second; None where nothing is known."""
    known: bool
    """Whether Loki shows its configuration."""

    def seconds_for(self, size: int) -> Optional[float]:
        """Return how long so many bytes will take."""
        return size / self.rate if self.rate else None


def preflight(configuration: str, times: Sequence[int], now_ns: int) -> Preflight:
    """Compare lines of these times, which are to be sent, with what Loki says of itself; times are in nanoseconds since 1970."""
    found = loaded(configuration)
    limits = section(found, "limits_config")
    if not limits or not times:
        return Preflight([], 0, None, bool(limits))
    old = [*_too_old(found, limits, min(times), now_ns)]
    others = [*_too_new(limits, max(times), now_ns), *_unfit(limits)]
    return Preflight([*(concern for concern, _ in old), *others], max((edge for _, edge in old), default=0), _rate(limits), known=True)


def _too_old(found: Any, limits: dict[str, Any], oldest_ns: int, now_ns: int) -> Iterator[tuple[Concern, int]]:
    """Yield each limit that the oldest line exceeds, and when a line must be made to keep it."""
    age_h = (now_ns - oldest_ns) / 1e9 / _HOUR_S
    hours = f"{math.ceil(age_h) + _SPARE_H}h"
    ages = [
        (limits.get("reject_old_samples", True), limits, "reject_old_samples_max_age", "refuses"),
        (section(found, "compactor").get("retention_enabled"), limits, "retention_period", "deletes"),
        (True, limits, "max_query_lookback", "does not show"),
    ]
    for on, part, name, verb in ages:
        limit_s = seconds(part.get(name)) if on is True else None
        if limit_s and age_h * _HOUR_S > limit_s:
            text = f"the oldest line is {age_h:,.0f} h old, and Loki {verb} what is older than {limit_s / _HOUR_S:,.0f} h"
            yield Concern(text, f"limits_config: {{{name}: {hours}}}"), now_ns - int(limit_s * 1e9)
    begins_ns = _schema_ns(found)
    if oldest_ns < begins_ns:
        day = f"{dt.datetime.fromtimestamp(oldest_ns / 1e9, dt.timezone.utc):%Y-%m-%d}"
        text = f"the oldest line is of {day}, and Loki's schema begins later"
        yield Concern(text, f"schema_config: {{configs: [{{from: {day}, ...}}]}}, before the first one there"), begins_ns


def _too_new(limits: dict[str, Any], newest_ns: int, now_ns: int) -> Iterator[Concern]:
    ahead_s = (newest_ns - now_ns) / 1e9
    if ahead_s > (seconds(limits.get("creation_grace_period")) or _GRACE_S):
        text = f"lines are of the future: this host's clock, or that of the site, is wrong by {ahead_s:,.0f} s"
        yield Concern(text, f"limits_config: {{creation_grace_period: {math.ceil(ahead_s / _HOUR_S) + 1}h}}")


def _unfit(limits: dict[str, Any]) -> Iterator[Concern]:
    longest = _bytes(limits.get("max_line_size"))
    if longest and longest < _LONGEST_LINE:
        text = f"Loki refuses or cuts lines of more than {longest:g} bytes, and these may have {_LONGEST_LINE - 1}"
        yield Concern(text, "limits_config: {max_line_size: 256KB}")
    if limits.get("allow_structured_metadata") is False:
        text = "Loki refuses structured metadata, and run_id is sent as that"
        yield Concern(text, "limits_config: {allow_structured_metadata: true}")
    if section(limits, "shard_streams").get("time_sharding_enabled") is True:
        text = "Loki puts old lines into streams of their own, where a line that the agent has sent as well would be there twice for ever"
        yield Concern(text, "limits_config: {shard_streams: {time_sharding_enabled: false}}")


def _schema_ns(found: Any) -> int:
    configs = section(found, "schema_config").get("configs")
    begins = [each.get("from") for each in configs if isinstance(each, dict)] if isinstance(configs, list) else []
    days = [str(begin)[:10] for begin in begins if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*", str(begin))]
    return stamp_ns(f"{min(days)}T00:00:00.000000000Z") if days else 0


def _rate(limits: dict[str, Any]) -> Optional[float]:
    """Return the rate that Loki surely allows for one stream."""
    whole = limits.get("ingestion_rate_mb")
    rates = [whole * _MIB if isinstance(whole, (int, float)) else 0, _bytes(limits.get("per_stream_rate_limit"))]
    known = [rate for rate in rates if rate]
    return min(known) * _SHARE if known else None


def _bytes(value: object) -> float:
    match = _SIZE.fullmatch(str(value))
    return float(match[1]) * _UNITS[(match[2] or "b").lower()] if match else 0
