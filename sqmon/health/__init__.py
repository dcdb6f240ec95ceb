"""The health of the service as outsiders see it: the status file, the Prometheus exporter, systemd."""
