"""The files that are generated from the commands' parsers, by their path below `packages/`."""

from __future__ import annotations

from pathlib import Path

from packages import completions, lnav, man_pages

PLACE = Path(__file__).parent
DIRECTORIES = ("completions", "lnav", "man")
"""They hold what is generated, and nothing else."""


def files() -> dict[str, str]:
    """Return every file: path -> text."""
    made = {"completions": completions.files(), "lnav": lnav.files(), "man": man_pages.files()}
    return {f"{directory}/{name}": text for directory, found in made.items() for name, text in found.items()}


def present() -> dict[str, str]:
    """Return the files that are there."""
    paths = [path for directory in DIRECTORIES for path in sorted((PLACE / directory).rglob("*")) if path.is_file()]
    return {path.relative_to(PLACE).as_posix(): path.read_text("utf-8") for path in paths}


def write() -> None:
    """Make the directories hold every file as it is to be, and no other."""
    wanted = files()
    for name in present().keys() - wanted.keys():
        (PLACE / name).unlink()
    for name, text in wanted.items():
        (PLACE / name).parent.mkdir(parents=True, exist_ok=True)
        (PLACE / name).write_text(text, "utf-8")
