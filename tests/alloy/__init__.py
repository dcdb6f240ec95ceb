"""Tests of what ships beside the program: the agents' configurations, rules and dashboards."""
