"""The log directories that a command reads: that of one service, or those of all clusters below --log_dir."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional

from sqmon.config import options, settings
from sqmon.errors import SqmonError, shown
from sqmon.health import status_file
from sqmon.storage.segment_names import ARCHIVE

if TYPE_CHECKING:
    from sqmon.cli.console import Console

OPTIONS = (
    *options.named("log_dir"),
    options.Option("cluster", "", "only the cluster of this name, where --log_dir holds several (default: all)", str, metavar="NAME"),
)
"""The options that `chosen` understands, for the group "files" of a command that reads."""

_EVENTS = "sqmon"


def chosen(args: argparse.Namespace) -> list[tuple[str, Path]]:
    """Return the log directories that --log_dir and --cluster mean, each with the name of its cluster, in the order of these names.

    There is at least one. The name is "" where a service has none. Raises SqmonError for a cluster that has no directory there.
    """
    return below(args.log_dir or settings.log_dir_to_read(), args.cluster)


def below(directory: Path, cluster: str = "") -> list[tuple[str, Path]]:
    """Return the log directories in `directory`, or that of one cluster, as `chosen` does.

    A directory with a stream of events is that of a service; one with subdirectories of that kind holds a cluster in each.
    Both may be true where a service has written before there were several clusters; `directory` itself comes first then.
    """
    clusters = _clusters(directory)
    if not cluster:
        own = [("", directory)] if _is_of_a_service(directory) or not clusters else []
        return own + list(clusters.items())
    if cluster in clusters:
        return [(cluster, clusters[cluster])]
    if clusters:
        raise SqmonError(f"{directory}: holds no cluster {cluster!r}; there are {', '.join(clusters)}")
    name = _name_of(directory)
    if name not in (None, cluster):
        raise SqmonError(
            f"{directory}: holds no cluster {cluster!r}, but one service alone, {f'of {name!r}' if name else 'without a name'}"
        )
    return [(cluster, directory)]


def show_each(directories: list[tuple[str, Path]], show: Callable[[Path], int], console: Console) -> int:
    """Show each of the directories, under the name of its cluster where there are several, and return the highest exit code."""
    from rich.text import Text  # noqa: PLC0415 - `sqmon top` shows one cluster, and starts in half the time without it

    codes = []
    for number, (name, directory) in enumerate(directories):
        if len(directories) > 1:
            console.print(Text(f"{chr(10) if number else ''}{f'cluster {shown(name)}' if name else directory}", style="bold"))
        codes.append(show(directory))
    return max(codes)


def lines_of(answers: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what programs are told of the clusters with these names, an object for each that names it; one alone needs no name."""
    return [answer if len(answers) == 1 else {"cluster": name, **answer} for name, answer in answers.items()]


def _clusters(directory: Path) -> dict[str, Path]:
    try:
        found = sorted(path for path in directory.iterdir() if path.name != ARCHIVE and _is_of_a_service(path))
    except OSError:
        return {}  # the command that reads it says so
    return {path.name: path for path in found}


def _is_of_a_service(directory: Path) -> bool:
    return os.path.isdir(directory / _EVENTS)  # noqa: PTH112 - that of Path may raise


def _name_of(directory: Path) -> Optional[str]:
    """Return the name of the cluster of a service; None where no status tells, as in a copy of a directory."""
    status = status_file.read(directory)
    return None if status is None else status.cluster
