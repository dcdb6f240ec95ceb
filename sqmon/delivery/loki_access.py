"""Where a Loki is and who asks it: its URL, tenant and credentials, none of which shows in a message."""

from __future__ import annotations

import base64
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from sqmon.config import small_file
from sqmon.errors import ConfigError, reason_of

_LARGEST_SECRET = 16384


@dataclass(frozen=True)
class Access:
    """Where a Loki is, and as whom it is asked. Making the value reads nothing; files win over texts and are read at each request."""

    url: str
    tenant: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: Optional[Path] = None
    token: str = field(default="", repr=False)
    token_file: Optional[Path] = None
    ca_file: Optional[Path] = None

    def headers(self) -> dict[str, str]:
        """Return what every request says of its sender; raises ConfigError when a file can't be read or what is in it can't be sent."""
        headers = {"X-Scope-OrgID": _sendable("--loki_tenant", self.tenant)} if self.tenant else {}
        token = _secret("--loki_token", self.token, self.token_file)
        password = _secret("--loki_password", self.password, self.password_file)
        if token:
            headers["Authorization"] = f"Bearer {_sendable('--loki_token', token)}"
        elif self.user:
            headers["Authorization"] = f"Basic {base64.b64encode(f'{self.user}:{password}'.encode()).decode()}"
        return headers


def _secret(option: str, text: str, file: Optional[Path]) -> str:
    if file is None:
        return text
    try:
        found = small_file.read(file, _LARGEST_SECRET).decode("utf-8").strip("\r\n")
    except OSError as error:
        raise ConfigError([f"{option}_file {file}: can't be read: {reason_of(error)}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{option}_file {file}: is not UTF-8 text"]) from None
    if not found:
        raise ConfigError([f"{option}_file {file}: is empty"])
    return found


def _sendable(option: str, text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ConfigError([f"{option}: can't be sent in a header; it may only hold printable ASCII"])
    return text


def split(url: str) -> urllib.parse.SplitResult:
    """Return the parts of a URL; raises ConfigError, which doesn't repeat one that holds a password."""
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:
        usable = False
    if "@" in url:
        raise ConfigError(["--loki_url: holds a login; give that with --loki_user and --loki_password_file"])
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError([f"--loki_url: {url!r} is not a URL as in http://localhost:3100"])
    return parts
