"""What is left of a demo that was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from tests.support.program import command, environment, session_processes, wait_until


def test_killed_demo_leaves_no_service(tmp_path: Path) -> None:
    """The service of a killed demo stops by itself, with its segments sealed."""
    with subprocess.Popen(
        command("demo", "--log_dir", "d"), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True
    ) as demo:
        wait_until(lambda: [*tmp_path.glob("d/get_license_info/*.jsonl")])
        service = int((tmp_path / "d" / ".lock").read_text("ascii"))
        try:
            demo.send_signal(signal.SIGKILL)

            wait_until(lambda: not session_processes(service))
        finally:
            for pid in session_processes(service):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    (stream,) = tmp_path.glob("d/sqmon/*.jsonl")
    assert '"event":"stop","reason":"SIGTERM"' in stream.read_text("utf-8").splitlines()[-1]
