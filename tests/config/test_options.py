"""The options: the original service's names and defaults, both spellings, the environment, and what is refused."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, Mapping

import pytest

from sqmon.cli import main
from sqmon.config import converters, environment, options

ORIGINAL: Mapping[str, Any] = {
    "host": "localhost",
    "port": 5000,
    "database": "master",
    "user": "sqream",
    "password": "sqream",
    "clustered": False,
    "service": "monitor",
    "loki_host": "localhost",
    "loki_port": 3100,
    "log_file_path": None,
}


PATHS = ("log_dir", "log_file_path", "metrics_file", "password_file", "agent_positions")


def parsed(*words: str, **environ: str) -> argparse.Namespace:
    """Return what `sqmon run` would make of these words and this environment."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    options.add_options(parser, options.GROUPS)
    environment.set_defaults(parser, options.GROUPS, environ)
    return parser.parse_args(options.spell(words))


def refused(capsys: pytest.CaptureFixture[str], *words: str, **environ: str) -> str:
    """Return the last line of a usage error."""
    with pytest.raises(SystemExit) as caught:
        parsed(*words, **environ)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_flags_of_the_original_service_have_its_names_and_defaults() -> None:
    """The options of the original service have the same names and defaults."""
    args = vars(parsed())

    assert {name: args[name] for name in ORIGINAL} == ORIGINAL


def test_flags_of_the_original_service_can_be_given() -> None:
    """The options of the original service are accepted in its form, all at once."""
    words = "--host h --port 1 --database d --username u --password p --clustered --service s --loki_host l --loki_port 2 --log_file_path f"
    args = vars(parsed(*words.split()))

    assert [args[name] for name in ORIGINAL] == ["h", 1, "d", "u", "p", True, "s", "l", 2, "f"]


def test_user_and_username_are_one_option() -> None:
    """--user and --username are one option, and the last one wins."""
    assert parsed("--user", "a", "--username", "b").user == "b"
    assert parsed("--username", "a", "--user", "b").user == "b"


@pytest.mark.parametrize("option", [option for group in options.GROUPS.values() for option in group if "_" in option.name])
def test_every_option_can_be_spelled_with_dashes(option: options.Option) -> None:
    """Every --a_b can be written as --a-b."""
    dashed = "--" + option.name.replace("_", "-")
    value = [] if option.convert is None else ["5"] if option.choices is None and option.name != "server_timezone" else None
    if value is None:
        value = [option.choices[-1] if option.choices else "UTC"]

    assert parsed(dashed, *value) == parsed(f"--{option.name}", *value) != parsed()


def test_values_keep_their_dashes() -> None:
    """Dashes in values are not changed."""
    assert options.spell(["--log-dir=a-b", "--cluster", "x-y", "-h", "--", "--a-b"]) == [
        "--log_dir=a-b",
        "--cluster",
        "x-y",
        "-h",
        "--",
        "--a-b",
    ]


@pytest.mark.parametrize("option", [option for group in options.GROUPS.values() for option in group])
def test_every_option_can_come_from_the_environment(option: options.Option) -> None:
    """SQMON_<NAME> sets every option."""
    value = (
        "true" if option.convert is None else option.choices[0] if option.choices else "UTC" if option.name == "server_timezone" else "5"
    )
    said = parsed(f"--{option.name}", *([] if option.convert is None else [value]))

    assert parsed(**{f"SQMON_{option.name.upper()}": value}) == said


