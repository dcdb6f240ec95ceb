"""What goes into a bundle beside the segments: the status, the metrics file and the agent's positions, without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Union

import msgspec

from sqmon.clock import utc_stamp
from sqmon.config import metrics_file, small_file
from sqmon.delivery.bundle import Extra
from sqmon.delivery.bundle_masking import Masking
from sqmon.errors import ConfigError, reason_of
from sqmon.health import status_file
from sqmon.storage.agent_positions import find
from sqmon.storage.bundle_manifest import Omission

_LARGEST = 4 << 20
Found = Union[Extra, Omission]
"""A file, or why there is none."""


def status(log_dir: Path, masking: Masking) -> Found:
    """Return what the service last said of itself."""
    name = status_file.NAME
    try:
        told = msgspec.json.decode(small_file.read(log_dir / name, _LARGEST))
    except FileNotFoundError:
        return Omission(file=name, reason="there is none")
    except OSError as error:
        return Omission(file=name, reason=f"can't be read: {reason_of(error)}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Omission(file=name, reason="was being written")
    return Extra(name, "status", _as_text(masking.value(told)))


def metrics(path: Optional[Path], masking: Masking) -> Found:
    """Return the metrics file with its queries masked; one that the service would refuse is not looked into."""
    name = "metrics_file.json"
    if path is None:
        return Omission(file=name, reason="there is none, the built-in metrics are polled")
    try:
        content = small_file.read(path, _LARGEST)
        metrics_file.parse(content, str(path))
        told = msgspec.json.decode(content)
    except OSError as error:
        return Omission(file=name, reason=f"can't be read: {reason_of(error)}")
    except (ConfigError, msgspec.DecodeError, UnicodeDecodeError):
        return Omission(file=name, reason="is no valid metrics file; `sqmon check --offline` says why")
    return Extra(name, "metrics", _as_text(masking.value(told)))


def positions(log_dir: Path, given: Optional[Path]) -> Found:
    """Return how far the agent is known to have read each segment."""
    name = "agent_positions.json"
    agent = find(log_dir, given)
    if agent.positions is None:
        return Omission(file=name, reason=agent.problem)
    # An agent may read files of others, which are none of our business.
    offsets = {str(path): offset for path, offset in agent.positions.offsets.items() if path.suffix == ".jsonl"}
    told = {"file": str(agent.path), "written": utc_stamp(agent.positions.written_ns), "offsets": offsets}
    return Extra(name, "positions", _as_text(told))


def _as_text(told: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
