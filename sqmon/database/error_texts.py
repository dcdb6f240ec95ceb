"""What is wrong, where, and what to do: the words for whatever a driver raises."""

from __future__ import annotations

import re

from sqmon.errors import AddressError, DatabaseError, LoginError, StatementError

# A server may say anything at any length; what it says goes into reports, events and one line on the screen.
_LONGEST = 1000
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
# A service without instances is none of these: its worker may be starting, and no role is locked for it.
_LOGIN_REFUSED = re.compile(
    r"login failure(?!: there are no instances)|role '.*' doesn't exist|wrong password|user is locked", re.IGNORECASE
)


def readable(text: str) -> str:
    """Return `text` in one line of bounded length, without the colours that pysqream paints errors in."""
    line = " ".join(_ESCAPES.sub("", text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def explained(failure: Exception, place: str, *, login: bool) -> DatabaseError:
    """Return the failure as it should be told: a kind of DatabaseError that says where, and what to do where that is known."""
    text = readable(str(failure)) or type(failure).__name__
    if isinstance(failure, DatabaseError):
        if login and isinstance(failure, StatementError) and _LOGIN_REFUSED.search(text):
            return LoginError(f"{place}: {text}")
        return type(failure)(f"{place}: {text}")
    for sign, kind, advice in (*_LOGIN_ADVICE, *_ADVICE) if login else _ADVICE:
        if sign in text:
            return kind(f"{place}: {advice}")
    return DatabaseError(f"{place}: {text}")


_ADVICE = (
    ("Connection refused", DatabaseError, "the connection was refused; is a worker running there? (--host, --port)"),
    (
        "Timeout when connecting",
        DatabaseError,
        "nothing answers; is the address right, and does a firewall let it through? (--host, --port)",
    ),
    ("not a server picker port", AddressError, "this is no server picker; leave out --clustered, or give the picker's port (usually 3108)"),
    ("server version - ", AddressError, "this is no worker port; a server picker needs --clustered, another service another --port"),
    ("SSL port with use_ssl = False", AddressError, "this port speaks TLS; give --use_ssl"),
    ("non ssl sqreamd port", AddressError, "this port does not speak TLS; leave out --use_ssl, or give the TLS port (usually 5100)"),
    ("0 returned by socket", DatabaseError, "the server closed the connection"),
    ("TLS/SSL connection has been closed", DatabaseError, "the server closed the connection"),
    ("Connection reset by peer", DatabaseError, "the server cut the connection"),
    ("Name or service not known", AddressError, "there is no host of that name (--host)"),
    ("Temporary failure in name resolution", DatabaseError, "the host name can't be looked up just now (--host)"),
)

# What an end of the connection tells before the login and not after it.
_LOGIN_ADVICE = (
    (
        "TLS/SSL connection has been closed",
        AddressError,
        "this port does not speak TLS; leave out --use_ssl, or give the TLS port (usually 5100)",
    ),
    ("0 returned by socket", DatabaseError, "the server closed the connection before the login; a port that speaks TLS needs --use_ssl"),
)
