"""The texts of database errors: what is wrong, where, and what to do."""

from __future__ import annotations

import re
import unicodedata

from sqmon.config.settings import Connection
from sqmon.errors import AddressError, DatabaseError, LoginError, StatementError

# A server may say anything at any length; what it says goes into reports, events and one line on the screen.
_LONGEST = 1000
_WORTH_READING = 16 * _LONGEST

# What a terminal would obey, in seven bits (ESC and a letter) or in eight (one character from U+0080 to U+009F). No part of a pattern
# runs past the next ESC, so that a text made of nothing but beginnings is read once and not once for each of them.
_CONTROL_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, the cursor, erasing
    r"|(?:\x1b[\]P_^X]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # strings: titles, clipboard, links, device controls
    r"|\x1b[ -/]*[0-~]?"  # all others
)
# Other control characters, and those that turn the direction of the text around them.
_INVISIBLE = {
    code: " " if chr(code).isspace() else None
    for code in (*range(0x100), *range(0x200B, 0x2070), 0x061C, 0xFEFF)
    if unicodedata.category(chr(code)) in ("Cc", "Cf")
}

# A service without instances is none of these: its worker may be starting, and no role is locked for it.
_LOGIN_REFUSED = re.compile(
    r"login failure(?!: there are no instances)|role '.*' doesn't exist|wrong password|user is locked", re.IGNORECASE
)


def readable(text: str) -> str:
    """Return `text` in one line of bounded length that is valid Unicode and does nothing to a terminal but show itself."""
    shown = _CONTROL_SEQUENCES.sub("", text[:_WORTH_READING]).translate(_INVISIBLE)
    # Half a surrogate pair comes out of JSON, and goes into no UTF-8.
    line = " ".join(shown.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").split())
    return line if len(line) <= _LONGEST and len(text) <= _WORTH_READING else f"{line[:_LONGEST]}..."


def explained(failure: Exception, to: Connection, *, login: bool) -> DatabaseError:
    """Return the failure as it should be told: a kind of DatabaseError that says where, and what to do where that is known."""
    text = readable(str(failure)) or type(failure).__name__
    if isinstance(failure, DatabaseError):
        if login and isinstance(failure, StatementError) and _LOGIN_REFUSED.search(text):
            return LoginError(f"{to.address}: {text}")
        return type(failure)(f"{to.address}: {text}")
    advice = [*(_CLUSTERED_ADVICE if to.clustered else ()), *_LOGIN_ADVICE, *_ADVICE] if login else _ADVICE
    for sign, kind, what_to_do in advice:
        if sign in text:
            return kind(f"{to.address}: {what_to_do.format(picker=3109 if to.use_ssl else 3108)}")
    return DatabaseError(f"{to.address}: {text}")


_ADVICE = (
    ("Connection refused", DatabaseError, "the connection was refused; is a worker running there? (--host, --port)"),
    (
        "Timeout when connecting",
        DatabaseError,
        "nothing answers; is the address right, and does a firewall let it through? (--host, --port)",
    ),
    (
        "not a server picker port",
        AddressError,
        "this is not a server picker; leave out --clustered, or give the picker's port (usually {picker})",
    ),
    ("server version - ", AddressError, "this is not a worker port; a server picker needs --clustered, another service another --port"),
    ("SSL port with use_ssl = False", AddressError, "this port speaks TLS; give --use_ssl"),
    ("non ssl sqreamd port", AddressError, "this port does not speak TLS; leave out --use_ssl, or give the TLS port (usually 5100)"),
    ("0 returned by socket", DatabaseError, "the server closed the connection"),
    ("TLS/SSL connection has been closed", DatabaseError, "the server closed the connection"),
    ("Connection reset by peer", DatabaseError, "the server cut the connection"),
    ("Name or service not known", AddressError, "no host has that name (--host)"),
    ("Temporary failure in name resolution", DatabaseError, "the host name can't be looked up just now (--host)"),
)

# What an end of the connection says before the login and not after it.
_LOGIN_ADVICE = (
    (
        "TLS/SSL connection has been closed",
        AddressError,
        "this port does not speak TLS; leave out --use_ssl, or give the TLS port (usually 5100)",
    ),
    ("0 returned by socket", DatabaseError, "the server closed the connection before the login; a port that speaks TLS needs --use_ssl"),
)

# With a server picker the port that doesn't speak the right language is the one that the picker named.
_PLAIN_WORKER = (
    "this picker names the port of a worker that does not speak TLS; leave out --use_ssl, or give the port of the picker for TLS"
    " (usually 3109)"
)
_CLUSTERED_ADVICE = (
    ("non ssl sqreamd port", AddressError, _PLAIN_WORKER),
    ("TLS/SSL connection has been closed", AddressError, _PLAIN_WORKER),
    (
        "0 returned by socket",
        DatabaseError,
        "the server closed the connection before the login; the picker for TLS (usually port 3109) needs --use_ssl",
    ),
)
