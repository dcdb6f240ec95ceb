"""The orders that any thread can give to a running simulator; the control port accepts the same ones as commands."""

from __future__ import annotations

from typing import Any, Coroutine, Mapping, Optional, Sequence, TypeVar

from sqmon.simulator.columns import Chunk, Column
from sqmon.simulator.engine import Engine
from sqmon.simulator.faults import ANY, Fault

T = TypeVar("T")


class Orders:
    """Orders to the simulator's event loop, each in force when its method returns."""

    _engine: Engine

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work in the event loop returns."""
        raise NotImplementedError

    def set_fault(
        self,
        function: str = ANY,
        step: str = "fetch",
        action: str = "hang",
        *,
        text: Optional[str] = None,
        seconds: Optional[float] = None,
        times: Optional[int] = None,
    ) -> None:
        """Set a fault (see Fault), which is in force when this returns."""
        self._call(self._engine.put_fault(Fault(function, step, action, text, seconds, times)))

    def clear_faults(self) -> None:
        """Clear all faults."""
        self._command("clear", True)

    def set_password(self, password: str) -> None:
        """Change the role's password and lift its lock."""
        self._command("set_password", password)

    def set_rows(self, counts: Mapping[str, Optional[int]]) -> None:
        """Let functions answer with that many rows; None gives them back to the living cluster."""
        self._command("set_rows", dict(counts))

    def set_result(self, function: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Let the function, known or not, answer with exactly this; without columns it has no result set."""
        self._call(self._engine.set_result(function, columns, rows))

    def set_chunks(self, function: str, columns: Sequence[Column], chunks: Sequence[Chunk]) -> None:
        """Let the function answer with exactly these bytes, right or wrong."""
        self._call(self._engine.set_chunks(function, columns, list(chunks)))

    def stats(self) -> dict[str, Any]:
        """Return the logins, sessions, statements and rows so far."""
        return dict(self._command("stats", True))

    def stop_worker(self) -> None:
        """Let the worker be gone: sessions are cut, connections are refused, and the picker does not know."""
        self._command("stop_worker", True)

    def start_worker(self) -> None:
        """Bring the worker back on its old ports."""
        self._command("start_worker", True)

    def run(
        self,
        sql: str,
        *,
        seconds: Optional[float] = 1.0,
        user: str = "etl",
        database: Optional[str] = None,
        service: Optional[str] = None,
        orphan_seconds: Optional[float] = None,
    ) -> str:
        """Let a user's statement arrive now, and return its id.

        It wants the locks that its text says, waits for them and for a worker like any other, and runs for `seconds`, or until
        `end`. With `orphan_seconds` its locks stay behind for so long. Raises ValueError for a database or service that isn't there.
        """
        order = {"sql": sql, "seconds": seconds, "user": user, "orphan_seconds": orphan_seconds}
        places = {"database": database, "service": service}
        return str(self._command("run", {**order, **{name: place for name, place in places.items() if place is not None}})["statement_id"])

    def end(self, statement_id: str) -> None:
        """End this statement, wherever it is; raises ValueError when there is none."""
        self._command("end", statement_id)

    def configure(self, **settings: Any) -> None:
        """Change settings of Life: contention, statement_lock_timeout, clock_skew, time_zone, idle."""
        self._command("configure", settings)

    def restart(self) -> None:
        """Let the server stop and start again: sessions are cut, statements and locks are gone, ids begin with 0."""
        self._command("restart", True)

    def truth(self) -> dict[str, Any]:
        """Return what began and ended when: see docs/simulator.md."""
        return dict(self._command("truth", True))

    def _command(self, name: str, value: Any) -> Mapping[str, Any]:
        async def command() -> Mapping[str, Any]:
            return await self._engine.commands[name](value)

        return self._call(command())
