"""Errors caused by the user or the environment rather than by a bug: each is one line that says what is wrong and what to do."""

from __future__ import annotations


def shown(text: str) -> str:
    """Return `text` as one line that every terminal and every file takes: what is not printable is written as an escape.

    The names of files may hold what is not UTF-8, and what others say may hold line ends and a terminal's control characters.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def reason_of(error: OSError) -> str:
    """Return what the system says about the error, beginning in lower case."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


class SqmonError(Exception):
    """What is wrong, where, and what to do, in one line; the command line turns it into exit code 1 without a traceback."""


class ConfigError(SqmonError):
    """A file or an option that can't be used; `problems` holds every one of them, each with its place."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = [shown(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


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
