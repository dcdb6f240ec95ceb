"""What becomes of the nodes of a cluster: up, down."""

from __future__ import annotations

from typing import Any, Iterable

from sqmon.lifetimes.lines import Line, life, line
from sqmon.lifetimes.polls import Poll, Row, text_of
from sqmon.lifetimes.population import Key, Population, PopulationState

METRIC = "show_cluster_nodes"

_PATIENCE = 2
"""Good polls that must miss a node before it is down: one alone may have asked at the wrong moment."""


class Nodes:
    """The nodes that the cluster lists."""

    def __init__(self) -> None:
        self._population = Population(_PATIENCE)

    def take(self, poll: Poll) -> Iterable[Line]:
        """Take a good poll of show_cluster_nodes and yield what it reveals."""
        change = self._population.take(poll, ((_key(row), row) for row in poll.rows))
        for member in change.gone:
            yield line(
                "node_down",
                poll,
                {**_said(member.row), **life(member, gone_before_ns=member.gone_before_ns), "is_up": 0},
                certainty="seen",
                level="warning",
            )
        for member in change.come:
            yield line("node_up", poll, {**_said(member.row), **life(member), "is_up": 1}, certainty="seen")

    def unfinished(self) -> Iterable[Line]:
        """Yield a line for each node that is up, as of the newest poll."""
        poll = self._population.poll
        if poll is not None:
            for member in self._population.members.values():
                yield line("node_up", poll, {**_said(member.row), **life(member), "is_up": 1}, certainty="seen")

    def state(self) -> PopulationState:
        """Return what another one can go on from."""
        return self._population.state()

    def resume(self, state: PopulationState) -> None:
        """Go on from there."""
        self._population.resume(state)


def _key(row: Row) -> Key:
    instance = text_of(row.get("instance_id"))
    return (instance or f"{text_of(row.get('server_ip'))}:{text_of(row.get('server_port'))}",)


def _said(row: Row) -> dict[str, Any]:
    return {
        "instance_id": text_of(row.get("instance_id")),
        "server": text_of(row.get("server_ip")),
        "port": text_of(row.get("server_port")),
        "connection_status": text_of(row.get("connection_status")),
    }
