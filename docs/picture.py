"""The picture of the live view in the README: the real demo, exported as an SVG."""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from sqmon.cli.demo_view import View
from sqmon.config.catalogue import DEFAULT_METRICS

_WIDTH = 100
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_TURN_SECONDS = 0.1


def picture(seconds: float) -> str:
    """Run the demo for `seconds` and return what its view showed at the end; the SVG loads nothing from elsewhere."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "demo"
        view = View(directory, DEFAULT_METRICS, skip=(), console=Console(file=io.StringIO()))
        command = [sys.executable, "-m", "sqmon", "demo", "--seconds", f"{seconds:g}", "--log_dir", str(directory)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as demo:  # noqa: S603 - our own program
            while demo.poll() is None:
                view.refresh()
                time.sleep(_TURN_SECONDS)
    console = Console(record=True, file=io.StringIO(), width=_WIDTH)
    console.print(view.render())
    return _FONTS.sub("", console.export_svg(title="sqmon demo", unique_id="sqmon"))


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Write the picture of the live view.")
    parser.add_argument("file", type=Path, help="the SVG to write")
    parser.add_argument("--seconds", type=float, default=23.6, help="how long the demo runs (default: %(default)s)")
    args = parser.parse_args()
    args.file.write_text(picture(args.seconds), "utf-8")


if __name__ == "__main__":
    main()
