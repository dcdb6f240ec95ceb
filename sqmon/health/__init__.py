"""How the service is, for outsiders: the status file, Prometheus, systemd."""
