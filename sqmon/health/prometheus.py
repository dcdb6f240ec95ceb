"""The Prometheus exporter at --metrics_port: counters and histograms of the `sqmon` stream's events, gauges of the status."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from sqmon.clock import stamp_ns
from sqmon.config.metrics_file import RESERVED
from sqmon.errors import SqmonError
from sqmon.health.scrape_server import ScrapeServer
from sqmon.health.status_file import MetricStatus, ProofStatus

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CLUSTER = ("cluster",)
_STATUSES = ("ok", "empty", "error", "timeout", "skipped")

Family = TypeVar("Family", bound=MetricWrapperBase)


class _Gauges(Collector):
    """What is true of each metric now. A scrape sees one whole status, without metrics that are no longer polled."""

    def __init__(self, place: tuple[str, ...]) -> None:
        self.metrics: dict[tuple[str, ...], Sequence[MetricStatus]] = {}
        """By the values of the labels in `place`."""
        self.proofs: dict[tuple[str, ...], ProofStatus] = {}
        """Likewise, where somebody looks."""
        self._place = place
        self._labels = [*place, "target"]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Collector."""
        buffer = GaugeMetricFamily("sqmon_buffer_bytes", "Bytes that wait for the disk", labels=self._labels)
        healthy = GaugeMetricFamily("sqmon_healthy", "1 for a metric that is well", labels=self._labels)
        success = GaugeMetricFamily("sqmon_last_success_timestamp_seconds", "When the last good poll ended", labels=self._labels)
        for place, metrics in [*self.metrics.items()]:
            for metric in metrics:
                buffer.add_metric([*place, metric.name], metric.pending_bytes)
                healthy.add_metric([*place, metric.name], metric.healthy)
                if metric.last_success is not None:
                    success.add_metric([*place, metric.name], stamp_ns(metric.last_success) / 1e9)
        yield from (buffer, healthy, success, *self._of_proofs())

    def _of_proofs(self) -> Iterator[GaugeMetricFamily]:
        ok = GaugeMetricFamily("sqmon_proof_ok", "1 while nothing is wrong with what Loki has of the files", labels=self._place)
        looked = GaugeMetricFamily("sqmon_proof_looked_timestamp_seconds", "When Loki was last asked", labels=self._place)
        up_to = GaugeMetricFamily("sqmon_proof_up_to_timestamp_seconds", "Up to when every line was seen in Loki", labels=self._place)
        lines = GaugeMetricFamily("sqmon_unproved_lines", "Lines of the files that were not seen in Loki", labels=self._place)
        for place, proof in [*self.proofs.items()]:
            ok.add_metric(place, proof.proved)
            looked.add_metric(place, stamp_ns(proof.looked) / 1e9)
            lines.add_metric(place, proof.unproved_lines)
            if proof.up_to is not None:
                up_to.add_metric(place, stamp_ns(proof.up_to) / 1e9)
        yield from (ok, looked, up_to, lines)


class PrometheusExporter:
    """Answers scrapes in threads of its own.

    Names are `sqmon_...`, labelled with `target`, the metric, and with `cluster` where clusters have names.
    """

    def __init__(self, address: str, port: int, *, clusters: bool = False) -> None:
        """Listen on `address:port`, 0 for any free port; `clusters` says whether they have names.

        Raises SqmonError when it can't listen there.
        """
        self._registry = registry = CollectorRegistry()
        self._place = place = _CLUSTER if clusters else ()
        target = [*place, "target"]
        self.polls = Counter("sqmon_polls", "Polls by status", [*target, "status"], registry=registry)
        self.rows = Counter("sqmon_rows", "Rows that polls returned", target, registry=registry)
        self.lines = Counter("sqmon_lines", "Lines that are in files", target, registry=registry)
        self.bytes = Counter("sqmon_sealed_bytes", "Bytes of sealed segments", target, registry=registry)
        self.seconds = Histogram("sqmon_poll_seconds", "How long polls take", target, buckets=_SECONDS, registry=registry)
        self.late = Histogram("sqmon_poll_late_seconds", "How late polls begin", target, buckets=_SECONDS, registry=registry)
        self.gaps = Counter("sqmon_gaps", "Times that something was missed or dropped", target, registry=registry)
        self.dropped = Counter("sqmon_dropped_records", "Records that found no place on the disk", target, registry=registry)
        self.restarts = Counter("sqmon_worker_exits", "Workers that ended unasked, by kind", [*target, "kind"], registry=registry)
        self.gauges = _Gauges(place)
        registry.register(self.gauges)
        self.config_ok = Gauge("sqmon_config_ok", "1 while the configuration is valid", place, registry=registry)
        self.paused = Gauge("sqmon_logins_paused", "1 after a refused login", place, registry=registry)
        ProcessCollector(registry=registry)
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

    def of(self, cluster: str) -> ClusterGauges:
        """Return the part that listens to one cluster."""
        return ClusterGauges(self, (cluster,) if self._place else ())

    def close(self) -> None:
        """Stop listening."""
        self._server.stop()


