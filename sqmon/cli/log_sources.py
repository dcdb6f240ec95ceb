"""What a command reads: the log directories of services, or a single file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional

from sqmon.cli import log_directories
from sqmon.config import converters, options
from sqmon.errors import SqmonError
from sqmon.storage.file_sources import source_at
from sqmon.storage.source import Source

OPTIONS = (
    *log_directories.OPTIONS,
    options.Option(
        "file",
        None,
        "read this file instead of a directory: that of --log_file_path (with its rotations), a segment, an archive or a bundle",
        converters.path,
        metavar="PATH",
    ),
)
"""The options that `chosen` understands, for the group "files" of a command that reads."""


def chosen(args: argparse.Namespace) -> list[tuple[str, Source]]:
    """Return the sources that --log_dir, --cluster and --file mean, each with the name of its cluster, which is "" where it has none.

    --file wins over the others. Raises SqmonError when there is nothing to read.
    """
    path: Optional[Path] = args.file
    if path is not None:
        return [("", source_at(path))]
    found = [(cluster, source_at(directory)) for cluster, directory in log_directories.chosen(args)]
    for _, source in found:
        if not source.streams():
            raise SqmonError(f"{source.name}: no segments of a service here; give its --log_dir, or a --file")
    return found
