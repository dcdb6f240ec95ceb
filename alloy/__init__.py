"""Everything between the files and an administrator: what the agents, Loki and Grafana are given."""
