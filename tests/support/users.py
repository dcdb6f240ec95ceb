"""Another user, for tests of what somebody without rights can do and is told."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
"""The user and the group that own nothing."""


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be the user nobody for a while; skips the test where that is not permitted."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user for a while")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
