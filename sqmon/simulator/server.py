"""The simulator as a Python object: it runs in a thread of its own and takes orders from any other."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Callable, Coroutine, Optional, Sequence

from sqmon.simulator.access import Access
from sqmon.simulator.certificate import server_context
from sqmon.simulator.cluster import Cluster
from sqmon.simulator.engine import Engine
from sqmon.simulator.life import Life
from sqmon.simulator.orders import Orders, T
from sqmon.simulator.world import Settings, World

ANSWER_SECONDS = 30.0


class Simulator(Orders):
    """A SQreamDB worker, and what stands around it, on loopback; a context manager.

    A port of 0 is any free port, None means no such listener; the attributes of the same names tell the numbers.
    `picker_port` hands out the worker's plain port, `picker_tls_port` its TLS port, over TLS to a client that begins with it.
    `contention` and what follows it are described by Life.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        tls_port: Optional[int] = None,
        picker_port: Optional[int] = None,
        picker_tls_port: Optional[int] = None,
        control_port: Optional[int] = None,
        host: str = "127.0.0.1",
        version: str = "4.10",
        gpu: bool = False,
        user: str = "sqream",
        password: str = "sqream",  # noqa: S107
        databases: Sequence[str] = ("master",),
        services: Sequence[str] = ("sqream", "monitor"),
        rows_locks: Optional[int] = None,
        seed: int = 0,
        chunk_rows: int = 10_000,
        reconnect: bool = False,
        server_version: Optional[str] = "v2023.1.0",
        clock: Callable[[], float] = time.time,
        contention: float = 0.0,
        statement_lock_timeout: float = 3.0,
        clock_skew: float = 0.0,
        time_zone: str = "",
        idle: bool = False,
    ) -> None:
        if picker_tls_port is not None and tls_port is None:
            raise ValueError("picker_tls_port hands out the TLS port: it needs tls_port")
        settings = Settings(version, gpu, reconnect, server_version, chunk_rows, tuple(databases))
        life = Life(contention, statement_lock_timeout, clock_skew, time_zone, idle)
        cluster = Cluster(clock=clock, seed=seed, databases=databases, services=services, life=life)
        access = Access(user, password, databases=databases, services=services, clock=clock)
        world = World(settings, cluster=cluster, access=access)
        if rows_locks is not None:
            world.set_rows({"show_locks": rows_locks})
        self._engine = Engine(world, host)
        self._engine.add_worker("worker", port)
        context = None if tls_port is None else server_context()
        if tls_port is not None:
            self._engine.add_worker("tls", tls_port, tls=context)
        if reconnect:
            self._engine.add_worker("second", 0, second=True)
        if reconnect and tls_port is not None:
            self._engine.add_worker("second_tls", 0, second=True, tls=context)
        if picker_port is not None:
            self._engine.add_picker("picker", picker_port, "worker")
        if picker_tls_port is not None:
            self._engine.add_picker("picker_tls", picker_tls_port, "tls", tls=context)
        if control_port is not None:
            self._engine.add_control(control_port)
        self._thread: Optional[threading.Thread] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._failure: Optional[BaseException] = None
        self._started = threading.Event()

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Address and number of every listener: worker, tls, second, second_tls, picker, picker_tls, control."""
        listeners = {**self._engine.workers, **self._engine.others}
        return {name: (listener.host, listener.port) for name, listener in listeners.items()}

    @property
    def port(self) -> int:
        """The worker's plain port."""
        return self.addresses["worker"][1]

    @property
    def tls_port(self) -> Optional[int]:
        """The worker's TLS port."""
        return self._port("tls")

    @property
    def picker_port(self) -> Optional[int]:
        """The picker for plain workers."""
        return self._port("picker")

    @property
    def picker_tls_port(self) -> Optional[int]:
        """The picker for TLS workers."""
        return self._port("picker_tls")

    @property
    def control_port(self) -> Optional[int]:
        """The control port."""
        return self._port("control")

    def start(self) -> None:
        """Start, and return when every port accepts connections; raises OSError when a port is taken."""
        self._thread = threading.Thread(target=self._run, name="sqream-simulator", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """Cut every connection, including those that hang, and return when the ports are closed; a second call does nothing."""
        loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(self._over.set)
            thread.join()

    def _port(self, name: str) -> Optional[int]:
        address = self.addresses.get(name)
        return None if address is None else address[1]

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the simulator is not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._over = asyncio.Event()
        try:
            await self._engine.open()
        except BaseException as error:  # noqa: BLE001
            # It belongs to the thread that waits in start().
            self._failure = error
            return
        else:
            self._loop = asyncio.get_running_loop()
        finally:
            self._started.set()
        await self._over.wait()
        await self._engine.close()
