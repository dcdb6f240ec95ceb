"""The sdist and the wheel: what is in them, and that they run."""

from __future__ import annotations

import configparser
import email.message
import email.parser
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

import sqmon
from sqmon.simulator import Simulator
from tests.support import ROOT
from tests.support.image import Image
from tests.support.program import DEADLINE_SECONDS, environment, wait_until

VERSION = sqmon.__version__
NOT_SOURCES = shutil.ignore_patterns(".*", "__pycache__", "*.py[cod]", "*.egg-info", "build", "dist", "logs", "sqmon-demo")


class Built(NamedTuple):
    """Both distributions, and the sources they were made of."""

    source: Path
    wheel: Path
    sdist: Path

    def files(self, *places: str) -> set[str]:
        """Return the source files below these directories, and below those that are linked from there."""
        found = (Path(at, name) for place in places for at, _, names in os.walk(self.source / place, followlinks=True) for name in names)
        return {str(path.relative_to(self.source)) for path in found}

    def wheel_names(self) -> set[str]:
        """Return the names of the files in the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def metadata(self) -> email.message.Message:
        """Return the METADATA of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return email.parser.Parser().parsestr(archive.read(f"sqmon-{VERSION}.dist-info/METADATA").decode())

    def sdist_names(self) -> set[str]:
        """Return the names of the files in the sdist, without its topmost directory."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}


def run(*words: str, cwd: Path, **more: str) -> str:
    """Run a program that must succeed, and return its output."""
    done = subprocess.run(
        words, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=DEADLINE_SECONDS * 3, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the sdist from a copy of the repository and the wheel from the sdist, so that the sdist can't lack what a build needs."""
    place = tmp_path_factory.mktemp("build")
    source = Path(shutil.copytree(ROOT, place / "source", ignore=NOT_SOURCES, symlinks=True))
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(source), cwd=place)
    return Built(source, place / f"sqmon-{VERSION}-py3-none-any.whl", place / f"sqmon-{VERSION}.tar.gz")


def test_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    """The wheel holds every file of sqmon/, with what is linked from there, and its metadata, and no other top-level name."""
    metadata = {name for name in built.wheel_names() if name.startswith(f"sqmon-{VERSION}.dist-info/")}

    assert built.wheel_names() - metadata == built.files("sqmon")
    assert {"sqmon/py.typed", "sqmon/assets/loki/rules.yaml"} <= built.wheel_names()
    assert {Path(name).name for name in metadata} == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "LICENSE"}


def test_metadata_is_that_of_setup_cfg(built: Built) -> None:
    """Name, version, licence, Python versions, dependencies and extras of setup.cfg reach the metadata."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", "utf-8")
    metadata = built.metadata()
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]

    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == ("sqmon", VERSION, "MIT")
    assert metadata["Requires-Python"] == setup["options"]["python_requires"]
    assert sorted(needed) == sorted(setup["options"]["install_requires"].strip().splitlines())
    assert sorted(metadata.get_all("Provides-Extra", [])) == sorted(setup["options.extras_require"])
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_oldest_releases_are_those_that_are_allowed() -> None:
    """The oldest releases that tests/matrix.sh tests are the lower bounds in setup.cfg."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", "utf-8")
    allowed = [re.split("[>=]=", line) for line in setup["options"]["install_requires"].strip().splitlines()]
    tested = [line.split("==") for line in (ROOT / "tests" / "lowest.txt").read_text("utf-8").splitlines() if not line.startswith("#")]

    assert [[name, version + ".0" * (2 - version.count("."))] for name, version in allowed] == tested


def test_wheel_installs_the_command(built: Built) -> None:
    """The wheel installs one command, `sqmon`."""
    with zipfile.ZipFile(built.wheel) as archive:
        entry_points = archive.read(f"sqmon-{VERSION}.dist-info/entry_points.txt").decode()

    assert entry_points.split() == ["[console_scripts]", "sqmon", "=", "sqmon.cli.main:main"]


def test_sdist_holds_everything(built: Built) -> None:
    """The sdist holds everything that building, testing and running needs."""
    names = built.sdist_names()
    top = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "main.py", "pyproject.toml", "ruff.toml", "setup.cfg"}

    assert (built.files("sqmon", "tests", "config_files", "alloy", "benchmarks", "docs", "packages") | top) - names == set()
    assert [name for name in names if name.endswith(".pyc") or "__pycache__" in name or name.startswith(".")] == []


def test_versions_agree() -> None:
    """The package, its metadata and every way to start it report the same version."""
    assert importlib.metadata.version("sqmon") == VERSION
    assert run(sys.executable, "main.py", "--version", cwd=ROOT) == f"sqmon {VERSION}\n"
    assert run(sys.executable, "-m", "sqmon", "--version", cwd=ROOT) == f"sqmon {VERSION}\n"
    assert run(str(Path(sys.executable).with_name("sqmon")), "--version", cwd=ROOT) == f"sqmon {VERSION}\n"


