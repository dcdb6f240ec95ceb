"""Reading of small regular files that never blocks: pipes, devices and large files are refused."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; raises OSError for anything else.

    A FIFO or a terminal would hold its reader until somebody writes to it, so neither is read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # what open() says of a socket
            raise OSError(error.errno, _NOT_REGULAR) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, _NOT_REGULAR)
        content = b""
        while len(content) <= limit:
            more = os.read(descriptor, limit + 1 - len(content))
            if not more:
                return content
            content += more
    finally:
        os.close(descriptor)
    raise OSError(errno.EFBIG, f"it has more than {limit} bytes")


_NOT_REGULAR = "it is not a regular file"
