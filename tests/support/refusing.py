"""System calls that the kernel refuses to this process from now on, as some file systems do.

CIFS and Azure Files refuse chmod, and CIFS symbolic links. A seccomp filter is the kernel's own way to say no.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

UNSUPPORTED = 77
"""The exit code of a process that could not have its calls refused."""

CHMOD = ("chmod", "fchmod", "fchmodat", "fchmodat2")
SYMLINK = ("symlink", "symlinkat")
TRUNCATE = ("ftruncate",)

_NUMBERS = {
    "x86_64": {"chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "symlink": 88, "symlinkat": 266, "ftruncate": 77},
    "aarch64": {"fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "symlinkat": 36, "ftruncate": 46},
}
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def refuse(*names: str) -> None:
    """Let the calls fail with EPERM in this process and its children, for ever; ends the process where that can't be arranged."""
    known = _NUMBERS.get(platform.machine(), {})
    numbers = [known[name] for name in names if name in known]
    steps = [(_LOAD, 0, 0, 0)]
    steps += [(_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR | errno.EPERM)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)
    if not numbers or libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, program, 0, 0):
        sys.exit(UNSUPPORTED)
