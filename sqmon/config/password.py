"""The source of the password: a file, the environment or an option, read again at each login."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from sqmon.config import small_file
from sqmon.errors import ConfigError, reason_of

_LARGEST_FILE = 4096
_UNSAFE = '"\\'


@dataclass(frozen=True)
class PasswordSource:
    """A file or a text that is asked for the password at each login, so that a new password in the file needs no restart.

    Making the value reads nothing. A file, where there is one, wins over the text.
    """

    text: str = field(default="", repr=False)
    file: Optional[Path] = None

    def read(self) -> str:
        """Return the password as it is now. Raises ConfigError, which never repeats it, when it can't be read or can't be sent."""
        if self.file is None:
            return _sendable("--password", self.text)
        source = f"--password_file {self.file}"
        try:
            text = small_file.read(self.file, _LARGEST_FILE).decode("utf-8")
        except OSError as error:
            raise ConfigError([f"{source}: can't be read: {reason_of(error)}"]) from None
        except UnicodeDecodeError:
            raise ConfigError([f"{source}: can't be read: it is not UTF-8 text"]) from None
        if not text.strip():
            # As it is while somebody writes it; to send nothing would cost one of the five logins that lock the role.
            raise ConfigError([f"{source}: is empty"])
        return _sendable(source, text.rstrip("\r\n"))


def is_sendable(text: str) -> bool:
    """Return whether pysqream, which pastes it as it is into the JSON of the login, can send `text`."""
    return text.isascii() and text.isprintable() and not any(character in text for character in _UNSAFE)


def _sendable(source: str, password: str) -> str:
    if not is_sendable(password):
        raise ConfigError(
            [f"{source}: SQreamDB's client can't send this password; use ASCII without quotes, backslashes and control characters"]
        )
    return password
