"""All changes that sqmon makes to the interpreter it runs in, each with its reason."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import types
from typing import Iterator


def isolated(code: str) -> list[str]:
    """Return the command that runs `code` in another interpreter, which imports what this one would import and nothing else.

    Left to themselves, `-c` and `-m` look into the working directory first.
    """
    path = [entry for entry in sys.path if entry]
    flags = [f"-W{option}" for option in sys.warnoptions]
    if sys.flags.utf8_mode:
        flags.append("-Xutf8")
    if sys.dont_write_bytecode:
        flags.append("-B")
    return [sys.executable, "-I", *flags, "-c", f"import sys; sys.path[:] = {path!r}; {code}"]


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
def hollow(*packages: str) -> Iterator[None]:
    """Let `packages` be imported as empty modules, for somebody who names them but whose use of them we never need.

    Those that have been imported already stay as they are, and the others are there for everybody else afterwards.
    """
    absent = [name for name in packages if name not in sys.modules]
    for name in absent:
        stub = types.ModuleType(name)
        stub.__dict__.update(bool_=bool, csv=None, __getattr__=lambda _: lambda *_: None)
        sys.modules[name] = stub
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextlib.contextmanager
def lean_driver(folder: str, *, stubs: bool) -> Iterator[None]:
    """Let pysqream be imported without what it needs only for inserts, without its `vmstat -s`, and without leaving its folder on sys.path.

    5.0.0 imports pyarrow for a type map that nothing reads and numpy for inserts: together they are three quarters of a worker's memory.
    Its folder goes first while it is imported, since it imports its own ping.py by the bare name.
    """
    path, popen = list(sys.path), subprocess.Popen
    with hollow("pyarrow", "numpy") if stubs else contextlib.nullcontext():
        sys.path.insert(0, folder)
        subprocess.Popen = _NoVmstat  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            subprocess.Popen = popen  # type: ignore[misc]
            sys.path[:] = path


class _NoVmstat:
    """What pysqream gets instead of the process that would tell it how much memory the host has."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def communicate(self) -> tuple[bytes, bytes]:
        return b"0 K total memory\n", b""


with without("typing_extensions"):
    # msgspec prefers it to typing, which is enough on every Python that sqmon supports: 1 MiB in the supervisor and in the forkserver.
    import msgspec  # noqa: F401