@pytest.mark.parametrize("name", PATHS)
def test_empty_path_in_the_environment_is_wrong_usage(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """An empty path in the environment is wrong usage, not the working directory."""
    assert f"SQMON_{name.upper()}: is empty; give a path, or leave it out" in refused(capsys, **{f"SQMON_{name.upper()}": ""})


def test_other_names_of_options() -> None:
    """The original service's other name of --metrics_file is accepted."""
    assert parsed("--metrics_json_path", "m").metrics_file == parsed(SQMON_METRICS_JSON_PATH="m").metrics_file == Path("m")
    assert parsed(SQMON_USERNAME="a").user == "a"


@pytest.mark.parametrize("text", ["::1", "[::1]"])
def test_addresses_are_known_without_brackets(text: str) -> None:
    """An address is stored without the brackets of a URL."""
    assert parsed("--loki_host", text).loki_host == "::1"


def test_command_line_wins_over_the_environment() -> None:
    """An option on the command line wins over the environment."""
    args = parsed("--port", "1", "--host", "typed", SQMON_PORT="2", SQMON_HOST="set", SQMON_SERVICE="kept")

    assert (args.port, args.host, args.service) == (1, "typed", "kept")


@pytest.mark.parametrize(
    ("text", "meant"),
    [("1", True), ("True", True), ("yes", True), ("on", True), ("0", False), ("false", False), ("", False), ("OFF", False)],
)
def test_flags_in_the_environment(text: str, *, meant: bool) -> None:
    """A flag can be set in the environment in the usual words for yes and no."""
    assert parsed(SQMON_CLUSTERED=text).clustered is meant


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"SQMON_CLUSTERED": "maybe"}, "SQMON_CLUSTERED: 'maybe' is neither true nor false"),
        ({"SQMON_FSYNC": "always"}, "SQMON_FSYNC: 'always' is none of seal, interval, never"),
        ({"SQMON_PORT": "many"}, "SQMON_PORT: 'many' is not a port from 1 to 65535"),
    ],
)
def test_nonsense_in_the_environment_is_wrong_usage(capsys: pytest.CaptureFixture[str], environ: dict[str, str], complaint: str) -> None:
    """A bad value in the environment is wrong usage, as on the command line."""
    assert complaint in refused(capsys, **environ)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--port 0", "'0' is not a port from 1 to 65535"),
        ("--port 65536", "'65536' is not a port from 1 to 65535"),
        ("--port=-1", "'-1' is not a port from 1 to 65535"),
        ("--port 5e3", "'5e3' is not a port from 1 to 65535"),
        ("--loki_port http", "'http' is not a port from 1 to 65535"),
        ("--segment_mb 0.0006", "'0.0006' is not a number from 0.01 to 65536"),
        ("--segment_mb nan", "'nan' is not a number from 0.01 to 65536"),
        ("--segment_hours inf", "'inf' is not a number from 0.001 to 8760"),
        ("--segment_hours 0", "'0' is not a number from 0.001 to 8760"),
        ("--buffer_mb 1e9", "'1e9' is not a number from 0.1 to 4096"),
        ("--retention_days=-7", "'-7' is not a number from 0.001 to 36500"),
        ("--retention_mb 0", "'0' is not a number from 0.001 to 1000000000"),
        ("--min_free_mb=-1", "'-1' is not a number from 0 to 1000000000"),
        ("--query_timeout soon", "'soon' is not a number from 0.05 to 86400"),
        ("--startup_timeout=-1", "'-1' is not a number from 0 to 86400"),
        ("--file_backups=-1", "'-1' is not a whole number from 0 to 1000"),
        ("--file_backups 1.5", "'1.5' is not a whole number from 0 to 1000"),
        (f"--file_backups {'9' * 5000}", "is not a whole number from 0 to 1000"),
        (f"--port {'9' * 5000}", "is not a port from 1 to 65535"),
        ("--port ²", "'²' is not a port from 1 to 65535"),
        ("--metrics_address a..b", "'a..b' is not a host name or an address"),
        ("--loki_host http://loki:3100", "'http://loki:3100' is not a host name or an address"),
        ("--loki_host loki/ready", "'loki/ready' is not a host name or an address"),
        ("--host db:5000", "'db:5000' is not a host name or an address alone; the port has an option of its own"),
        ("--host=", "'' is not a host name or an address"),
        ("--user=", "is empty"),
        ("--fsync always", "invalid choice: 'always'"),
        *((f"--{name}=", "is empty; give a path, or leave it out") for name in PATHS),
        ("--hos h", "unrecognized arguments: --hos h"),
    ],
)
def test_wrong_values_are_wrong_usage(capsys: pytest.CaptureFixture[str], words: str, complaint: str) -> None:
    """The line says which value is wrong and what it should be; an abbreviated option is unknown."""
    assert complaint in refused(capsys, *words.split())


def test_numbers() -> None:
    """A number is whole where it must be, and 0 is allowed only where it makes sense."""
    args = parsed("--segment_mb", "0.5", "--startup_timeout", "0", "--min_free_mb", "0", "--retention_mb", "1e3")

    assert (args.segment_mb, args.startup_timeout, args.min_free_mb, args.retention_mb) == (0.5, 0.0, 0.0, 1000.0)
    assert math.isclose(converters.positive("1.5"), 1.5)


def test_paths_are_paths() -> None:
    """Paths are Path objects, except --log_file_path, whose last character decides what it is."""
    args = parsed("--log_dir", "d/", "--metrics_file", "m", "--password_file", "p", "--log_file_path", "l/")

    assert (args.log_dir, args.metrics_file, args.password_file, args.log_file_path) == (Path("d"), Path("m"), Path("p"), "l/")


def test_every_option_explains_itself() -> None:
    """Every option has a help text, and no name occurs twice."""
    every = [option for group in options.GROUPS.values() for option in group]

    assert all(option.help for option in every)
    assert len({option.name for option in every}) == len(every)


SERVICE_LINKS = {
    "SQMON_SERVICE_HOST": "10.0.0.1",
    "SQMON_SERVICE_PORT": "9188",
    "SQMON_SERVICE_PORT_METRICS": "9188",
    "SQMON_PORT": "tcp://10.0.0.1:9188",
    "SQMON_PORT_9188_TCP": "tcp://10.0.0.1:9188",
    "SQMON_PORT_9188_TCP_PROTO": "tcp",
    "SQMON_PORT_9188_TCP_PORT": "9188",
    "SQMON_PORT_9188_TCP_ADDR": "10.0.0.1",
    "SQMON_METRICS_SERVICE_HOST": "10.0.0.1",
    "SQMON_METRICS_PORT": "tcp://10.0.0.1:9188",
}


def test_kubernetes_may_set_what_it_likes() -> None:
    """The variables that Kubernetes sets for services called sqmon and sqmon-metrics are not taken for ours."""
    assert parsed(**SERVICE_LINKS) == parsed()
    assert environment.unknown(SERVICE_LINKS) == []


def test_misspelt_names_in_the_environment_are_told() -> None:
    """A misspelt variable is told with the name that was probably meant, and known or foreign ones are not."""
    assert environment.unknown(
        {"SQMON_HOTS": "h", "SQMON_XYZZY": "1", "SQMON_PORT": "5", "SQMON_JSON": "1", "HOME": "/", "SQMON_": ""}
    ) == [
        "SQMON_ in the environment is not an option and is ignored",
        "SQMON_HOTS in the environment is not an option and is ignored; did you mean SQMON_HOST?",
        "SQMON_XYZZY in the environment is not an option and is ignored",
    ]


def test_options_of_every_command_are_known() -> None:
    """The variables of every command are known to all of them."""
    names = {f"SQMON_{option.name.upper()}" for name in main.COMMANDS for group in main.load(name).OPTIONS.values() for option in group}

    assert environment.unknown(dict.fromkeys(names, "1")) == []