def test_main_is_the_same_program() -> None:
    """`python main.py` is the same program as `sqmon`."""
    assert run(sys.executable, "main.py", "--help", cwd=ROOT) == run(sys.executable, "-m", "sqmon", "--help", cwd=ROOT)


def test_installed_wheel_runs(built: Built, tmp_path: Path) -> None:
    """The installed wheel runs without the repository, and carries the same assets."""
    place = tmp_path / "installed"
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(place), str(built.wheel), cwd=tmp_path
    )
    path = {"PYTHONPATH": str(place)}

    assert run(sys.executable, "-c", "import sqmon; print(sqmon.__file__)", cwd=tmp_path, **path) == f"{place}/sqmon/__init__.py\n"
    assert "check_customer_metrics" in run(sys.executable, "-m", "sqmon", "check", "--offline", cwd=tmp_path, **path)
    assert run(str(place / "bin" / "sqmon"), "--version", cwd=tmp_path, **path) == f"sqmon {VERSION}\n"

    run(sys.executable, "-m", "sqmon", "assets", "assets", cwd=tmp_path, **path)
    assert run(sys.executable, str(ROOT / "main.py"), "assets", "assets", cwd=tmp_path) == "assets is up to date\n"


def requirements_of(name: str) -> dict[NormalizedName, Requirement]:
    """Return what a distribution needs, and what that needs, without extras: normalised name -> the narrowest requirement."""
    found: dict[NormalizedName, Requirement] = {}
    for text in importlib.metadata.requires(name) or []:
        needed = Requirement(text)
        if needed.marker is None or "extra" not in str(needed.marker):
            found[canonicalize_name(needed.name)] = needed
    for needed in [*found.values()]:
        if needed.marker is None or needed.marker.evaluate():
            found = {**requirements_of(needed.name), **found}
    return found


def test_requirements_lack_what_is_never_loaded_and_nothing_else() -> None:
    """The file that is installed with --no-deps has every requirement, its own and those of others, except pyarrow and setuptools."""
    lines = (ROOT / "config_files" / "requirements.txt").read_text("utf-8").splitlines()
    listed = {canonicalize_name(needed.name): needed for needed in (Requirement(line) for line in lines if line[0] != "#")}
    needed = requirements_of("sqmon")

    assert needed.keys() - listed.keys() == {"pyarrow", "setuptools"}
    assert listed.keys() - needed.keys() <= {"typing-extensions"}  # which the newer Pythons have no need of
    assert {name: listed[name].specifier for name in needed.keys() & listed} == {
        name: needed[name].specifier for name in needed.keys() & listed
    }


@pytest.fixture(scope="module")
def house(built: Built) -> Path:
    """The directory that `make wheelhouse` fills."""
    run("make", "wheelhouse", f"VENV={sys.prefix}", cwd=built.source)
    return built.source / "dist" / "wheelhouse"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the network away")
def test_wheelhouse_installs_without_a_network(house: Path, tmp_path: Path) -> None:
    """In a new environment that has no network, no pip and no pyarrow, the wheelhouse is enough to poll a database into files."""
    script = f"""
        ip link set lo up
        {sys.executable} -m venv --without-pip new
        pip="{sys.executable} -m pip --python new/bin/python --isolated install --quiet --no-index --no-deps --no-compile"
        $pip --requirement {house}/requirements.txt --find-links {house}
        $pip {house}/sqmon-*.whl
        new/bin/python -c 'import importlib.util as u; print(*(name for name in ("pip", "pyarrow", "setuptools") if u.find_spec(name)))'
        new/bin/sqmon demo --seconds 2 >shown
        new/bin/sqmon verify sqmon-demo
    """
    said = run("unshare", "--net", "sh", "-euc", script, cwd=tmp_path)

    assert said.startswith("\n")
    assert list((tmp_path / "sqmon-demo" / "show_locks").glob("*.jsonl"))


DOCKERFILE = (ROOT / "config_files" / "container" / "Dockerfile").read_text("utf-8")


def test_image_needs_neither_root_nor_a_shell(tmp_path: Path) -> None:
    """The image runs as a user that is told as a number, starts and is checked without a shell, and names all that it writes to."""
    image = Image(DOCKERFILE, tmp_path, tmp_path)

    assert image.value("USER") == "65532:65532"
    assert image.words("ENTRYPOINT") == ["/opt/sqmon/bin/sqmon"]
    assert image.words("HEALTHCHECK") == ["/opt/sqmon/bin/sqmon", "status"]
    assert image.words("VOLUME") == ["/var/log/sqmon"]
    assert [name for name, _ in image.last if name in ("RUN", "ADD")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs namespaces and overlays, which are root's")
def test_image_runs_as_process_1(house: Path, tmp_path: Path) -> None:
    """The image is built from the wheelhouse and polls as process 1 with a read-only root, is healthy, reaps orphans, stops when told."""
    image = Image(DOCKERFILE, house, tmp_path / "image", PIP_NO_INDEX="1")
    with Simulator() as simulator, image.running(SQMON_PORT=str(simulator.port), SQMON_STARTUP_TIMEOUT="5") as container:
        volume = tmp_path / "image" / "volume"
        wait_until(lambda: list(volume.glob("show_locks/*.jsonl")) or container.process.poll() is not None)
        assert container.process.poll() is None, container.stderr
        wait_until(lambda: container.ended(image.words("HEALTHCHECK")).returncode == 0)
        orphans = container.descendants()
        (forkserver,) = container.children()
        for process in (forkserver, *orphans - {forkserver}):  # without it, the workers become children of process 1
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: not orphans & container.descendants())
        (owner,) = {(path.stat().st_uid, path.stat().st_gid) for path in volume.rglob("*")}
        os.kill(container.first, signal.SIGTERM)

        assert container.process.wait(DEADLINE_SECONDS) == 0, container.stderr
        assert owner == (65532, 65532)


