"""The picture of the live view in the README: the real demo, exported as an SVG."""

from __future__ import annotations

import argparse
import io
import re
import tempfile
from pathlib import Path

from rich.console import Console

from sqmon.cli import demo
from sqmon.cli.demo_view import View
from sqmon.config.catalogue import DEFAULT_METRICS

_WIDTH = 118
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def picture(seconds: float) -> str:
    """Run the demo for `seconds` and return what its view shows then; nothing in the SVG is loaded from elsewhere."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "demo"
        demo.demonstrate(directory, seconds, Console(file=io.StringIO()))
        console = Console(record=True, file=io.StringIO(), width=_WIDTH)
        view = View(directory, DEFAULT_METRICS, skip=(), console=console)
        view.refresh()
        console.print(view.render())
    return _FONTS.sub("", console.export_svg(title="sqmon demo", unique_id="sqmon"))


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Write the picture of the live view.")
    parser.add_argument("file", type=Path, help="the SVG to write")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long the demo runs (default: %(default)s)")
    args = parser.parse_args()
    args.file.write_text(picture(args.seconds), "utf-8")


if __name__ == "__main__":
    main()
