"""The Debian package as it is laid out; `make packages` builds it whole, and installs, runs, removes and purges it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import sqmon
from sqmon.cli import main
from tests.support import ROOT

DEBIAN = ROOT / "packages" / "debian"
PYTHON = Path("/usr/bin/python3")
SCRIPTS = [DEBIAN / name for name in ("build", "try", "postinst", "prerm", "postrm")]

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None or not PYTHON.exists(), reason="needs dpkg-deb and Debian's Python")

# Stands for the pip that installs the wheels, which takes longer than all the rest.
NO_WHEELS = """\
#!/bin/sh
printf '#!/somewhere\\n' > "$(dirname "$2")/sqmon"
chmod 755 "$(dirname "$2")/sqmon"
"""


def said(*words: object, cwd: Path = ROOT, **more: str) -> str:
    """Run a program that must succeed, and return its output."""
    done = subprocess.run([*map(str, words)], cwd=cwd, env={**os.environ, **more}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(place: Path) -> Path:
    """Return a package that has everything but the Python packages."""
    place.mkdir()
    (place / "pip").write_text(NO_WHEELS, "utf-8")
    (place / "pip").chmod(0o755)
    wheel = place / f"sqmon-{sqmon.__version__}-py3-none-any.whl"
    said(DEBIAN / "build", wheel, place, PIP=str(place / "pip"), PYTHON=str(PYTHON), COMPRESSION="none")
    (package,) = place.glob("*.deb")
    return package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package without the Python packages."""
    return built(tmp_path_factory.mktemp("debian") / "first")


@pytest.fixture(scope="module")
def root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the package, and below DEBIAN what dpkg reads of it."""
    place = tmp_path_factory.mktemp("root")
    said("dpkg-deb", "--raw-extract", package, place)
    return place


def test_same_sources_give_the_same_package(package: Path, tmp_path: Path) -> None:
    """Built again elsewhere, at another time, the package is the same to the last byte."""
    assert built(tmp_path / "second").read_bytes() == package.read_bytes()


def test_everything_is_in_its_place(root: Path) -> None:
    """The command, units, user, directories, completions and a page for each command are where Debian looks for them, and are root's."""
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}
    pages = {f"usr/share/man/man1/{name}.1.gz" for name in ("sqmon", *(f"sqmon-{command}" for command in main.COMMANDS))}
    expected = {
        "etc/sqmon/monitor_input.json",
        "etc/sqmon/sqmon.env",
        "usr/bin/sqmon",
        "usr/lib/sqmon/bin/sqmon",
        "usr/lib/systemd/system/sqmon.service",
        "usr/lib/systemd/system/sqmon-verify.service",
        "usr/lib/systemd/system/sqmon@.service",
        "usr/lib/sysusers.d/sqmon.conf",
        "usr/lib/tmpfiles.d/sqmon.conf",
        "usr/share/bash-completion/completions/sqmon",
        "usr/share/doc/sqmon/changelog.Debian.gz",
        "usr/share/doc/sqmon/changelog.gz",
        "usr/share/doc/sqmon/copyright",
        "usr/share/fish/vendor_completions.d/sqmon.fish",
        "usr/share/lintian/overrides/sqmon",
        "usr/share/zsh/vendor-completions/_sqmon",
        *pages,
    }
    metadata = {f"DEBIAN/{name}" for name in ("conffiles", "control", "md5sums", "postinst", "prerm", "postrm")}
    environment = {name for name in files if name.startswith(("usr/lib/sqmon/bin/python", "usr/lib/sqmon/pyvenv", "usr/lib/sqmon/lib"))}

    assert files - environment == expected | metadata
    assert {line.split()[1] for line in said("dpkg-deb", "--contents", next(root.parent.parent.rglob("first/*.deb"))).splitlines()} == {
        "root/root"
    }


def test_paths_are_those_of_the_installed_system(root: Path) -> None:
    """The command, its interpreter and the units name each other as they will be found, and nothing names the place of the build."""
    environment = root / "usr" / "lib" / "sqmon"

    assert (root / "usr" / "bin" / "sqmon").readlink().as_posix() == "../lib/sqmon/bin/sqmon"
    assert (environment / "bin" / "sqmon").read_text("utf-8") == "#!/usr/lib/sqmon/bin/python\n"
    assert (environment / "bin" / "python3").readlink().as_posix().startswith("../../../bin/python3.")
    assert "command" not in (environment / "pyvenv.cfg").read_text("utf-8")
    for name in ("sqmon.service", "sqmon@.service"):
        unit = (root / "usr" / "lib" / "systemd" / "system" / name).read_text("utf-8")
        assert "ExecStart=/usr/bin/sqmon run" in unit
        assert "/opt" not in unit


def test_what_an_administrator_changes_is_kept(root: Path) -> None:
    """What is below /etc is left as it is by an upgrade, and the interpreter that the package needs is the one that it was built with."""
    control = (root / "DEBIAN" / "control").read_text("utf-8")
    minor = int(said(PYTHON, "-c", "import sys; print(sys.version_info[1])"))

    assert (root / "DEBIAN" / "conffiles").read_text("utf-8").split() == ["/etc/sqmon/monitor_input.json", "/etc/sqmon/sqmon.env"]
    assert f"Version: {sqmon.__version__}\n" in control
    assert f"Depends: python3 (>= 3.{minor}~), python3 (<< 3.{minor + 1}~)," in control
    assert "@" not in control.replace("maintainers@", "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_can_be_read_by_their_shells(script: Path) -> None:
    """Every script may be executed, and its own shell finds no mistake in its grammar."""
    shell = script.read_text("utf-8").splitlines()[0].split("/")[-1].split()[-1]

    assert os.access(script, os.X_OK)
    said(shell, "-n", script)
