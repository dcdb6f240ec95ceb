"""One connection to a worker, which answers each request by its JSON key and the statement's state, in any order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Callable, Optional

from sqmon.simulator import fault_effects, protocol
from sqmon.simulator.access import RefusedError
from sqmon.simulator.columns import Chunk
from sqmon.simulator.connection import Connection
from sqmon.simulator.default_functions import Caller
from sqmon.simulator.sql import StatementError
from sqmon.simulator.world import Plan, World

LISTENER_ID = 7
LOGIN_KEYS = ("connectDatabase", "reconnectDatabase")


class Session(Connection):
    """A client's session from login to close."""

    def __init__(self, world: World, sessions: set[Session], *, second: bool = False) -> None:
        super().__init__(world.faults)
        self._world = world
        self._sessions = sessions
        self._second = second
        self._caller: Optional[Caller] = None
        self._plan: Optional[Plan] = None
        self._chunks: Optional[deque[Chunk]] = None
        self._answers: dict[str, Callable[[dict[str, Any]], None]] = {
            "connectDatabase": self._login,
            "reconnectDatabase": self._login,
            "getStatementId": self._new_statement,
            "prepareStatement": self._prepare,
            "reconstructStatement": self._reconstruct,
            "execute": self._execute,
            "queryTypeIn": self._type_in,
            "queryTypeOut": self._type_out,
            "fetch": self._fetch,
            "closeStatement": self._close_statement,
            "closeConnection": self._close_connection,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self._sessions.discard(self)
        if self._caller is not None:
            self._world.counters.sessions -= 1
            self._world.ended(self._caller)
            # A client that moved with its statement has this number on its new connection already.
            if self._world.callers.get(self._caller.connection_id) is self._caller:
                del self._world.callers[self._caller.connection_id]

    def cut(self) -> None:
        """Cut the connection, as it is when the worker's process is gone."""
        self.transport.abort()

    def answer(self, body: dict[str, Any]) -> None:
        """Answer a request by the key that names it, wherever that key stands."""
        key = next((key for key in body if key in self._answers), None)
        if key is None:
            self.reply({"error": f"unknown request with the keys {sorted(body)}"})
        elif self._caller is None and key not in (*LOGIN_KEYS, "closeConnection"):
            self.reply({"error": "not connected to a database"})
        else:
            self._answers[key](body)

    def _login(self, body: dict[str, Any]) -> None:
        self.gate("login", "*", lambda: self._admit(body))

    def _admit(self, body: dict[str, Any]) -> None:
        world, again = self._world, "reconnectDatabase" in body
        names = ("username", "password", "reconnectDatabase" if again else "connectDatabase", "service")
        user, password, database, service = (str(body.get(name, "")) for name in names)
        try:
            world.access.admit(user, password, database=database, service=service)
        except RefusedError as refused:
            world.counters.failed_logins += 1
            self.reply({"error": str(refused)})
            return
        known = body.get("connectionId")
        number = known if again and isinstance(known, int) else world.cluster.next_connection_id()
        ip = str((self.transport.get_extra_info("peername") or ("",))[0])
        if self._caller is None:
            world.counters.session_opened()
        else:
            world.callers.pop(self._caller.connection_id, None)
        # A client that moved here with its statement has logged in once already.
        world.counters.logins += not again
        self._caller = Caller(number, user, database, service, ip, world.cluster.advance())
        world.callers[number] = self._caller
        answer = {"connectionId": number, "databaseConnected": "databaseConnected", "varcharEncoding": "ascii"}
        if world.settings.server_version is not None:
            answer["version"] = world.settings.server_version
        self.reply(answer)

    def _logged_in(self) -> Caller:
        assert self._caller is not None
        return self._caller

    def _forget(self) -> None:
        self._plan = self._chunks = None
        self._world.ended(self._logged_in())

    def _new_statement(self, _: dict[str, Any]) -> None:
        self._forget()
        caller = self._logged_in()
        caller.statement_id = self._world.cluster.next_statement_id()
        self.reply({"statementId": caller.statement_id})

    def _prepare(self, body: dict[str, Any]) -> None:
        self._forget()
        text = str(body["prepareStatement"])
        try:
            plan = self._world.prepare(text)
        except StatementError as error:
            refused = {"error": str(error)}
            self.gate("prepare", "*", lambda: self.reply(refused))
            return
        counts = self._world.counters.statements
        counts[plan.name] = counts.get(plan.name, 0) + 1
        self.gate("prepare", plan.name, lambda: self._prepared(plan, text))

    def _prepared(self, plan: Plan, text: str) -> None:
        world, caller = self._world, self._logged_in()
        caller.statement, caller.started = text, world.cluster.now
        ports, moves = world.ports, world.settings.reconnect and not self._second
        if moves:
            world.park(caller, plan)
        else:
            self._plan = plan
            world.began(caller)
        port = ports.second if moves and ports.second is not None else ports.worker
        tls = ports.second_tls if moves else ports.tls
        self.reply(
            {
                "ip": self.transport.get_extra_info("sockname")[0],
                "listener_id": LISTENER_ID,
                "port": port,
                "port_ssl": port if tls is None else tls,
                "reconnect": moves,
                "statementPrepared": True,
            }
        )

    def _reconstruct(self, body: dict[str, Any]) -> None:
        caller = self._logged_in()
        try:
            parked, self._plan = self._world.pick_up(caller.connection_id, int(body["reconstructStatement"]))
        except (StatementError, TypeError, ValueError) as error:
            self.reply({"error": str(error)})
            return
        caller.statement_id, caller.statement, caller.started = parked.statement_id, parked.statement, parked.started
        self._world.began(caller)
        self.reply({"statementReconstructed": "statementReconstructed"})

    def _execute(self, _: dict[str, Any]) -> None:
        plan = self._plan
        if plan is None:
            self.reply({"error": "no statement is prepared"})
        else:
            self.gate("execute", plan.name, lambda: self._run(plan))

    def _run(self, plan: Plan) -> None:
        caller = self._logged_in()
        caller.running = True
        try:
            self._chunks = deque(plan.run(caller))
        except StatementError as error:
            self._forget()
            self.reply({"error": str(error)})
            return
        self.reply({"executed": "executed"})

    def _type_in(self, _: dict[str, Any]) -> None:
        self.reply({"queryType": []} if self._plan else {"error": "no statement is prepared"})

    def _type_out(self, _: dict[str, Any]) -> None:
        if self._plan is None:
            self.reply({"error": "no statement is prepared"})
        else:
            self.reply({"queryTypeNamed": [column.described() for column in self._plan.columns]})

    def _fetch(self, _: dict[str, Any]) -> None:
        plan = self._plan
        if plan is None or self._chunks is None:
            self.reply({"error": "no statement is executed"})
        else:
            self.gate("fetch", plan.name, lambda: self._send(plan))

    def _send(self, plan: Plan) -> None:
        if not self._chunks:
            self.reply({"colSzs": [], "rows": 0})
            return
        chunk = self._chunks.popleft()
        sizes = {"colSzs": chunk.sizes, "rows": chunk.rows}
        binary = protocol.frame(self.version, protocol.BINARY, chunk.payload)
        served = self._world.counters.rows_served
        fault = self._world.faults.take("payload", plan.name)
        if fault is None:
            self.transport.write(protocol.text(self.version, sizes) + binary)
            served[plan.name] = served.get(plan.name, 0) + chunk.rows
        else:
            self.reply(sizes)
            fault_effects.act_midway(self, fault, binary)

    def _close_statement(self, _: dict[str, Any]) -> None:
        self._forget()
        self.reply({"statementClosed": "statementClosed"})

    def _close_connection(self, _: dict[str, Any]) -> None:
        self.reply({"connectionClosed": "connectionClosed"})
        self.transport.close()
