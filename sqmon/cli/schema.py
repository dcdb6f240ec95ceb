"""`sqmon schema`: the JSON schema of a file that an operator writes."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Callable, Mapping

from sqmon.cli import exit_codes
from sqmon.config import clusters_schema, metrics_schema, options

SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {"metrics": metrics_schema.schema, "clusters": clusters_schema.schema}
"""What has a schema: its name on the command line -> what makes it."""

OPTIONS: Mapping[str, tuple[options.Option, ...]] = {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name of the file."""
    parser.add_argument(
        "file", choices=SCHEMAS, help="the file whose schema it is: `metrics` is the metrics file, `clusters` a file of --clusters_dir"
    )


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    sys.stdout.write(text(args.file))
    return exit_codes.OK


def text(name: str) -> str:
    """Return the schema called `name` in SCHEMAS as JSON, indented for people."""
    return json.dumps(SCHEMAS[name](), indent=2) + "\n"
