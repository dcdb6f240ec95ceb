"""The state that all connections share: the cluster, access, faults, counters, and the answers to statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

from sqmon.simulator.access import Access
from sqmon.simulator.cluster import Cluster
from sqmon.simulator.columns import Chunk, Column, chunked
from sqmon.simulator.default_functions import Caller, Function, Question, Row
from sqmon.simulator.faults import Faults
from sqmon.simulator.generations import GENERATIONS
from sqmon.simulator.other_functions import FUNCTIONS
from sqmon.simulator.refused_functions import REFUSED
from sqmon.simulator.sql import Call, Number, StatementError, ViewQuery, parse
from sqmon.simulator.views import select

NO_GPU_IN_4_10 = "The query requires a GPU-Worker. Ensure the SQream Service has GPU . . ."
NO_GPU = "Internal Runtime Error"
# A statement that moves to another worker has to arrive there within this time.
PARKED_SECONDS = 30.0


@dataclass(frozen=True)
class Settings:
    """What the simulated server is like; fixed for its life."""

    version: str
    gpu: bool
    reconnect: bool
    server_version: str | None
    chunk_rows: int
    databases: tuple[str, ...]


@dataclass
class Ports:
    """Where the worker, and the second one that statements move to, can be reached now."""

    worker: int = 0
    tls: int | None = None
    second: int | None = None
    second_tls: int | None = None


@dataclass
class Plan:
    """A prepared statement: its name in faults and counters, its columns, and how to run it."""

    name: str
    columns: Sequence[Column]
    run: Callable[[Caller], list[Chunk]]


@dataclass
class Counters:
    """What happened since the start; `sessions` is the number open now."""

    logins: int = 0
    failed_logins: int = 0
    sessions: int = 0
    max_sessions: int = 0
    statements: dict[str, int] = field(default_factory=dict)
    rows_served: dict[str, int] = field(default_factory=dict)

    def session_opened(self) -> None:
        """Count one more open session."""
        self.sessions += 1
        self.max_sessions = max(self.max_sessions, self.sessions)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy for reporting."""
        return {**vars(self), "statements": dict(self.statements), "rows_served": dict(self.rows_served)}


