"""The output of a command that reads: through a pager on a terminal, straight otherwise."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from typing import IO, Iterator

_FOLDED, _WIDE = "FRXMK", "RSXMK"
"""Options of less: R passes colours, X leaves the text on the screen, K ends on Ctrl-C, M shows how far one is. F ends at once what fits
on the screen, which must not happen where S cuts long lines, since the arrow keys show the rest of them."""


@contextlib.contextmanager
def paged(*, wanted: bool, wide: bool = False) -> Iterator[IO[bytes]]:
    """Give where to write bytes to: $PAGER, else less, where stdout is a terminal and a pager is `wanted`; else stdout.

    Long lines are folded, unless they are to be `wide`. PAGER=cat, an empty PAGER and a pager that isn't there mean none.
    """
    words = shlex.split(os.environ.get("PAGER", "less")) if wanted and sys.stdout.isatty() else []
    if not words or words[0] == "cat" or shutil.which(words[0]) is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    process = subprocess.Popen(words, stdin=subprocess.PIPE, env={"LESS": _WIDE if wide else _FOLDED, **os.environ})  # noqa: S603 - the user's own choice
    assert process.stdin is not None
    try:
        yield process.stdin
    except (BrokenPipeError, KeyboardInterrupt):
        pass  # the reader has seen enough
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        while True:
            try:
                process.wait()
                break
            except KeyboardInterrupt:  # which is for the pager
                continue
