"""The errors that are the user's or the world's, not ours: each is one line that says what is wrong and what to do."""

from __future__ import annotations


class SqmonError(Exception):
    """What is wrong, where, and what to do, in one line; `cli` turns it into exit code 1 without a traceback."""


class ConfigError(SqmonError):
    """A file or an option that can't be used; `problems` holds every one of them, each with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DatabaseError(SqmonError):
    """A connection or a statement failed; the connection it happened on can't be used any more."""


class AddressError(DatabaseError):
    """Something else than expected listens there, or nothing of that name exists: trying again won't help until somebody changes it."""


class LoginError(DatabaseError):
    """The server refused the login: trying again soon would lock the role (five wrong passwords do)."""


class StatementError(DatabaseError):
    """The server answered a statement with an error; the connection was sound until then."""


class QueryTimeoutError(DatabaseError):
    """The server did not answer before the deadline."""
