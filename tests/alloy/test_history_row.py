"""The row of the dashboard that looks back: who held what within the chosen range, and who waited."""

from __future__ import annotations

import json
from pathlib import Path

from sqmon.simulator import Simulator
from tests.alloy.test_dashboards import PANELS, filled, tailed
from tests.lifetimes.site import events
from tests.support.logql import evaluated
from tests.support.program import ended, service, wait_until

POLLED = {"show_locks": 0.2, "show_server_status": 0.2}


def shown(title: str, log_dir: Path, **typed: str) -> list[tuple[dict[str, str], float]]:
    """Return what a panel of the dashboard of locks shows of a directory, once people have typed this into the variables."""
    (query,) = [panel.query for panel in PANELS if (panel.board, panel.title) == ("locks", title)]
    for name, text in typed.items():
        query = query.replace(f"${name}", text)
    entries = tailed(log_dir)
    return evaluated(filled(query), entries, max(entry.time for entry in entries) + 1)


def test_row_says_who_held_a_table_and_who_waited(tmp_path: Path) -> None:
    """The holder of a table and the statement that waited for it are in the row, and `sqmon history` says the same."""
    log_dir = tmp_path / "logs"
    with Simulator(idle=True, seed=7) as simulator, service(simulator.port, log_dir, metrics=POLLED) as run:
        run.wait_for_polls(*POLLED)
        holder = simulator.run("update public.t set x = 1", seconds=None)
        other = simulator.run("update public.u set x = 1", seconds=None)
        run.wait_for_polls(*POLLED)
        waiter = simulator.run("delete from public.t where x = 1", seconds=None)
        wait_until(lambda: events(run.records("lifetimes"), "statement_unblocked"))
        simulator.end(holder)
        run.wait_for_polls(*POLLED)
        assert run.end() == 0

    held = shown("Who held it", log_dir, object="t[$]update")
    waited, chain = (shown(title, log_dir, object="t[$]update") for title in ("Who waited", "Who waited for whom"))
    (lock,) = [labels for labels, _ in held if labels["locked_object"] == "table$master$public$t$Update"]
    assert (lock["statement_id"], lock["statement"]) == (holder, "update public.t set x = 1")
    assert other not in {labels["statement_id"] for labels, _ in held}
    assert {labels["statement_id"] for labels, _ in waited} == {waiter}
    assert {(labels["root"], labels["blocked_by"], depth) for labels, depth in chain} == {(holder, holder, 1.0)}

    asked = ended("history", "locks", "--object", "t", "--json", "--log_dir", str(log_dir), cwd=tmp_path)
    (found,) = [life for life in json.loads(asked.stdout)["locks"] if life["locked_object"] == "table$master$public$t$Update"]
    assert found["statement_id"] == holder
    assert {wait["statement_id"] for wait in found["waiters"]} == {waiter}
