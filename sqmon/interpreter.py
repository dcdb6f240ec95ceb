"""What sqmon changes in the interpreter it runs in, each change with its reason, and nowhere else."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import types
from pathlib import Path
from typing import Iterator


def leave_working_directory() -> None:
    """Import nothing from the working directory, which `python -m` puts first on `sys.path`: whoever may write there could run code.

    Where sqmon itself comes from there, as in a checkout that isn't installed, the directory goes to the end instead: it can then add
    modules but hide none.
    """
    directory, home = str(Path.cwd()), str(Path(__file__).absolute().parent.parent)
    if sys.path and sys.path[0] in ("", directory):
        del sys.path[0]
        if home == directory and home not in sys.path:
            sys.path.append(home)


@contextlib.contextmanager
def without(package: str) -> Iterator[None]:
    """Make imports behave as if `package` were not installed, unless it has been imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


@contextlib.contextmanager
def lean_driver(folder: str, *, stubs: bool) -> Iterator[None]:
    """Let pysqream be imported without what it needs only for inserts, without its `vmstat -s`, and without leaving its folder on sys.path.

    5.0.0 imports pyarrow for a type map that nothing reads and numpy for inserts: together they are three quarters of a worker's memory.
    Its folder goes first while it is imported, since it imports its own ping.py by the bare name.
    """
    path, popen = list(sys.path), subprocess.Popen
    absent = [name for name in ("pyarrow", "numpy") if stubs and name not in sys.modules]
    for name in absent:
        stub = types.ModuleType(name)
        stub.__dict__.update(bool_=bool, csv=None, __getattr__=lambda _: lambda *_: None)
        sys.modules[name] = stub
    sys.path.insert(0, folder)
    subprocess.Popen = _NoVmstat  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        subprocess.Popen = popen  # type: ignore[misc]
        sys.path[:] = path
        for name in absent:
            del sys.modules[name]


class _NoVmstat:
    """What pysqream gets instead of the process that would tell it how much memory the host has."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def communicate(self) -> tuple[bytes, bytes]:
        return b"0 K total memory\n", b""
