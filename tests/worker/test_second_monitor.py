"""The watch for another monitor: what it takes for one, and what it doesn't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqmon.config import catalogue
from sqmon.ipc.reports import SecondMonitor
from sqmon.result import by_column
from sqmon.simulator import Simulator
from sqmon.worker.second_monitor import Watch, is_local
from tests.support.program import QUICK, ended, service

COLUMNS = ["statementid", "statement", "user_name", "clientip", "statementstatus"]
OURS, THEIRS = "10.0.0.7", "10.0.0.8"


class Watched:
    """A watch, and the addresses that it has told."""

    def __init__(self, *, local: tuple[str, ...] = ()) -> None:
        self.told: list[str] = []
        self.watch = Watch("sq_monitor", self._tell, local.__contains__)

    def _tell(self, report: SecondMonitor) -> None:
        self.told.append(report.address)

    def poll(self, own: int, *others: tuple[Any, ...], columns: list[str] = COLUMNS) -> None:
        """Let it see a poll: its own statement, and others as number, text, role and address."""
        rows = [(own, "select show_server_status()", "sq_monitor", OURS), *others]
        self.watch.look(by_column(columns, [(*row, "Executing")[: len(columns)] for row in rows]))


def locks(number: object, address: str = THEIRS, *, text: str = "select show_locks()", user: str = "sq_monitor") -> tuple[Any, ...]:
    """Return a poll of show_locks."""
    return (number, text, user, address)


def test_other_monitor_is_told_once() -> None:
    """Two polls from one address make a monitor, which is told once however long it stays, and another address is told besides."""
    watched = Watched()
    watched.poll(10)
    watched.poll(20, locks(15))
    assert watched.told == []

    for own in range(30, 100, 10):
        watched.poll(own, locks(own - 5), locks(own - 4, "10.0.0.9"))

    assert sorted(watched.told) == [THEIRS, "10.0.0.9"]


def test_polls_are_known_in_every_form_that_the_original_sends() -> None:
    """A poll is known by its function, whatever its case, blanks and semicolon."""
    watched = Watched()
    watched.poll(10)
    watched.poll(20, locks(15, text="SELECT  get_license_info( ) ;\n"), locks(16, text="select show_cluster_nodes();"))

    assert watched.told == [THEIRS]


@pytest.mark.parametrize(
    "other",
    [
        {"address": OURS},
        {"user": "etl"},
        {"text": "select * from t"},
        {"text": "select show_locks() from t"},
        {"text": "select my_function()"},
        {"address": ""},
        {"address": "127.0.0.1"},
    ],
)
def test_what_is_no_other_monitor(other: dict[str, str]) -> None:
    """Our other workers and commands, users, other roles, statements that are no polls, and other addresses of this host are not meant."""
    watched = Watched(local=("127.0.0.1",))
    for own in range(10, 100, 10):
        watched.poll(own, locks(own + 1, **other))

    assert watched.told == []


def test_what_a_killed_service_left_is_not_meant() -> None:
    """Statements that are older than the first of ours, under whatever address this host had, are those of a service before this one."""
    watched = Watched()
    watched.poll(100, locks(98), locks(99))
    watched.poll(110, locks(98), locks(99))
    assert watched.told == []

    watched.poll(5, locks(98))  # the server was started anew, and counts again
    watched.poll(15, locks(11), locks(12))
    assert watched.told == [THEIRS]


def test_one_statement_is_not_enough() -> None:
    """One statement that lasts is somebody who looked by hand."""
    watched = Watched()
    for own in range(10, 100, 10):
        watched.poll(own, locks(15))

    assert watched.told == []


def test_polls_that_say_too_little_are_passed_over() -> None:
    """A server that sends no addresses, values of strange types and no rows at all say nothing, and nothing goes wrong."""
    watched = Watched()
    watched.watch.look(by_column(COLUMNS, []))
    watched.poll(10, columns=COLUMNS[:3])
    watched.poll(10)
    watched.poll(20, locks(None), locks("x"), (21, None, "sq_monitor", THEIRS), (22, 7, None, None))

    assert watched.told == []


def test_older_servers_name_columns_otherwise() -> None:
    """The names of other versions are understood."""
    newer = {newer: older for older, newer in catalogue.FUNCTIONS["show_server_status"].aliases.items()}
    columns = [newer.get(name, name) for name in COLUMNS]
    watched = Watched()
    watched.poll(10, columns=columns)
    watched.poll(20, locks(15), locks(16), columns=columns)

    assert columns != COLUMNS
    assert watched.told == [THEIRS]


def test_addresses_of_this_host_are_known() -> None:
    """The loopback addresses are this host's; an address of the documentation's network, and what is no address, is not."""
    assert is_local("127.0.0.1")
    assert not is_local("192.0.2.1")
    assert not is_local("nowhere at all")


def test_service_says_that_somebody_else_polls(simulator: Simulator, tmp_path: Path) -> None:
    """Our own workers, `once` and `check` give no event; another address gives one, which a new worker does not repeat."""
    metrics = {**QUICK, "show_server_status": 0.1}
    words = ["--host", "127.0.0.1", "--port", str(simulator.port)]
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as run:
        run.wait_for_polls("show_server_status", count=3)
        assert ended("once", "show_locks", *words, cwd=tmp_path).code == 0
        ended("check", *words, "--allow_gpu", cwd=tmp_path)
        run.wait_for_polls("show_server_status", count=3)
        assert run.events("second_monitor") == []

        for _ in range(2):
            simulator.run("select show_locks()", user="sqream", seconds=30)
        event = run.wait_for("second_monitor")
        before = run.latest()
        simulator.set_fault("show_server_status", step="fetch", action="close", times=1)
        run.wait_for_polls("show_server_status", after=before, count=5)

        assert (event["level"], event["target"], event["address"]) == ("warning", "show_server_status", "192.168.1.10")
        assert len(run.events("second_monitor")) == 1
