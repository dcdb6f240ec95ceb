"""Seals: what they say, and that none can be changed, removed or added unseen."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sqmon.storage.recount import recounted, run_of
from sqmon.storage.seal import Chain, breaks, canonical, digest
from sqmon.storage.writer import Sealed


def sealed(stream: str, number: int) -> Sealed:
    """Return what the writer of a segment says at its end."""
    return Sealed(f"{stream}/{stream}-{number}.jsonl", number, 9, 1, number, f"{number:064x}")


def broken(seals: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the files on both sides of every break."""
    return [(found.before["file"], found.seal["file"]) for found in breaks(seals)]


def chained(chain: Chain) -> list[dict[str, Any]]:
    """Return five seals of one stream, with those of another in between."""
    return [chain.link(sealed(stream, number)) for number in range(5) for stream in ("m", "n")]


def test_canonical_form_is_what_jq_makes_of_the_event() -> None:
    """The canonical form of a seal is what jq makes of its event, so that the chain can be checked without sqmon."""
    event = {"ts": "2026-11-24T15:30:50.123456000Z", "event": "segment_sealed", **Chain({"m": "ab"}).link(sealed("m", 7)), "x": 1}
    expected = (
        f'{{"file":"m/m-7.jsonl","lines":7,"bytes":9,"first_seq":1,"last_seq":7,"sha256":"{7:064x}","torn_bytes":0,"prev":"ab"}}'
    ).encode()

    assert expected == canonical(event)
    assert hashlib.sha256(expected).hexdigest() == digest(event)
    if shutil.which("jq"):
        words = ["jq", "-cj", "{file,lines,bytes,first_seq,last_seq,sha256,torn_bytes,prev}"]
        assert expected == subprocess.run(words, input=json.dumps(event).encode(), capture_output=True, check=True).stdout


def test_each_stream_has_a_chain_that_goes_on_after_a_restart() -> None:
    """The first seal of a stream has no `prev`, and a chain continues from the newest seals that are known."""
    before = chained(Chain({}))
    heads = {"m": digest(before[-2]), "n": digest(before[-1])}
    after = chained(Chain(heads))

    assert [None, None] == [seal["prev"] for seal in before[:2]]
    assert [] == broken(before + after)


@pytest.mark.parametrize("place", range(10))
def test_every_change_of_a_seal_breaks_the_chain(place: int) -> None:
    """A seal that was changed, removed or added is noticed at the next seal of its stream."""
    seals = chained(Chain({}))
    stream = seals[place]["file"][0]
    follower = next((seal["file"] for seal in seals[place + 1 :] if seal["file"][0] == stream), None)
    changed = [*seals[:place], {**seals[place], "lines": 99}, *seals[place + 1 :]]
    removed = seals[:place] + seals[place + 1 :]
    added = [*seals[: place + 1], Chain({}).link(sealed(stream, 77)), *seals[place + 1 :]]

    if follower is not None:
        assert (seals[place]["file"], follower) in broken(changed)
        assert [(seals[place - 2]["file"], follower)] * (place >= 2) == broken(removed)
        assert (f"{stream}/{stream}-77.jsonl", follower) in broken(added)


def test_seals_of_an_older_version_are_in_no_chain() -> None:
    """Seals without `prev` break nothing, and the first seal after them is chained to the last of them."""
    old = [sealed("m", number)._asdict() for number in range(2)]
    for seal in old:
        del seal["torn_bytes"]
    new = Chain({"m": digest(old[-1])}).link(sealed("m", 2))

    assert [] == broken([*old, new])
    assert [("m/m-0.jsonl", "m/m-2.jsonl")] == broken([old[0], new])


@pytest.mark.parametrize(
    ("data", "counted"),
    [
        (b"", (0, 0, 0, 0)),
        (b'{"seq":5}\n', (1, 5, 5, 0)),
        (b'{"seq":5}\n{"seq":6}\n{"seq":7}\n', (3, 5, 7, 0)),
        (b'{"seq":5}\n{"seq":6}\n{"se', (2, 5, 6, 4)),
        (b'{"seq":', (0, 0, 0, 7)),
        (b"\xff\xfe\n\n", (2, 0, 0, 0)),
        (b'{"seq":5}\n' + b'{"seq":6,"text":"%s"}\n' % (b"x" * 32_000) * 100 + b"x" * 3_000_000, (101, 5, 6, 3_000_000)),
    ],
)
def test_segment_without_a_seal_is_counted_from_the_file(tmp_path: Path, data: bytes, counted: tuple[int, int, int, int]) -> None:
    """The file of a killed run gives whole lines, their seq and all bytes, whatever is in it."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "s").write_bytes(data)
    lines, first, last, torn = counted

    assert Sealed("m/s", lines, len(data), first, last, hashlib.sha256(data).hexdigest(), torn) == recounted(tmp_path, "m/s")


def test_run_of_a_segment_is_that_of_its_first_line(tmp_path: Path) -> None:
    """A segment's run is that of its first whole line."""
    path = tmp_path / "s"
    for data, run_id in ((b'{"seq":1,"run_id":"a"}\n', "a"), (b'{"seq":1,"run_id":"a"', ""), (b"", "")):
        path.write_bytes(data)

        assert run_id == run_of(path)
