"""Options that come from the environment, as SQMON_<NAME>."""

from __future__ import annotations

import argparse
import re
from typing import Any, Mapping, Sequence

from sqmon.config import options
from sqmon.config.options import Option

_PREFIX = "SQMON_"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}

# A service called sqmon, or sqmon-something, in Kubernetes puts these into the environment of every container of its namespace.
_SERVICE_LINK = re.compile(r"SQMON_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")

_LOKI = ("url", "tenant", "user", "password", "password_file", "token", "token_file", "ca_file")
_OTHERS = (
    *("offline", "json", "seconds", "instance", "offline_dir", "watch", "selector", "since", "deep", "lag", "search_for", "file"),
    *(f"loki_{name}" for name in _LOKI),
)
"""Names that `run` has no use for: options of other commands, and what the shipped configurations of agents read."""


def set_defaults(parser: argparse.ArgumentParser, groups: Mapping[str, Sequence[Option]], environ: Mapping[str, str]) -> None:
    """Make SQMON_<NAME> the default of each option of `groups`; a bad value ends in a usage error like a bad argument.

    The values are checked here, also when an argument overrides them: argparse would blame an argument that was not given.
    """
    for option in (option for group in groups.values() for option in group):
        for name in (f"{_PREFIX}{name.upper()}" for name in (option.alias, option.name) if name):
            value = environ.get(name)
            if value is not None and not _LINK_VALUE.match(value):
                parser.set_defaults(**{option.name: _converted(parser, name, option, value)})


def unknown(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each name in the environment that looks like ours and is not the name of an option."""
    every = [option for group in options.GROUPS.values() for option in group]
    names = [*(option.name for option in every), *(option.alias for option in every if option.alias), *_OTHERS]
    known = [name.upper() for name in names]
    warnings = []
    for name in sorted(name for name in environ if name.startswith(_PREFIX)):
        rest = name[len(_PREFIX) :]
        if rest in known or _SERVICE_LINK.fullmatch(name) or _LINK_VALUE.match(environ[name]):
            continue
        import difflib  # noqa: PLC0415 - memory that only a wrong name is worth

        nearest = difflib.get_close_matches(rest, known, n=1)
        hint = f"; did you mean {_PREFIX}{nearest[0]}?" if nearest else ""
        warnings.append(f"{name} in the environment is not an option and is ignored{hint}")
    return warnings


def _converted(parser: argparse.ArgumentParser, name: str, option: Option, value: str) -> Any:
    if option.convert is None:
        if value.lower() not in _TRUE | _FALSE:
            parser.error(f"{name}: {value!r} is neither true nor false")
        return value.lower() in _TRUE
    if option.choices is not None and value not in option.choices:
        parser.error(f"{name}: {value!r} is none of {', '.join(option.choices)}")
    try:
        return option.convert(value)
    except argparse.ArgumentTypeError as error:
        parser.error(f"{name}: {error}")
