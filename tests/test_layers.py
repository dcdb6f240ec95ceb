"""Who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "sqmon"

LAYERS = """
errors clock stdio
catalogue columns values segment_names schedule checksum directories file_lock status_file notify
statements guard advice config reading truncation computed agent_config
metrics_file logs record options settings
database line_writer positions entry outcome
backlog segment
segments single_file retention
output reports
poller events outage gate wake watch exporter
health
worker probe
preload child checks
journal view sweeper
supervisor
service once demo status
checking
cli
__main__
""".strip().splitlines()
RANK = {name: rank for rank, line in enumerate(LAYERS) for name in line.split()}
SIMULATOR_USERS = {"cli", "demo"}


def imports(path: Path) -> set[str]:
    """Return the names of sqmon's modules that the file imports, `simulator` for any part of it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "sqmon":
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqmon."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("sqmon.")}
    return found


def imported_packages(path: Path) -> set[str]:
    """Return the first names of everything that the file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


def test_every_module_has_its_layer() -> None:
    """A new module must say where it stands."""
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(RANK)


def test_imports_go_up_only() -> None:
    """A module imports only from lines above its own."""
    wrong = [
        f"{path.stem} imports {name}"
        for path in PACKAGE.glob("*.py")
        for name in imports(path) - {"simulator"}
        if path.stem != "__init__" and RANK[name] >= RANK[path.stem]
    ]

    assert [] == wrong


def test_simulator_stands_alone() -> None:
    """The simulator imports nothing of the service, and of the service only the demo and the command line import the simulator."""
    simulator = [path.name for path in (PACKAGE / "simulator").glob("*.py") if imports(path) - {"simulator"}]

    assert ([], SIMULATOR_USERS) == (simulator, {path.stem for path in PACKAGE.glob("*.py") if "simulator" in imports(path)})


def test_only_database_knows_pysqream() -> None:
    """Every other module would have to know its traps, too."""
    importers = {
        path.stem for path in PACKAGE.rglob("*.py") if "pysqream" in path.read_text("utf-8") and "pysqream" in imported_packages(path)
    }

    assert importers <= {"database"}
    assert "importlib" in imported_packages(PACKAGE / "database.py")


def test_modules_are_small() -> None:
    """No module is longer than 250 lines without saying why in its docstring."""
    long = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if len(path.read_text("utf-8").splitlines()) > 250
        and "250 lines" not in (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "")
    ]

    assert [] == long


def test_names_say_something() -> None:
    """No module has a name that could be anything's."""
    assert not {path.stem for path in PACKAGE.rglob("*.py")} & {"util", "utils", "helper", "helpers", "common", "misc", "manager", "tools"}


def test_service_does_not_carry_what_it_never_uses() -> None:
    """A supervisor runs for months: no driver, no arrays, no tables in colour; structlog would bring rich along for its own tracebacks."""
    code = "import sys, sqmon.cli, sqmon.logs, sqmon.service; print(*{'numpy', 'pysqream', 'rich', 'pygments'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "\n"
