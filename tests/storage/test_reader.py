"""Reading streams back."""

from __future__ import annotations

from pathlib import Path

from sqmon.storage.reader import StreamReader


def segment(log_dir: Path, number: int) -> Path:
    """Return the path of one segment of the stream `m`."""
    (log_dir / "m").mkdir(exist_ok=True)
    return log_dir / "m" / f"m-20261124T15305{number}.000000Z-{number:06d}.jsonl"


def test_lines_come_once_and_in_order_across_segments(tmp_path: Path) -> None:
    """What was read is not read again, and an older segment comes first."""
    reader = StreamReader(tmp_path, "m")
    segment(tmp_path, 1).write_bytes(b'{"seq":1}\n{"seq":2}\n')

    assert [1, 2] == [record["seq"] for record in reader.read()]

    with segment(tmp_path, 1).open("ab") as file:
        file.write(b'{"seq":3}\n')
    segment(tmp_path, 2).write_bytes(b'{"seq":4}\n')

    assert [3, 4] == [record["seq"] for record in reader.read()]
    assert [] == list(reader.read())


def test_unfinished_line_waits_and_is_torn_when_nobody_ends_it(tmp_path: Path) -> None:
    """Half a line is not read; it counts as torn once a later segment shows that it will stay half a line."""
    reader = StreamReader(tmp_path, "m")
    segment(tmp_path, 1).write_bytes(b'{"seq":1}\n{"se')

    assert ([1], 0) == ([record["seq"] for record in reader.read()], reader.torn)

    segment(tmp_path, 2).write_bytes(b'{"seq":9}\n')

    assert ([9], 1) == ([record["seq"] for record in reader.read()], reader.torn)