SYSTEMD = ROOT / "config_files" / "systemd"
UNITS = {"sqmon.service": "/etc/sqmon/password", "sqmon@.service": "/etc/sqmon/%i.password"}


def unit_lines(name: str) -> list[str]:
    """Return the lines of a unit without its comments."""
    return [line for line in (SYSTEMD / name).read_text("utf-8").splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("name", "password"), UNITS.items())
def test_unit_reads_the_password_where_it_can_change(name: str, password: str) -> None:
    """A credential stays what it was when the unit was started; a file of /etc is read again for each login."""
    unit = unit_lines(name)

    assert [line for line in unit if "CREDENTIAL" in line.upper()] == []
    assert any(f"--password_file {password}" in line for line in unit)


def test_unit_of_a_cluster_differs_by_its_name_alone() -> None:
    """The unit for one of several clusters is the unit for one, with the cluster's name, files and directory."""
    one, several = unit_lines("sqmon.service"), unit_lines("sqmon@.service")
    ours = [line for line in several if line not in one]

    assert len(several) == len(one) + 1
    assert [line for line in ours if "%i" not in line] == []
    assert {"Environment=SQMON_CLUSTER=%i", "EnvironmentFile=/etc/sqmon/%i.env", "LogsDirectory=sqmon/%i"} < set(ours)


@pytest.mark.parametrize("name", UNITS)
def test_unit_lets_the_archiver_give_way(name: str) -> None:
    """The filter of system calls, whose later lines count, lets the archiver lower its priority; otherwise it would be killed."""
    allowed: set[str] = set()
    for line in unit_lines(name):
        if line.startswith("SystemCallFilter="):
            calls = line.partition("=")[2]
            groups = {"@resources": {"sched_setscheduler", "setpriority"}, "@system-service": {"sched_setscheduler", "setpriority"}}
            named = {call for word in calls.lstrip("~").split() for call in groups.get(word, {word})}
            allowed = allowed - named if calls.startswith("~") else allowed | named

    assert {"sched_setscheduler", "setpriority"} <= allowed


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", [*UNITS, "sqmon-verify.service"])
def test_unit_is_valid_and_confined(tmp_path: Path, name: str) -> None:
    """systemd has nothing to say against it, and finds it as little exposed as a service with a network can be."""
    unit = tmp_path / name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", (SYSTEMD / name).read_text("utf-8")), "utf-8")

    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    exposure = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, check=False)

    assert (verified.returncode, verified.stderr) == (0, "")
    level = re.search(r"Overall exposure level for sqmon\S*.service: (\d+\.\d)", exposure.stdout)
    assert level is not None
    assert float(level[1]) <= 1.5


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("systemd-sysusers") is None, reason="needs systemd and root")
def test_user_and_directories_are_made(tmp_path: Path) -> None:
    """systemd makes the user and the directories, and gives the service the right to read passwords and nothing else."""
    passwords = tmp_path / "etc" / "sqmon"
    passwords.mkdir(parents=True)
    for name in ("password", "prod.password", "prod.env"):
        (passwords / name).touch(0o600)

    run("systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "sysusers.d" / "sqmon.conf"), cwd=tmp_path)
    run("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(SYSTEMD / "tmpfiles.d" / "sqmon.conf"), cwd=tmp_path)

    (user,) = [line for line in (tmp_path / "etc" / "passwd").read_text("utf-8").splitlines() if line.startswith("sqmon:")]
    name, _, uid, gid, _, home, shell = user.split(":")
    found = {path.name: path.stat() for path in (*passwords.iterdir(), tmp_path / "var" / "log" / "sqmon")}
    assert (name, home, shell) == ("sqmon", "/", "/usr/sbin/nologin")
    assert {name: (oct(stat.st_mode & 0o7777), stat.st_uid, stat.st_gid) for name, stat in found.items()} == {
        "password": ("0o640", 0, int(gid)),
        "prod.password": ("0o640", 0, int(gid)),
        "prod.env": ("0o600", 0, 0),
        "sqmon": ("0o2750", int(uid), int(gid)),
    }
