"""The same facts for Prometheus: counters and histograms made from the events of the `sqmon` stream, at --metrics_port."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.process_collector import ProcessCollector

from sqmon.errors import SqmonError
from sqmon.health.status_file import MetricStatus

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class PrometheusExporter:
    """Listens to events and answers scrapes from a thread of its own; names are `sqmon_...`, labelled with `target`, the metric."""

    def __init__(self, address: str, port: int) -> None:
        """Listen on `address:port`, 0 for any free one. Raises SqmonError when that can't be had."""
        registry = CollectorRegistry()
        target = ["target"]
        self._polls = Counter("sqmon_polls", "Polls by status", ["target", "status"], registry=registry)
        self._rows = Counter("sqmon_rows", "Rows that polls returned", target, registry=registry)
        self._lines = Counter("sqmon_lines", "Lines that are in files", target, registry=registry)
        self._bytes = Counter("sqmon_sealed_bytes", "Bytes of sealed segments", target, registry=registry)
        self._seconds = Histogram("sqmon_poll_seconds", "How long polls take", target, buckets=_SECONDS, registry=registry)
        self._late = Histogram("sqmon_poll_late_seconds", "How late polls begin", target, buckets=_SECONDS, registry=registry)
        self._gaps = Counter("sqmon_gaps", "Times that something was missed or dropped", target, registry=registry)
        self._dropped = Counter("sqmon_dropped_records", "Records that found no place on the disk", target, registry=registry)
        self._restarts = Counter("sqmon_worker_exits", "Workers that ended unasked, by kind", ["target", "kind"], registry=registry)
        self._buffer = Gauge("sqmon_buffer_bytes", "Bytes that wait for the disk", target, registry=registry)
        self._healthy = Gauge("sqmon_healthy", "1 for a metric that is well", target, registry=registry)
        self._success = Gauge("sqmon_last_success_timestamp_seconds", "When the last good poll ended", target, registry=registry)
        self._config_ok = Gauge("sqmon_config_ok", "1 while the metrics file is valid", registry=registry)
        self._paused = Gauge("sqmon_logins_paused", "1 after a refused login", registry=registry)
        self._config_ok.set(1)
        ProcessCollector(registry=registry)
        self._listeners: Mapping[str, Callable[[Mapping[str, Any], int], None]] = {
            "poll": self._on_poll,
            "gap": self._on_gap,
            "worker_exit": self._on_exit,
            "segment_sealed": lambda fields, _: self._bytes.labels(fields["file"].split("/")[0]).inc(fields["bytes"]),
            "config_reloaded": lambda *_: self._config_ok.set(1),
            "config_rejected": lambda *_: self._config_ok.set(0),
            "login_paused": lambda *_: self._paused.set(1),
        }
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except OSError as error:
            raise SqmonError(f"--metrics_port {port}: can't listen on {address}: {error.strerror}") from None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.server_port

    def on_event(self, event: str, fields: Mapping[str, Any], now_ns: int) -> None:
        """Count what an event says."""
        listener = self._listeners.get(event)
        if listener is not None:
            listener(fields, now_ns)

    def on_status(self, metrics: list[MetricStatus]) -> None:
        """Take over what is true now rather than what has happened; a metric that is gone is gone here too."""
        self._buffer.clear()
        self._healthy.clear()
        for metric in metrics:
            self._buffer.labels(metric.name).set(metric.pending_bytes)
            self._healthy.labels(metric.name).set(metric.healthy)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _on_poll(self, fields: Mapping[str, Any], now_ns: int) -> None:
        target, status = fields["target"], fields["status"]
        self._polls.labels(target, status).inc(fields.get("skipped", 1))
        if status == "skipped":
            return
        self._rows.labels(target).inc(fields["rows"])
        self._seconds.labels(target).observe(fields["duration_ms"] / 1000)
        self._late.labels(target).observe(max(fields["late_ms"], 0) / 1000)
        if fields["last_seq"] is not None:
            self._lines.labels(target).inc(fields["last_seq"] - fields["first_seq"] + 1)
        if status in ("ok", "empty"):
            self._success.labels(target).set(now_ns / 1e9)
            self._paused.set(0)

    def _on_gap(self, fields: Mapping[str, Any], _: int) -> None:
        self._gaps.labels(fields["target"]).inc()
        if fields.get("first_seq") is not None:
            self._dropped.labels(fields["target"]).inc(fields["last_seq"] - fields["first_seq"] + 1)

    def _on_exit(self, fields: Mapping[str, Any], _: int) -> None:
        if fields["kind"] != "stopped":
            self._restarts.labels(fields["target"], fields["kind"]).inc()
