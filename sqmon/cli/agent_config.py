"""`sqmon agent-config`: the configuration of an agent, a template of `sqmon/agents` with the facts of this installation filled in."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
from pathlib import Path
from typing import NamedTuple

from sqmon.cli import exit_codes
from sqmon.config import options, settings
from sqmon.errors import ConfigError

_TEMPLATES = Path(__file__).parent.parent / "agents"

SHIPPED = {
    "alloy": "config.alloy",
    "promtail": "promtail.yaml",
    "fluent-bit": "fluent-bit.yaml",
    "vector": "vector.yaml",
    "otel": "otel.yaml",
    "vlagent": "vlagent.service",
    "offline": "offline.alloy",
    "environment": "alloy.env",
}
"""What can be printed: its name on the command line -> its file, here as a template and in the repository's `alloy/` as printed."""

_LOKI_PORT, _VICTORIALOGS_PORT = 3100, 9428

# Characters that mean nothing in any of the files' languages; `*` and its like would also be read as a pattern in a path.
_HARMLESS = re.compile(r"[A-Za-z0-9/_.:+ -]+")
_PLAIN = re.compile(r"[A-Za-z0-9_.:+-]+")


OPTIONS = {"installation": options.named("log_dir", "loki_host", "loki_port", "cluster")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name of the agent."""
    parser.add_argument("agent", choices=SHIPPED, help="whose configuration; `offline` is Alloy's for segments that were carried out")


def run(args: argparse.Namespace) -> int:
    """Print the configuration, and on stderr the directory in it when nobody has named one."""
    key = "offline_dir" if args.agent == "offline" else "log_dir"
    directory = args.log_dir or (_OFFLINE_DIR if key == "offline_dir" else settings.log_dir_to_read())
    here = Installation(
        loki_host=args.loki_host,
        loki_port=args.loki_port,
        cluster=args.cluster,
        instance=socket.gethostname(),
        **{key: directory.absolute()},
    )
    sys.stdout.write(printed(args.agent, here))
    if args.log_dir is None:
        missing = "" if os.path.exists(directory) else ", which does not exist yet"  # noqa: PTH110 - as Path has it, it may raise
        print(f"sqmon: no --log_dir was given: this is for {directory.absolute()}{missing}", file=sys.stderr)
    return exit_codes.OK


_OFFLINE_DIR = Path("/var/lib/sqmon/offline")


class Installation(NamedTuple):
    """What differs from one installation to the next."""

    log_dir: Path = Path("/var/log/sqmon")
    """Where the agent finds the segments."""
    loki_host: str = "localhost"
    loki_port: int = _LOKI_PORT
    cluster: str = ""
    instance: str = "localhost"
    offline_dir: Path = _OFFLINE_DIR
    """Where `offline` finds the segments that were carried out of a site."""


def printed(name: str, installation: Installation) -> str:
    """Return the text of the file called `name` in SHIPPED; raises ConfigError for a value that its language would misread."""
    # vlagent sends to VictoriaLogs alone, which is not at Loki's port unless somebody says so.
    port = _VICTORIALOGS_PORT if (name, installation.loki_port) == ("vlagent", _LOKI_PORT) else installation.loki_port
    values = {
        "log_dir": str(installation.log_dir),
        "offline_dir": str(installation.offline_dir),
        "loki_host": installation.loki_host,
        "loki_port": str(port),
        "cluster": installation.cluster or "default",
        "instance": installation.instance,
    }
    problems = [
        f"--{key}: {value!r} can't be written into an agent's configuration; use letters, digits and . _ : + -"
        for key, value in values.items()
        if not (_HARMLESS if key.endswith("_dir") else _PLAIN).fullmatch(value)
    ]
    if problems:
        raise ConfigError(problems)
    values.update(loki_host=settings.url_host(installation.loki_host), loki_address=installation.loki_host)
    text = (_TEMPLATES / SHIPPED[name]).read_text("utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text
