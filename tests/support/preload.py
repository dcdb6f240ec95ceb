"""Libraries that are preloaded into the program under test, so that calls of the system do as a test wants."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def library(source: Path, directory: Path) -> Path:
    """Build the C source as a library in `directory` and return its path. Raises FileNotFoundError where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("no C compiler on PATH")
    built = directory / source.with_suffix(".so").name
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built
