"""The name of a cluster, from the option to every place where it is read."""

from __future__ import annotations

from pathlib import Path

from sqmon.simulator import Simulator
from tests.health.test_prometheus import scrape
from tests.support.loki import free_port
from tests.support.program import QUICK, service


def test_cluster_is_in_every_line_the_status_and_the_gauges(simulator: Simulator, tmp_path: Path) -> None:
    """With --cluster, every record and event names it, as do status.json and the labels of a scrape."""
    port = free_port()
    with service(simulator.port, tmp_path / "logs", "--cluster", "prod", "--metrics_port", str(port), metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        status, samples = run.status(), scrape(port)
        lines = [*run.events(), *run.records("show_locks")]
        assert run.end() == 0

    assert {"prod"} == {line["cluster"] for line in lines}
    assert "prod" == status.cluster
    assert samples['sqmon_config_ok{cluster="prod"}'] == 1
    assert samples['sqmon_healthy{cluster="prod",target="show_locks"}'] == 1
