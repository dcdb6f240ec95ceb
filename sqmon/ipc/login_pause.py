"""The note of a pause after a refused login, which outlasts the service so that its next start observes the pause.

systemd restarts a service that fails every ten seconds, and five refused logins lock the role. The process that was
refused, be it the probe of the start-up checks or a worker, writes the note itself: it knows the password that it used, and a slow disk
holds up only a process that is about to end. The note does not contain the password, only one byte of a slow digest. A changed password is
recognised by it in 255 cases of 256, and no reader of the note can confirm a guess with it.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Optional

import msgspec

from sqmon.clock import utc_stamp
from sqmon.config.settings import Connection, Output
from sqmon.storage.note import Note

PAUSE_SECONDS = 15 * 60.0
"""How long no login is tried after one was refused: SQreamDB unlocks a locked role after as long."""

_ROUNDS = 100_000


class _Content(msgspec.Struct):
    host: str
    port: int
    user: str
    refused: str
    """When, for people."""
    refused_ns: int
    reason: str
    check: int
    """The one byte."""


class Standing(NamedTuple):
    """A pause that is not over."""

    until: str
    """RFC 3339 in UTC."""
    seconds: float
    """What is left of it."""
    reason: str
    """Why the login was refused."""
    path: str
    """The file that must go for a login to be tried earlier."""


def explained(pause: Standing) -> str:
    """Return why no login is tried now, and what to do about it."""
    told = f"logins are paused until {pause.until}, since this one was refused: {pause.reason}"
    return f"{told}; to try earlier, change the password or remove {pause.path}"


class LoginPause:
    """The note about the logins of one role at one server."""

    def __init__(self, connection: Connection, output: Output) -> None:
        self._to = connection
        place = f"{connection.host}\n{connection.port}\n{connection.user}"
        self._note = Note(output, f"login_pause-{hashlib.sha256(place.encode()).hexdigest()[:12]}")

    def begin(self, password: str, reason: str, now_ns: int) -> None:
        """Write down that `password` was refused; on a disk that takes nothing, the pause ends with the service."""
        to = self._to
        self._note.write(
            msgspec.json.encode(_Content(to.host, to.port, to.user, utc_stamp(now_ns), now_ns, reason, self._check(password))) + b"\n"
        )

    def end(self, began_ns: int) -> None:
        """Forget the pause, since a login that began at `began_ns` has worked; a login that was refused later keeps it."""
        content = self._content()
        if content is not None and content.refused_ns < began_ns:
            self._note.remove()

    def standing(self, password: str, now_ns: int) -> Optional[Standing]:
        """Return the pause that forbids a login with `password` now."""
        content = self._content()
        if content is None:
            return None
        # A clock that was ahead when the note was written must not make the pause longer.
        over_ns = content.refused_ns + int(PAUSE_SECONDS * 1e9)
        if not content.refused_ns <= now_ns < over_ns or content.check != self._check(password):
            return None
        return Standing(utc_stamp(over_ns), (over_ns - now_ns) / 1e9, content.reason, str(self._note.path))

    def _content(self) -> Optional[_Content]:
        try:
            content = msgspec.json.decode(self._note.read() or b"", type=_Content)
        except msgspec.DecodeError:
            return None
        to = self._to
        return content if (content.host, content.port, content.user) == (to.host, to.port, to.user) else None

    def _check(self, password: str) -> int:
        # The salt is always the same for a role: different salts of several notes would tell a byte each.
        return hashlib.pbkdf2_hmac("sha256", password.encode(), f"sqmon {self._to.user}".encode(), _ROUNDS, 1)[0]
