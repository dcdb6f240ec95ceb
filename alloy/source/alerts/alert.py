"""An alert rule in the form that Loki's ruler reads."""

from __future__ import annotations

from typing import Any, NamedTuple


class Alert(NamedTuple):
    """A rule with the panel to look at: its title, and the end of its dashboard's uid."""

    name: str
    severity: str
    expr: str
    summary: str
    description: str
    dashboard: str
    panel: str
    lasting: str = "0m"

    def rule(self) -> dict[str, Any]:
        """Return the entry in a group of rules; what it says names the cluster, or the sqmon of one without a name."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": "{{ or $labels.cluster $labels.instance }}: " + self.summary,
                "description": self.description,
                "panel": self.panel,
                "dashboard": f"/d/sqmon-{self.dashboard}" + "{{ with $labels.cluster }}?var-cluster={{ . }}{{ end }}",
            },
        }
