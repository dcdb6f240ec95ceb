"""Access control: the role, its password, databases and services, and the lock after five wrong passwords."""

from __future__ import annotations

from typing import Callable, Sequence

WRONG_PASSWORDS = 5
LOCKED_SECONDS = 15 * 60.0
LOCKED = "The user is locked. Please contact your system administrator to reset the password and regain access functionality."


class RefusedError(Exception):
    """The text that a refused login is answered with."""


class Access:
    """One role, its password, and the databases and services it can reach."""

    def __init__(
        self,
        user: str,
        password: str,
        *,
        databases: Sequence[str],
        services: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        self._user = user
        self._password = password
        self._databases = tuple(databases)
        self._services = tuple(services)
        self._clock = clock
        self._wrong = 0
        self._locked_until = float("-inf")

    def set_password(self, password: str) -> None:
        """Give the role this password; its lock is lifted, as it is when an administrator resets a password."""
        self._password = password
        self._wrong = 0
        self._locked_until = float("-inf")

    def admit(self, user: str, password: str, *, database: str, service: str) -> None:
        """Return if this login is right; raises RefusedError with the server's text otherwise."""
        if user != self._user:
            raise RefusedError(f"Login failure: role '{user}' doesn't exist")
        if self._clock() < self._locked_until:
            raise RefusedError(LOCKED)
        if password != self._password:
            self._count_wrong()
            raise RefusedError(f"Login failure: wrong password for role '{user}'")
        self._wrong = 0
        if database not in self._databases:
            raise RefusedError(f"Database {database} no longer exists")
        if service not in self._services:
            raise RefusedError("Login failure: There are no instances subscribed to the requested service.")

    def _count_wrong(self) -> None:
        self._wrong += 1
        if self._wrong >= WRONG_PASSWORDS:
            self._wrong = 0
            self._locked_until = self._clock() + LOCKED_SECONDS
