"""The Prometheus exporter at --metrics_port: counters and histograms of the `sqmon` stream's events, gauges of the status."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from sqmon.clock import stamp_ns
from sqmon.errors import SqmonError
from sqmon.health.scrape_server import ScrapeServer
from sqmon.health.status_file import MetricStatus

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class _Gauges(Collector):
    """What is true of each metric now. A scrape sees one whole status, without metrics that are no longer polled."""

    def __init__(self) -> None:
        self.metrics: Sequence[MetricStatus] = ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Collector."""
        buffer = GaugeMetricFamily("sqmon_buffer_bytes", "Bytes that wait for the disk", labels=["target"])
        healthy = GaugeMetricFamily("sqmon_healthy", "1 for a metric that is well", labels=["target"])
        success = GaugeMetricFamily("sqmon_last_success_timestamp_seconds", "When the last good poll ended", labels=["target"])
        for metric in self.metrics:
            buffer.add_metric([metric.name], metric.pending_bytes)
            healthy.add_metric([metric.name], metric.healthy)
            if metric.last_success is not None:
                success.add_metric([metric.name], stamp_ns(metric.last_success) / 1e9)
        yield from (buffer, healthy, success)


class PrometheusExporter:
    """Listens to events and answers scrapes in threads of its own; names are `sqmon_...`, labelled with `target`, the metric."""

    def __init__(self, address: str, port: int) -> None:
        """Listen on `address:port`, 0 for any free port. Raises SqmonError when that is impossible."""
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
        self._gauges = _Gauges()
        registry.register(self._gauges)
        self._config_ok = Gauge("sqmon_config_ok", "1 while the metrics file is valid", registry=registry)
        self._paused = Gauge("sqmon_logins_paused", "1 after a refused login", registry=registry)
        self._config_ok.set(1)
        ProcessCollector(registry=registry)
        self._listeners: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            "poll": self._on_poll,
            "gap": self._on_gap,
            "worker_exit": self._on_exit,
            "segment_sealed": lambda fields: self._bytes.labels(fields["file"].split("/")[0]).inc(fields["bytes"]),
            "config_reloaded": lambda _: self._config_ok.set(1),
            "config_rejected": lambda _: self._config_ok.set(0),
            "login_paused": lambda _: self._paused.set(1),
        }
        try:
            self._server = ScrapeServer(address, port)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "this is not an address"
            raise SqmonError(f"--metrics_port {port}: can't listen on {address}: {reason}") from None
        self._server.set_app(make_wsgi_app(registry))
        self._server.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def on_event(self, event: str, fields: Mapping[str, Any]) -> None:
        """Count what an event says."""
        listener = self._listeners.get(event)
        if listener is not None:
            listener(fields)

    def on_status(self, metrics: Sequence[MetricStatus]) -> None:
        """Show how the metrics are now."""
        self._gauges.metrics = metrics

    def close(self) -> None:
        """Stop listening."""
        self._server.stop()

    def _on_poll(self, fields: Mapping[str, Any]) -> None:
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
            self._paused.set(0)

    def _on_gap(self, fields: Mapping[str, Any]) -> None:
        self._gaps.labels(fields["target"]).inc()
        if fields.get("first_seq") is not None:
            self._dropped.labels(fields["target"]).inc(fields["last_seq"] - fields["first_seq"] + 1)

    def _on_exit(self, fields: Mapping[str, Any]) -> None:
        if fields["kind"] != "stopped":
            self._restarts.labels(fields["target"], fields["kind"]).inc()
