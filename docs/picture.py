"""The picture of the live view in the README: the real demo, exported as an SVG."""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sqmon.storage.file_sources import DirectorySource
from sqmon.top.frame import LIVE, Scene, frame, scene_of
from sqmon.top.lines import MANY, painted
from sqmon.top.recording import Recording
from sqmon.top.state import State
from sqmon.top.views import VIEWS

_WIDTH, _HEIGHT = 120, 16
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def picture(seconds: float) -> str:
    """Run the demo for `seconds` and return the moment at which most statements waited; the SVG loads nothing from elsewhere."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "demo"
        command = [sys.executable, "-m", "sqmon", "demo", "--seconds", f"{seconds:g}", "--log_dir", str(directory)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own program
        with Recording(DirectorySource(directory)) as recording:
            scene = _busiest(recording)
    locks = next(number for number, view in enumerate(VIEWS) if view.name == "locks")
    lines, _ = frame(scene, State(view=locks, selected=scene.tables[locks].rows()[0].key), _WIDTH, _HEIGHT, mode=LIVE)
    console = Console(record=True, file=io.StringIO(), width=_WIDTH)
    for line in lines:
        console.print(Text.from_ansi(painted(line, MANY)))
    return _FONTS.sub("", console.export_svg(title="sqmon top", unique_id="sqmon"))


def _busiest(recording: Recording) -> Scene:
    """Return the scene of the poll of locks in which most statements waited."""
    scenes = []
    at_ns = recording.neighbour("show_locks", 0, later=True)
    while at_ns is not None:
        scenes.append(scene_of(recording.at(at_ns)))
        at_ns = recording.neighbour("show_locks", at_ns, later=True)
    return max(scenes, key=lambda scene: (len(scene.moment.metrics), len(scene.picture.waits)))


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Write the picture of the live view.")
    parser.add_argument("file", type=Path, help="the SVG to write")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long the demo runs (default: %(default)s)")
    args = parser.parse_args()
    args.file.write_text(picture(args.seconds), "utf-8")


if __name__ == "__main__":
    main()
