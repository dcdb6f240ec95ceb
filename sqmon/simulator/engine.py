"""The event loop of the simulator: its listeners, and the world that they share."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from typing import Any, Callable, Mapping, Optional, Sequence

from sqmon.simulator import control
from sqmon.simulator.columns import Chunk, Column
from sqmon.simulator.faults import Fault
from sqmon.simulator.picker import Picker, TlsPicker
from sqmon.simulator.session import Session
from sqmon.simulator.world import World

LOOPBACK = "127.0.0.1"
Factory = Callable[[], asyncio.BaseProtocol]


class Listener:
    """A port that can be closed and opened again under the same number."""

    def __init__(self, host: str, port: int, factory: Factory, tls: Optional[ssl.SSLContext] = None) -> None:
        self.host = host
        self.port = port
        self._factory = factory
        self._tls = tls
        self._server: Optional[asyncio.AbstractServer] = None

    async def open(self) -> None:
        """Accept connections; raises OSError when the port is taken."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            # One address alone: most clients know only IPv4, and a name may have addresses of both kinds.
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            self._server = await loop.create_server(self._factory, self.host, self.port, family=family, ssl=self._tls, backlog=512)
            self.host, self.port = self._server.sockets[0].getsockname()[:2]

    def close(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.close()
            self._server = None


class Engine:
    """Everything that the Python API and the control port can do, to be called in the loop."""

    def __init__(self, world: World, host: str) -> None:
        self._world = world
        self._host = host
        self._sessions: set[Session] = set()
        self._running = True
        self.workers: dict[str, Listener] = {}
        self.others: dict[str, Listener] = {}
        self.commands: Mapping[str, control.Command] = {
            "set": self._set,
            "clear": self._clear,
            "set_password": self._set_password,
            "set_rows": self._set_rows,
            "stats": self._stats,
            "stop_worker": self._stop_worker,
            "start_worker": self._start_worker,
            "run": self._run,
            "end": self._end,
            "configure": self._configure,
            "restart": self._restart,
            "truth": self._truth,
        }

    def add_worker(self, name: str, port: int, *, second: bool = False, tls: Optional[ssl.SSLContext] = None) -> None:
        """Add a worker port, plain or TLS."""
        self.workers[name] = Listener(self._host, port, partial(Session, self._world, self._sessions, second=second), tls)

    def add_picker(self, name: str, port: int, worker: str, *, tls: Optional[ssl.SSLContext] = None) -> None:
        """Add a picker that hands out the worker port of that name; with `tls` it speaks TLS with clients that do."""

        def number() -> int:
            return self.workers[worker].port

        self.others[name] = Listener(self._host, port, partial(Picker, number) if tls is None else partial(TlsPicker, number, tls))

    def add_control(self, port: int) -> None:
        """Add the control port, always on loopback because it has no password."""

        def connection() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader()
            return asyncio.StreamReaderProtocol(reader, partial(control.serve, commands=self.commands))

        self.others["control"] = Listener(LOOPBACK, port, connection)

    async def open(self) -> None:
        """Open every listener, or none; raises OSError when a port is taken."""
        try:
            for listener in (*self.workers.values(), *self.others.values()):
                await listener.open()
        except OSError:
            await self.close()
            raise
        ports = self._world.ports
        ports.worker = self.workers["worker"].port
        ports.tls, ports.second, ports.second_tls = (
            self.workers[name].port if name in self.workers else None for name in ("tls", "second", "second_tls")
        )
        self._world.cluster.here.ip, self._world.cluster.here.port = self.workers["worker"].host, ports.worker

    async def close(self) -> None:
        """Close every listener and cut every session, including those that hang."""
        for listener in (*self.workers.values(), *self.others.values()):
            listener.close()
        self._cut()
        # Aborted transports close their sockets in the next turns of the loop.
        for _ in range(5):
            await asyncio.sleep(0)

    def _cut(self) -> None:
        for session in tuple(self._sessions):
            session.cut()

    async def _settle(self) -> None:
        """Open or close the worker ports, as the worker's state and the faults demand."""
        wanted = self._running and not self._world.faults.refusing
        for listener in self.workers.values():
            if wanted:
                await listener.open()
            else:
                listener.close()

    async def put_fault(self, fault: Fault) -> None:
        """Set a fault, which is in force when this returns."""
        self._world.faults.put(fault)
        await self._settle()

    async def set_result(self, name: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """See World."""
        self._world.set_result(name, columns, rows)

    async def set_chunks(self, name: str, columns: Sequence[Column], chunks: list[Chunk]) -> None:
        """See World."""
        self._world.set_chunks(name, columns, chunks)

    async def _set(self, value: Any) -> Mapping[str, Any]:
        await self.put_fault(control.fault_from(value))
        return {"ok": True}

    async def _clear(self, value: Any) -> Mapping[str, Any]:
        _wants_true("clear", value)
        self._world.faults.clear()
        await self._settle()
        return {"ok": True}

    async def _set_password(self, value: Any) -> Mapping[str, Any]:
        self._world.access.set_password(control.expect(value, str, '"set_password" takes a string'))
        return {"ok": True}

    async def _set_rows(self, value: Any) -> Mapping[str, Any]:
        self._world.set_rows(control.expect(value, dict, '"set_rows" takes an object of function: rows'))
        return {"ok": True}

    async def _stats(self, value: Any) -> Mapping[str, Any]:
        _wants_true("stats", value)
        return self._world.counters.as_dict()

    async def _stop_worker(self, value: Any) -> Mapping[str, Any]:
        _wants_true("stop_worker", value)
        self._running = False
        await self._settle()
        self._cut()
        return {"ok": True}

    async def _start_worker(self, value: Any) -> Mapping[str, Any]:
        _wants_true("start_worker", value)
        self._running = True
        await self._settle()
        return {"ok": True}

    async def _run(self, value: Any) -> Mapping[str, Any]:
        order = control.fields_of("run", value, control.RUN_TYPES, needs=("sql",))
        return {"statement_id": str(self._world.cluster.order(**order))}

    async def _end(self, value: Any) -> Mapping[str, Any]:
        number = control.expect(value, str, '"end" takes the id of a statement as a string')
        self._world.cluster.end(number)
        return {"ok": True}

    async def _configure(self, value: Any) -> Mapping[str, Any]:
        self._world.cluster.configure(**control.fields_of("configure", value, control.CONFIGURE_TYPES))
        return {"ok": True}

    async def _restart(self, value: Any) -> Mapping[str, Any]:
        _wants_true("restart", value)
        self._world.restart()
        self._cut()
        return {"ok": True}

    async def _truth(self, value: Any) -> Mapping[str, Any]:
        _wants_true("truth", value)
        self._world.cluster.advance()
        return self._world.cluster.truth.as_dict()


def _wants_true(name: str, value: Any) -> None:
    if value is not True:
        raise ValueError(f'"{name}" takes true and nothing else')