class ClusterGauges:
    """Counts what the events of one cluster say, and shows how its metrics are."""

    def __init__(self, exporter: PrometheusExporter, place: tuple[str, ...]) -> None:
        self._exporter = exporter
        self._place = place
        self._listeners: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            "worker_start": self._on_start,
            "poll": self._on_poll,
            "gap": self._on_gap,
            "worker_exit": self._on_exit,
            "segment_sealed": lambda fields: self._of(exporter.bytes, fields["file"].split("/")[0]).inc(fields["bytes"]),
            "config_reloaded": lambda _: self._of(exporter.config_ok).set(1),
            "config_rejected": lambda _: self._of(exporter.config_ok).set(0),
            "login_paused": lambda _: self._of(exporter.paused).set(1),
        }
        self._of(exporter.config_ok).set(1)
        self._of(exporter.paused).set(0)

    def on_event(self, event: str, fields: Mapping[str, Any]) -> None:
        """Count what an event says."""
        listener = self._listeners.get(event)
        if listener is not None:
            listener(fields)

    def on_status(self, metrics: Sequence[MetricStatus], proof: Optional[ProofStatus] = None) -> None:
        """Show how the metrics are now, and what was found in Loki."""
        self._exporter.gauges.metrics[self._place] = metrics
        if proof is None:
            self._exporter.gauges.proofs.pop(self._place, None)
        else:
            self._exporter.gauges.proofs[self._place] = proof

    def forget(self) -> None:
        """Show no gauges of this cluster any more."""
        self._exporter.gauges.metrics.pop(self._place, None)
        self._exporter.gauges.proofs.pop(self._place, None)
        for gauge in (self._exporter.config_ok, self._exporter.paused):
            if self._place:
                gauge.remove(*self._place)

    def _of(self, family: Family, *labels: str) -> Family:
        values = (*self._place, *labels)
        return family.labels(*values) if values else family

    def _on_start(self, fields: Mapping[str, Any]) -> None:
        """Begin every counter of the metric at 0: to Prometheus, one that comes into being with its first failure has not grown."""
        exporter, target = self._exporter, fields["target"]
        if target not in RESERVED:  # what follows the files polls nothing
            self._of(exporter.rows, target)
            for status in _STATUSES:
                self._of(exporter.polls, target, status)
        for counter in (exporter.lines, exporter.bytes, exporter.gaps, exporter.dropped):
            self._of(counter, target)

    def _on_poll(self, fields: Mapping[str, Any]) -> None:
        exporter, target, status = self._exporter, fields["target"], fields["status"]
        self._of(exporter.polls, target, status).inc(fields.get("skipped", 1))
        if status == "skipped":
            return
        self._of(exporter.rows, target).inc(fields["rows"])
        self._of(exporter.seconds, target).observe(fields["duration_ms"] / 1000)
        self._of(exporter.late, target).observe(max(fields["late_ms"], 0) / 1000)
        if fields["last_seq"] is not None:
            self._of(exporter.lines, target).inc(fields["last_seq"] - fields["first_seq"] + 1)
        if status in ("ok", "empty"):
            self._of(exporter.paused).set(0)

    def _on_gap(self, fields: Mapping[str, Any]) -> None:
        self._of(self._exporter.gaps, fields["target"]).inc()
        if fields.get("first_seq") is not None:
            self._of(self._exporter.dropped, fields["target"]).inc(fields["last_seq"] - fields["first_seq"] + 1)

    def _on_exit(self, fields: Mapping[str, Any]) -> None:
        if fields["kind"] != "stopped":
            self._of(self._exporter.restarts, fields["target"], fields["kind"]).inc()
