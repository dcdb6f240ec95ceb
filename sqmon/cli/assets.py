"""`sqmon assets`: what ships beside the program, written to a directory: configurations, rules, dashboards, units.

The files below `sqmon/assets` are links in a checkout, so that each file exists once; in a wheel and an sdist they are files.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from pathlib import Path
from typing import Iterator, Mapping, Optional

from sqmon.cli import agent_config, exit_codes, schema
from sqmon.config import converters, options, small_file
from sqmon.errors import SqmonError, reason_of, shown

SUMS = "SHA256SUMS"
"""The list of what was written, which `sha256sum --check` reads."""

_SHIPPED = Path(__file__).parent.parent / "assets"
_SUM = re.compile(r"([0-9a-f]{64})  (.+)")
_MOST_NAMED = 5
_LARGEST = 1 << 20

OPTIONS: Mapping[str, tuple[options.Option, ...]] = {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the directory."""
    parser.add_argument("directory", metavar="DIR", type=converters.path, help="a new directory, or one that an earlier version wrote")


def run(args: argparse.Namespace) -> int:
    """Write everything to the directory and print what was written; what is there already stays as it is."""
    written, removed = write(args.directory, files())
    for path in written:
        print(f"wrote {path}")
    for path in removed:
        print(f"removed {path}, which is no longer shipped")
    if not written and not removed:
        print(f"{args.directory} is up to date")
    return exit_codes.OK


def files() -> dict[str, bytes]:
    """Return everything that ships beside the program: path -> content."""
    anywhere = agent_config.Installation()
    found = {f"agents/{name}": agent_config.printed(agent, anywhere).encode() for agent, name in agent_config.SHIPPED.items()}
    found.update((f"schemas/{name}.schema.json", schema.text(name).encode()) for name in schema.SCHEMAS)
    found.update((name, (_SHIPPED / name).read_bytes()) for name in _below(_SHIPPED, links=True) if "/." not in f"/{name}")
    return dict(sorted(found.items()))


def write(directory: Path, content: Mapping[str, bytes]) -> tuple[list[Path], list[Path]]:
    """Make `directory` hold `content` and the list of its checksums; return the paths that were written and removed.

    Raises SqmonError, before anything is touched, when the directory holds what no earlier call has written, or what was changed since.
    """
    listing = "".join(f"{_digest(data)}  {name}\n" for name, data in content.items()).encode()
    wanted = {**content, SUMS: listing}  # the list comes last, so that it never names what is not there yet
    try:
        present = _present(directory, wanted)
        written = [name for name, data in wanted.items() if present.get(name) != data]
        removed = [name for name in present if name not in wanted]
        for name in removed:
            _remove(directory, name)
        for name in written:
            _replace(directory / name, wanted[name])
    except OSError as error:
        raise SqmonError(f"{shown(str(error.filename or directory))}: can't be written: {reason_of(error)}") from None
    return [directory / name for name in written], [directory / name for name in removed]


def _present(directory: Path, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of the directory; raises SqmonError when one is neither as an earlier call wrote it nor as this one will."""
    earlier = _earlier(_content(directory / SUMS) or b"")
    present: dict[str, bytes] = {}
    foreign: list[str] = []
    for name in _below(directory):
        # By name first: the directory may be one that holds everything, and reading it all would take for ever.
        data = _content(directory / name) if name in wanted or name in earlier else None
        if data is not None and (data == wanted.get(name) or _digest(data) == earlier.get(name)):
            present[name] = data
        elif len(foreign) < _MOST_NAMED:
            foreign.append(shown(name))
        else:
            foreign.append("and more")
            break
    if foreign:
        raise SqmonError(
            f"{shown(str(directory))}: holds what sqmon assets has not written, or what was changed since: {', '.join(foreign)}; "
            "give a new directory, or move these files away"
        )
    return present


def _content(path: Path) -> Optional[bytes]:
    """Return what a file holds; None for what is not a regular file of the size of ours, or can't be read."""
    try:
        return None if path.is_symlink() else small_file.read(path, _LARGEST)
    except OSError:
        return None


def _earlier(listing: bytes) -> dict[str, str]:
    """Return the digest of each file that the list of an earlier call names, and that of the list itself."""
    lines = listing.decode("utf-8", "replace").splitlines()
    named = {match[2]: match[1] for match in map(_SUM.fullmatch, lines) if match}
    # A file of that name with other lines is somebody else's.
    return {**named, SUMS: _digest(listing)} if len(named) == len(lines) > 0 else {}


def _below(directory: Path, *, links: bool = False) -> Iterator[str]:
    """Yield the path of each file below the directory, relative to it; a link to a directory is a file unless `links` are followed."""
    if not directory.exists():
        return
    for place, directories, names in os.walk(directory, onerror=_raise, followlinks=links):
        linked = [] if links else [name for name in directories if Path(place, name).is_symlink()]
        for name in [*names, *linked]:
            yield Path(place, name).relative_to(directory).as_posix()


def _raise(error: OSError) -> None:
    raise error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(data)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _remove(directory: Path, name: str) -> None:
    """Remove a file, and the directories that are empty without it."""
    (directory / name).unlink()
    for parent in list(Path(name).parents)[:-1]:
        if not any((directory / parent).iterdir()):
            (directory / parent).rmdir()
