"""The log for people, on stderr: colored lines on a terminal, otherwise one JSON object per line."""

from __future__ import annotations

import logging
import sys
from typing import Any, MutableMapping

from sqmon.errors import shown
from sqmon.interpreter import hollow, without
from sqmon.stdio import Relay

with without("rich"), hollow("asyncio", "typing_extensions"):
    # In a process that runs for months: 4 MiB of rich, for tracebacks that this log never shows, and 4 MiB of asyncio, which brings ssl,
    # for loggers that nobody awaits. typing_extensions is for annotations, which nobody evaluates.
    import structlog

get_logger = structlog.get_logger


def _show(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Let no text that came from outside steer the terminal; JSON has escapes of its own."""
    return {name: shown(value) if isinstance(value, str) else value for name, value in event.items()}


def configure(level: str) -> Relay:
    """Set up structlog for this process and return the relay of its lines, which the caller ends.

    Tracebacks never show the values of local variables: one of them could be a password.
    """
    relay = Relay(sys.stderr.fileno())
    terminal = sys.stderr.isatty()
    renderer: list[Any]
    if terminal:
        renderer = [_show, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, pad_event_to=22)]
    else:
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]

    def tell_left_out(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        left_out = relay.left_out()
        return {**event, "log_lines_left_out": left_out} if left_out else event

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
            tell_left_out,
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(relay),  # type: ignore[arg-type]  # it asks for no more than write and flush
        cache_logger_on_first_use=False,
    )
    return relay
