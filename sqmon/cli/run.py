"""`sqmon run`: reads the options, sets up the log, and runs the service."""

from __future__ import annotations

import argparse

from sqmon import logs
from sqmon.cli import exit_codes
from sqmon.config import arguments, options
from sqmon.supervisor import service

OPTIONS = options.GROUPS

_LAST_LINES_SECONDS = 1.0  # what the reader of the log has at the end


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Options are all there is."""


def run(args: argparse.Namespace) -> int:
    """Run the service until it is told to stop."""
    settings = arguments.settings_of(args)
    relay = logs.configure(args.log_level)
    try:
        service.run(settings, doubts=args.doubts)
    finally:
        relay.end(_LAST_LINES_SECONDS)
    return exit_codes.OK
