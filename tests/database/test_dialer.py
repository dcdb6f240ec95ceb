"""Hosts with several addresses: each is tried, in order, within the time that there is."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Iterator

import pytest

from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection
from sqmon.database.client import Database
from sqmon.errors import DatabaseError
from sqmon.simulator import Simulator

PLENTY = 40.0
SHORT = 1.0
TOLERANCE = 5.0
REFUSING, SILENT = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def silent(simulator: Simulator) -> Iterator[None]:
    """The worker's port at an address where the kernel drops whatever would connect, because nobody takes those that wait."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((SILENT, simulator.port))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((SILENT, simulator.port))
        yield


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses: a system's own names can't be relied on to have several."""
    asked = socket.getaddrinfo

    def found(_: object, port: int, **options: int) -> list[object]:
        return [info for address in addresses for info in asked(address, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def log_in(simulator: Simulator, seconds: float = PLENTY, *, use_ssl: bool = False) -> None:
    """Log in to the host of many addresses, and ask it something."""
    port = simulator.addresses["tls" if use_ssl else "worker"][1]
    to = Connection("many", port, "master", "sqream", "monitor", password=PasswordSource("sqream"), use_ssl=use_ssl)
    with contextlib.closing(Database(to)) as database:
        database.connect(seconds)
        database.execute("select show_locks()", PLENTY)
        assert database.fetch(PLENTY).rows == 2


@pytest.mark.parametrize("use_ssl", [False, True])
@pytest.mark.parametrize("addresses", [["127.0.0.1"], [REFUSING, "127.0.0.1"], ["::1", REFUSING, "127.0.0.1"], ["127.0.0.1", SILENT]])
def test_address_that_answers_is_found(monkeypatch: pytest.MonkeyPatch, addresses: list[str], *, use_ssl: bool) -> None:
    """Addresses where nobody listens take no time, and those after the one that answers are not tried."""
    with Simulator(tls_port=0, rows_locks=2) as simulator:
        resolve(monkeypatch, *addresses)
        began = time.monotonic()
        log_in(simulator, use_ssl=use_ssl)

        assert time.monotonic() - began < TOLERANCE


@pytest.mark.usefixtures("silent")
def test_address_that_says_nothing_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> None:
    """A silent address takes its share of the time and no more."""
    resolve(monkeypatch, SILENT, "127.0.0.1")
    began = time.monotonic()
    log_in(simulator, 2 * SHORT)

    # The picker's second login goes the same way, in what is left.
    assert time.monotonic() - began < 2 * SHORT + TOLERANCE


@pytest.mark.usefixtures("silent")
def test_all_addresses_together_have_one_deadline(monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> None:
    """All addresses together have one deadline, however many there are."""
    resolve(monkeypatch, *[SILENT] * 5)
    began = time.monotonic()
    with pytest.raises(DatabaseError, match=r"many:.*nothing answers"):
        log_in(simulator, SHORT)

    assert SHORT <= time.monotonic() - began < SHORT + TOLERANCE


def test_last_address_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> None:
    """When no address answers, the error is that of the last one."""
    resolve(monkeypatch, "::1", REFUSING)
    with pytest.raises(DatabaseError, match=r"many:.*the connection was refused"):
        log_in(simulator)


def test_ipv4_is_tried_first(monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> None:
    """IPv4 is tried first, since something else may listen on the same port of ::1."""
    with socket.create_server(("::1", simulator.port), family=socket.AF_INET6) as other:
        other.settimeout(0)
        resolve(monkeypatch, "::1", "127.0.0.1")
        log_in(simulator)
        with pytest.raises(BlockingIOError):
            other.accept()
