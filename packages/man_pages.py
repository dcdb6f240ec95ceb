"""The man pages: sqmon(1), and one for each command, such as sqmon-status(1)."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from argparse_manpage.manpage import Manpage

from packages import commands
from sqmon import __version__
from sqmon.cli import main

_CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"
_EXIT_STATUS = {
    0: "all is well",
    1: "a check failed, or the world is wrong; one line says how",
    2: "wrong usage",
    3: "a bug; please report it",
}
_FILES = {
    "/etc/sqmon/monitor_input.json": "the metrics file, unless one lies in the working directory",
    "/etc/sqmon/password": "the password, for the systemd unit",
    "/etc/sqmon/sqmon.env": "the options, for the systemd unit",
    "/var/log/sqmon": "the segments, if the service may write there",
}
_ENVIRONMENT = (
    "Every option can be given as SQMON_<NAME>, as in SQMON_LOG_DIR; the command line wins. Every --a_b is also accepted as --a-b."
)


def files() -> dict[str, str]:
    """Return all pages: name -> text."""
    pages = {"sqmon.1": _program()}
    for name in main.COMMANDS:
        pages[f"sqmon-{name}.1"] = _page(commands.parser_of(name), f"sqmon-{name}", main.COMMANDS[name])
    return pages


def _program() -> str:
    """Return the page of the whole program; its options are those of `run`."""
    parser = commands.parser_of("run")
    summary, _, rest = (parser.description or "").partition("\n")
    parser.description = f"{summary} `sqmon` alone is `sqmon run`."
    assert "commands:" in rest  # they get a section of their own
    page = _manpage(parser, "sqmon", "monitor service for SQreamDB")
    page.add_section("COMMANDS", "=", _terms({f"sqmon {name}": summary for name, summary in main.COMMANDS.items()}))
    page.add_section("FILES OF THE SERVICE", "=", _terms(_FILES))
    return _finished(page, [f"sqmon-{name}" for name in main.COMMANDS])


def _page(parser: argparse.ArgumentParser, title: str, summary: str) -> str:
    parser.description = summary[0].upper() + summary[1:] + "."
    if parser.usage:
        parser.usage = "sqmon run [options]"
    return _finished(_manpage(parser, title, summary), ["sqmon"])


def _manpage(parser: argparse.ArgumentParser, title: str, summary: str) -> Manpage:
    parser.epilog = None
    page = Manpage(parser, {"description": summary, "manual_title": "sqmon", "date": _released()})
    page.prog, page.source = title, f"sqmon {__version__}"
    page.synopsis[1:] = map(_text, page.synopsis[1:])
    return page


def _finished(page: Manpage, others: list[str]) -> str:
    """Return the text of the page with the sections that all pages have."""
    page.add_section("ENVIRONMENT", "=", _text(_ENVIRONMENT))
    if "exit code" not in str(page.description):  # which the description of such a command has said
        page.add_section("EXIT STATUS", "=", _terms({str(code): meaning for code, meaning in _EXIT_STATUS.items()}))
    page.add_section("SEE ALSO", "=", ",\n".join(f".BR {_text(name)} (1)" for name in others).replace("(1),", "(1),"))
    text = str(page).replace(f'"{_text(page.date)}"', page.date, 1)  # which is not a date to mandoc with its hyphens escaped
    return re.sub(r"\n{2,}", "\n", text)  # an empty line is a warning


def _terms(meanings: dict[str, str]) -> str:
    return "\n".join(f".TP\n\\fB{_text(term)}\\fR\n{_text(meaning)}" for term, meaning in meanings.items())


def _text(words: str) -> str:
    """Return words as roff prints them, whatever they are."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def _released() -> str:
    """Return the day of this version's release: a page must not change from one day to the next."""
    (day,) = re.findall(rf"^## \[{re.escape(__version__)}\] - (\S+)$", _CHANGELOG.read_text("utf-8"), re.MULTILINE)
    return str(day)