class World:
    """The simulated server's state, which only the simulator's event loop may touch."""

    def __init__(self, settings: Settings, *, cluster: Cluster, access: Access) -> None:
        if settings.version not in GENERATIONS:
            raise ValueError(f"unknown version {settings.version!r}: one of {', '.join(GENERATIONS)}")
        self.settings = settings
        self.cluster = cluster
        self.access = access
        self.faults = Faults()
        self.counters = Counters()
        self.ports = Ports()
        self.callers: dict[int, Caller] = {}
        self._counts: dict[str, int] = {}
        self._invented: dict[str, list[Chunk]] = {}
        self._served: dict[str, Plan] = {}
        self._parked: dict[tuple[int, int], tuple[float, Caller, Plan]] = {}

    def functions(self) -> dict[str, Function]:
        """Return the functions that this version knows."""
        return {name: known for name, known in FUNCTIONS.items() if self.settings.version in known.columns}

    def set_rows(self, counts: dict[str, int | None]) -> None:
        """Let these functions answer with that many rows, whatever the cluster does; None ends that."""
        known = self.functions()
        for name, count in counts.items():
            if name not in known:
                raise ValueError(f"unknown function {name!r}: one of {', '.join(sorted(known))}")
            if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
                raise ValueError(f"rows of {name}: a whole number of 0 or more, or null, not {count!r}")
        for name, count in counts.items():
            self._invented.pop(name, None)
            if count is None:
                self._counts.pop(name, None)
            else:
                self._counts[name] = count

    def set_result(self, name: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Let the function answer with exactly this; without columns it is a statement that has no result set."""
        self.set_chunks(name, columns, chunked(columns, rows, self.settings.chunk_rows))

    def set_chunks(self, name: str, columns: Sequence[Column], chunks: list[Chunk]) -> None:
        """Let the function answer with exactly these bytes."""
        self._served[name] = Plan(name, tuple(columns), lambda _: chunks)

    def prepare(self, text: str) -> Plan:
        """Return what running the statement will do; raises StatementError with the server's text if it can't be run."""
        self.cluster.advance()
        asked = parse(text)
        if isinstance(asked, Call):
            return self._call(asked)
        if isinstance(asked, ViewQuery):
            columns, rows = select(asked, self.settings.databases, gpu=self.settings.gpu)
            chunks = chunked(columns, rows, self.settings.chunk_rows)
            return Plan(f"sqream_catalog.{asked.view}", columns, lambda _: chunks)
        if not self.settings.gpu:
            raise StatementError(NO_GPU_IN_4_10 if self.settings.version == "4.10" else NO_GPU)
        if isinstance(asked, Number):
            column = [Column("?column?", "bigint", nullable=False)]
            literal = chunked(column, [(asked.value,)], 1)
            return Plan(f"select {asked.value}", column, lambda _: literal)
        raise StatementError("The simulator runs utility functions, catalog views and select 1 only.")

    def _call(self, call: Call) -> Plan:
        if call.name in self._served:
            return self._served[call.name]
        if call.name in REFUSED:
            raise StatementError(f"{call.name} is not for polling: the simulator does not run it.")
        known = FUNCTIONS.get(call.name)
        generation = self.settings.version
        if known is None or generation not in known.columns or len(call.arguments) not in known.arguments:
            raise StatementError(f"Could not find function {call.name} in catalog.")
        return Plan(call.name, known.columns[generation], lambda caller: self._run(known, caller, call.arguments))

    def _run(self, function: Function, caller: Caller, arguments: tuple[str, ...]) -> list[Chunk]:
        self.cluster.advance()
        question = Question(
            cluster=self.cluster,
            generation=self.settings.version,
            gpu=self.settings.gpu,
            server_version=self.settings.server_version or "",
            caller=caller,
            callers=tuple(self.callers.values()),
            arguments=arguments,
        )
        columns, count = function.columns[self.settings.version], self._counts.get(function.name)
        if count is not None and function.name in self._invented:
            return self._invented[function.name]
        rows = _living(function, question) if count is None else _invented(function, question, count)
        chunks = chunked(columns, [row[: len(columns)] for row in rows], self.settings.chunk_rows)
        # The polling statement's own row is another one each time; all other inventions stay as they are.
        if count is not None and function.name != "show_server_status":
            self._invented[function.name] = chunks
        return chunks

    def began(self, caller: Caller) -> None:
        """Note that the client's statement is prepared on the worker that will run it."""
        caller.span = self.cluster.truth.begin("statements", caller.started, statement_id=str(caller.statement_id), source="client")

    def ended(self, caller: Caller) -> None:
        """Note that the client's statement, if it has one, is over."""
        caller.running = False
        self.cluster.truth.end(caller.span, self.cluster.advance())
        caller.span = None

    def restart(self) -> None:
        """Let the server begin anew: no statement is known, ids count from 0; the sessions are for the caller to cut."""
        self.cluster.restart()
        self._parked.clear()

    def park(self, caller: Caller, plan: Plan) -> None:
        """Keep a prepared statement until its client has moved to the second worker."""
        now = self.cluster.advance()
        self._parked = {key: kept for key, kept in self._parked.items() if now - kept[0] <= PARKED_SECONDS}
        self._parked[caller.connection_id, caller.statement_id] = (now, caller, plan)

    def pick_up(self, connection_id: int, statement_id: int) -> tuple[Caller, Plan]:
        """Return the parked statement, once; raises StatementError if there is none."""
        kept = self._parked.pop((connection_id, statement_id), None)
        if kept is None:
            raise StatementError(f"Could not reconstruct statement {statement_id} of connection {connection_id}")
        return kept[1], kept[2]


def _living(function: Function, question: Question) -> list[Row]:
    try:
        return function.rows(question)
    except ValueError as error:
        raise StatementError(f"{function.name}: {error}") from error


def _invented(function: Function, question: Question, count: int) -> list[Row]:
    """Return that many rows: invented ones where the function can invent them, otherwise its living ones over and over."""
    if count == 0:
        return []
    if function.invent is not None:
        return function.invent(question, count)
    rows = _living(function, question)
    if not rows:
        raise StatementError(f"{function.name} has no row now to repeat {count} times")
    return (rows * (count // len(rows) + 1))[:count]
