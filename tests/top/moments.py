"""Moments without files: polls of a cluster at noon, with rows as the simulator's server sends them."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from sqmon.lifetimes.polls import Poll, Row
from sqmon.top.moment import Known, Moment
from tests.lifetimes.site import NOON_NS, SECOND, own, statement

OWN = own(99, 10.1)
"""The statement that the poll of show_server_status at ten seconds after noon consisted of."""


def poll(metric: str, at: float, rows: Sequence[Row]) -> Poll:
    """Return a poll that began so many seconds after noon and took half a second."""
    began_ns = NOON_NS + round(at * SECOND)
    return Poll(metric, "run", 1, began_ns, began_ns + SECOND // 2, rows)


def moment(
    at: float = 12,
    *,
    statements: Optional[Sequence[Row]] = (),
    locks: Optional[Sequence[Row]] = (),
    nodes: Optional[Sequence[Row]] = None,
    licence: Optional[Row] = None,
    **more: Any,
) -> Moment:
    """Return a moment after noon; None for rows is a metric that is not polled. The monitor's own statement is added."""
    polled = {
        "show_server_status": (10, None if statements is None else [*statements, OWN]),
        "show_locks": (11, locks),
        "show_cluster_nodes": (9, nodes),
        "get_license_info": (9, None if licence is None else [licence]),
    }
    metrics = {name: known(poll(name, began, rows)) for name, (began, rows) in polled.items() if rows is not None}
    return Moment(NOON_NS + round(at * SECOND), "prod", {**metrics, **more.pop("metrics", {})}, **more)


def known(good: Optional[Poll], trouble: str = "", **event: Any) -> Known:
    """Return what is known of a metric whose last poll was this one."""
    rows = len(good.rows) if good is not None else 0
    return Known(good, {"status": "ok" if rows else "empty", "rows": rows, "duration_ms": 12.3, "late_ms": 0.4, **event}, trouble)


def node(name: str, heard: int = 2, state: str = "available") -> Row:
    """Return a row of show_cluster_nodes."""
    return {"server_ip": "10.0.0.1", "server_port": 5000, "instance_id": name, "last_heartbeat": heard, "connection_status": state}


def runs(number: int, text: str = "select 1", *, age: int = 5, status: str = "Executing", **more: Any) -> Row:
    """Return a row of show_server_status with the ages of its record."""
    ages: Mapping[str, Any] = {"statement_age_s": age, "status_age_s": age, "instanceid": "node_1"}
    return statement(number, text, since=10 - age, status=status, **{**ages, **more})


LICENCE: Row = {
    "compressed_cluster_size": 10,
    "uncompressed_cluster_size": 100,
    "compress_type": "compressed",
    "cluster_size_limit": 20,
    "expiration_date": "2026-12-18",
    "is_date_expired": 0,
    "is_size_exceeded": 0,
    "cluster_size_left": 10,
    "days_to_expiration": 24,
    "size_used_ratio": 0.5,
}
"""A row of get_license_info with its computed columns."""
