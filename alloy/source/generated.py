"""The files that this source generates, by their path below `alloy/`."""

from __future__ import annotations

import yaml

from alloy.source.alerts import licence, sqmon, sqream
from alloy.source.prometheus import alerts as prometheus_alerts

_HEAD = """\
# Alert rules for Loki's ruler: what is wrong with SQreamDB, and what is wrong with sqmon.
# Written by `python -m alloy.source`; the thresholds are in sqmon/config/thresholds.py. With `auth_enabled: false` this file
# belongs into <ruler.storage.local.directory>/fake/.
"""


_PROMETHEUS_HEAD = """\
# Alert rules for Prometheus: what is wrong with sqmon, as its --metrics_port shows it; what is wrong with SQreamDB is in Loki's rules.
# Written by `python -m alloy.source`; the thresholds are in sqmon/config/thresholds.py.
"""
GROUPS = {"sqream": sqream.ALERTS, "licence": licence.ALERTS, "sqmon": sqmon.ALERTS}
"""The alerts by group."""


def rules() -> str:
    """Return `rules.yaml`."""
    groups = [{"name": name, "interval": "1m", "rules": [alert.rule() for alert in alerts]} for name, alerts in GROUPS.items()]
    return _HEAD + _yaml({"groups": groups})


def prometheus_rules() -> str:
    """Return `rules.yaml` of Prometheus."""
    return _PROMETHEUS_HEAD + _yaml({"groups": [prometheus_alerts.group()]})


def _yaml(content: object) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, width=10_000, allow_unicode=True))


def files() -> dict[str, str]:
    """Return every file; needs the SDK, and with it Python 3.11."""
    from alloy.source.dashboards.fleet import fleet  # noqa: PLC0415 - the rules alone need no SDK
    from alloy.source.dashboards.locks import locks  # noqa: PLC0415
    from alloy.source.dashboards.metadata import metadata  # noqa: PLC0415
    from alloy.source.dashboards.monitor import monitor  # noqa: PLC0415
    from alloy.source.dashboards.overview import overview  # noqa: PLC0415
    from alloy.source.dashboards.statements import statements  # noqa: PLC0415
    from alloy.source.prometheus.dashboard import prometheus  # noqa: PLC0415

    boards = (fleet, overview, locks, statements, metadata, monitor)
    return {
        "loki/rules.yaml": rules(),
        "prometheus/rules.yaml": prometheus_rules(),
        "prometheus/dashboard.json": prometheus(),
        **{f"grafana/dashboards/{board.__name__}.json": board() for board in boards},
    }
