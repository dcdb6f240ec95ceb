"""The wings, and which of them may import which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "sqmon"

DIRECTION = """
errors clock result side_thread interpreter words
stdio
logs config
database records health
storage
ipc
worker supervisor lifetimes
delivery
top
cli
__main__
"""
"""A wing, or one of the few modules beside the wings, imports only from lines above its own. The simulator stands alone."""

LINE = {name: number for number, line in enumerate(DIRECTION.strip().splitlines()) for name in line.split()}
SIMULATOR_USERS = {"cli/demo", "cli/simulate"}


def place(path: Path) -> str:
    """Return the wing of a module, or the module itself where it stands beside the wings."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Return the full names of everything that the file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where a name comes from"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def wings(path: Path) -> set[str]:
    """Return the wings, and the modules beside them, that the file imports from."""
    parts = (name.split(".") for name in imports(path))
    return {part[1] for part in parts if part[0] == "sqmon" and part[1] != "__version__"}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_wing_has_its_line() -> None:
    """Every wing has a place in the direction."""
    assert {place(path) for path in MODULES} == {*LINE, "simulator"}


def test_wings_say_in_one_sentence_what_they_are() -> None:
    """The docstring of every wing is one sentence, so that `ls` and these sentences are a map."""
    docs = {path.parent.name: ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "" for path in PACKAGE.glob("*/__init__.py")}

    assert docs.keys() == {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert [name for name, text in docs.items() if name != "simulator" and (text.count(".") != 1 or not text.endswith("."))] == []


def test_imports_follow_the_direction() -> None:
    """Between wings, imports point to earlier lines; within a wing they are free."""
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in MODULES
        if place(path) != "simulator"
        for name in wings(path) - {place(path), "simulator"}
        if LINE[name] >= LINE[place(path)]
    ]

    assert [] == wrong


def test_simulator_stands_alone() -> None:
    """The simulator imports nothing of the service, and of the service only two commands import the simulator."""
    simulator = [path.name for path in MODULES if place(path) == "simulator" and wings(path) - {"simulator"}]
    users = {
        str(path.relative_to(PACKAGE).with_suffix("")) for path in MODULES if place(path) != "simulator" and "simulator" in wings(path)
    }

    assert ([], SIMULATOR_USERS) == (simulator, users)


def test_only_database_knows_pysqream() -> None:
    """Only the database wing imports the driver, so that no other needs to know its traps."""
    importers = {place(path) for path in MODULES if any(name.split(".")[0] == "pysqream" for name in imports(path))}

    assert importers <= {"database"}
    assert "importlib" in imports(PACKAGE / "database" / "client.py")


def test_modules_are_small() -> None:
    """No module is longer than 250 lines without saying why in its docstring."""
    long = [
        path.name
        for path in MODULES
        if len(path.read_text("utf-8").splitlines()) > 250
        and "250 lines" not in (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "")
    ]

    assert [] == long


def test_names_say_something() -> None:
    """No module has a name that would fit any content."""
    assert not {path.stem for path in MODULES} & {"util", "utils", "helper", "helpers", "common", "misc", "manager", "tools"}


def test_service_does_not_carry_what_it_never_uses() -> None:
    """The supervisor, which runs for months, imports no driver, no network library, and nothing that only other commands need."""
    never = "{'numpy', 'pysqream', 'rich', 'pygments', 'yaml', 'asyncio', 'ssl', 'http', 'email', 'typing_extensions', 'watchdog'}"
    code = f"import sys, sqmon.cli.main, sqmon.cli.run; print(*{never} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "\n"


def test_workers_import_nothing_after_the_fork() -> None:
    """What a worker needs to reach a host by its name is imported before the fork, where all workers share it."""
    needed = "{'encodings.idna', 'stringprep', '_strptime', 'hashlib', 'msgspec', 'sqmon.worker.process'}"
    code = f"import sys, sqmon.worker.preload; print(*{needed} - set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "\n"
