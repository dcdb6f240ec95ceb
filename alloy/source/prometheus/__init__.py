"""What is generated for Prometheus: alert rules and a dashboard for what --metrics_port shows."""
