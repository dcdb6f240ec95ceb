"""How each program fills in variables of the environment when it reads its configuration, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Callable, Mapping

import yaml

Environment = Mapping[str, str]

_SHELL = re.compile(r"\$\{(?P<inside>[^}]*)\}")
_NAME = re.compile(r"(?P<name>\w+)(?::-(?P<default>.*))?")
_VECTOR = re.compile(r"\$\$|\$(?P<bare>[\w.]+)|\$\{(?P<name>[\w.]+)(?:(?P<flags>:?-|:?\?)(?P<default>[^}]*))?\}")
_OTEL = re.compile(r"\$\$|\$\{env:(?P<name>\w+)(?::-(?P<default>[^}]*))?\}|(?P<wrong>\$)")
_ALLOY = re.compile(r'sys\.env\("(\w+)"\)')


class RefusedError(Exception):
    """The program doesn't start."""


def promtail(text: str, environment: Environment) -> Any:
    """Return the document that Promtail and Loki read with -config.expand-env=true: the whole text is expanded, comments too."""

    def value(found: re.Match[str]) -> str:
        name = _NAME.fullmatch(found["inside"])
        if name is None:
            raise RefusedError("unable to parse variable name")
        return environment.get(name["name"]) or name["default"] or ""

    return yaml.safe_load(_SHELL.sub(value, text))


def vector(text: str, environment: Environment) -> Any:
    """Return the document that Vector reads: releases up to 2025 expand comments too, and refuse what is neither set nor has a default."""

    def value(found: re.Match[str]) -> str:
        name = found["bare"] or found["name"]
        if name is None:
            return "$"
        if environment.get(name):
            return environment[name]
        if found["flags"] != ":-":
            raise RefusedError(f"Missing environment variable in config. name = {name}")
        return str(found["default"])

    return yaml.safe_load(_VECTOR.sub(value, text))


def otel(text: str, environment: Environment) -> Any:
    """Return the document that the collector reads: values alone are expanded, and a `$` of another kind is refused."""

    def value(found: re.Match[str]) -> str:
        if found["wrong"]:
            raise RefusedError(f"invalid: {found.string}")
        return "$" if found[0] == "$$" else environment.get(found["name"]) or found["default"] or ""

    return _in_values(yaml.safe_load(text), lambda text: _OTEL.sub(value, text))


def fluent_bit(text: str, environment: Environment) -> Any:
    """Return the document that Fluent Bit reads: values alone are expanded, without defaults."""
    return _in_values(yaml.safe_load(text), lambda text: _SHELL.sub(lambda found: environment.get(found["inside"], ""), text))


def compose(text: str, environment: Environment) -> Any:
    """Return the document that Docker Compose reads: values alone are expanded, and a `$` of another kind is refused."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if not found["name"]:
            raise RefusedError(f"invalid interpolation format: {found.string}")
        return environment.get(found["name"], "")

    return _in_values(yaml.safe_load(text), lambda text: re.sub(r"\$\$|\$\{?(?P<name>\w*)\}?", value, text))


def grafana(text: str, environment: Environment) -> Any:
    """Return the document that Grafana provisions from: values alone are expanded."""
    pattern = r"\$\{?(?P<name>\w+)\}?"
    return _in_values(yaml.safe_load(text), lambda text: re.sub(pattern, lambda found: environment.get(found["name"], ""), text))


def alloy(text: str, environment: Environment) -> list[str]:
    """Return the arguments of `string.format`, `url` and the like as Alloy evaluates them: what `coalesce` and `sys.env` give."""
    filled = _ALLOY.sub(lambda found: json.dumps(environment.get(found[1], "")), text).replace("constants.hostname", '"hostname"')
    if "${" in filled:
        raise RefusedError("Alloy has no variables in strings")
    return [
        next((word for word in json.loads(f"[{words}]") if word), "") for words in re.findall(r'coalesce\(((?:"[^"]*"(?:, )?)+)\)', filled)
    ]


def systemd(text: str, environment: Environment) -> list[list[str]]:
    """Return the words of each command of a unit, with `%` and `$` as systemd reads them."""
    logical = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^[#;].*\n", "", text))
    commands = []
    for line in re.findall(r"(?m)^Exec\w+=(.*)$", logical):
        if re.search(r"(?<!%)%(?![%a-zA-Z])", line):
            raise RefusedError("Failed to resolve unit specifiers")
        plain = line.replace("%%", "%").replace("$$", "$")
        commands.append([_SHELL.sub(lambda found: environment.get(found["inside"], ""), word) for word in shlex.split(plain)])
    return commands


def environment_file(text: str) -> dict[str, str]:
    """Return the variables of an EnvironmentFile; ValueError for a line that is no assignment."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", ";"))]
    return {name: " ".join(shlex.split(value)) for name, value in (line.split("=", 1) for line in lines)}


def _in_values(document: Any, expand: Callable[[str], str]) -> Any:
    if isinstance(document, dict):
        return {key: _in_values(value, expand) for key, value in document.items()}
    if isinstance(document, list):
        return [_in_values(value, expand) for value in document]
    return expand(document) if isinstance(document, str) else document
