"""PromQL queries, all grouped by cluster and instance as those of Loki are."""

from __future__ import annotations

from alloy.source.logql import PLACE

SITE = 'job="sqmon", cluster=~"$cluster", instance=~"$instance"'
"""What the variables of a dashboard select."""

JOB = 'job="sqmon"'
"""What the rules select: the name of the scrape job in scrape.yaml."""


class PromQL(str):
    """A query for Prometheus; a plain text is one for Loki."""

    __slots__ = ()


def summed(expr: str, *labels: str) -> PromQL:
    """Return the sum of each group."""
    return PromQL(f"sum by ({', '.join((*PLACE, *labels))}) ({expr})")


def increase(counter: str, *labels: str, over: str, where: str = JOB) -> PromQL:
    """Return by how much a counter grew within `over`."""
    return summed(f"increase({counter}{{{where}}}[{over}])", *labels)


def rate(counter: str, *labels: str, where: str = SITE) -> PromQL:
    """Return how fast a counter grows a second, for a graph."""
    return summed(f"rate({counter}{{{where}}}[$__rate_interval])", *labels)


def quantile(share: float, histogram: str, *labels: str, where: str = SITE) -> PromQL:
    """Return the value below which that share of a histogram's observations lies, for a graph."""
    return PromQL(f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', 'le', *labels, where=where)})")


def gauge(name: str, where: str = SITE) -> PromQL:
    """Return a gauge as it is."""
    return PromQL(f"{name}{{{where}}}")
