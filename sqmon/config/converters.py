"""Converters of option texts to values; each refuses a wrong text with a hint at what would be right.

Each function raises argparse's error for the command line, whose text continues the name of the option.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Callable

from sqmon.config.time_zone import zone_of


def port(text: str) -> int:
    """Return the number of a TCP port."""
    value = int(text) if re.fullmatch(r"[0-9]{1,5}", text) else 0
    if not 0 < value < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return value


def number(least: float, most: int) -> Callable[[str], float]:
    """Return what makes a number within these limits of a text."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return value

    return convert


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return what makes an integer within these limits of a text."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return convert


positive = number(0.001, 10**9)


def host(text: str) -> str:
    """Return the name or address of a host, an IPv6 address without brackets."""
    name = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if name.count(":") == 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or an address alone; the port has an option of its own")
    try:
        name.encode("idna")
    except UnicodeError:
        name = ""
    if not re.fullmatch(r"[^\s/@\[\]]+", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or an address")
    return name


def zone(text: str) -> str:
    """Return the name of a time zone that this host knows."""
    try:
        zone_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def path(text: str) -> Path:
    """Return the path of a file or a directory."""
    return Path(path_text(text))


def path_text(text: str) -> str:
    """Return a path as it was written, for where a / at its end matters."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; give a path, or leave it out")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path")
    return text


def name(text: str) -> str:
    """Return a text that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return text
