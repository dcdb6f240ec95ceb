"""What a Loki can't show, as its own configuration says: lines that are too old, and lines that are not flushed yet."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Optional

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|ns|s|m|h|d|w|y)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_ENTRIES = 5000


class Limits(NamedTuple):
    """The limits in force for all tenants; overrides of single tenants are on no page of Loki's."""

    kept_s: Optional[float] = None
    """The age after which lines are deleted or hidden, None for never."""
    unflushed_s: Optional[float] = None
    """The age after which lines are hidden until they are flushed, None where that is not so."""
    most_entries: int = _ENTRIES
    """The most lines that a page may have."""


def limits_of(configuration: str) -> Limits:
    """Return the limits in what Loki answers to `/config`; the defaults where it has hidden it."""
    found = loaded(configuration)
    limits, compactor, ingester = (section(found, name) for name in ("limits_config", "compactor", "ingester"))
    ends = [seconds(limits.get("max_query_lookback"))]
    if compactor.get("retention_enabled") is True:
        ends.append(seconds(limits.get("retention_period")))
    known = [end for end in ends if end]
    entries = limits.get("max_entries_limit_per_query")
    return Limits(
        kept_s=min(known) if known else None,
        unflushed_s=seconds(ingester.get("query_store_max_look_back_period")),
        most_entries=min(entries, _ENTRIES) if isinstance(entries, int) and entries > 0 else _ENTRIES,
    )


def loaded(configuration: str) -> Any:
    """Return what Loki answers to `/config` as values, None where that is no YAML."""
    import yaml  # noqa: PLC0415 - only what asks Loki needs it

    try:
        return yaml.load(configuration, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError:
        return None


def section(found: Any, name: str) -> dict[str, Any]:
    """Return a section of a configuration, an empty one where there is none."""
    part = found.get(name) if isinstance(found, dict) else None
    return part if isinstance(part, dict) else {}


def seconds(value: object) -> Optional[float]:
    """Return a duration as Loki writes it, such as 2h41m0s; None for none, which is 0 or negative."""
    text = str(value)
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) or None
