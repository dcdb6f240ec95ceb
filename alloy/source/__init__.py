"""The source of the alert rules and the dashboards: `python -m alloy.source` writes them."""
