"""A bundle is read where it is, every damage to it is found, and nothing in it is believed."""

from __future__ import annotations

import io
import json
import random
import subprocess
import tarfile
import tracemalloc
from pathlib import Path
from typing import Callable

import msgspec
import pytest
import zstandard

from sqmon.config.settings import SegmentOptions
from sqmon.delivery.bundle import FOREVER_NS, Order, bundle
from sqmon.delivery.bundle_archive import Archive
from sqmon.delivery.bundle_choice import Window, choose
from sqmon.delivery.bundle_masking import Masking
from sqmon.delivery.origin import Origin
from sqmon.delivery.verify import verify
from sqmon.errors import SqmonError
from sqmon.storage.bundle_manifest import BundledFile, Manifest
from sqmon.storage.bundle_reader import Bundle
from sqmon.storage.file_sources import source_at
from tests.delivery.test_verify import History, history, problems  # noqa: F401 - a fixture
from tests.support.loki import program
from tests.support.program import ended
from tests.support.segment_files import Stream, segments

ORIGIN = Origin("prod", "db1", "/var/log/sqmon")


def packed(log_dir: Path, path: Path, *, sql: str = "full", since_ns: int = 0) -> Manifest:
    """Pack a directory."""
    window = Window(since_ns, FOREVER_NS)
    masking = Masking(sql)  # type: ignore[arg-type]
    return bundle(log_dir, choose(log_dir, window), Order(window, masking, ORIGIN), path)


def small(log_dir: Path, path: Path) -> None:
    """Pack a few lines of which every one is sealed."""
    for metric in ("show_locks", "show_cluster_nodes"):
        stream = Stream(log_dir, SegmentOptions(), metric=metric)
        stream.poll(5)
        stream.writer.close()
    packed(log_dir, path)


def lived(history: History) -> None:  # noqa: F811
    """Let two services run; the last one leaves its events without a seal."""
    for killed in (False, True):
        history.start()
        history.work(killed=killed)
        history.stop()


@pytest.mark.parametrize("sql", ["full", "masked", "none"])
def test_bundle_is_proved_like_its_directory(history: History, tmp_path: Path, sql: str) -> None:  # noqa: F811
    """What is proved in the directory is proved in the bundle, packed and unpacked, also when its text is masked."""
    lived(history)
    path = tmp_path / "x.tar.zst"
    packed(history.log_dir, path, sql=sql)
    before, after = verify(history.log_dir), verify(path)
    subprocess.run([program("tar"), "--zstd", "-xf", path], cwd=tmp_path, check=True)
    (unpacked,) = tmp_path.glob("sqmon-*")

    assert ([], before.streams[0]._replace(bytes=0)) == (before.problems, after.streams[0]._replace(bytes=0))
    assert [] == after.problems
    assert [] == verify(unpacked).problems
    assert [each.unsealed for each in before.streams] == [each.unsealed for each in after.streams]
    one = next(unpacked.glob("show_locks/*.jsonl"))
    one.write_bytes(one.read_bytes().replace(b"sqream", b"SQREAM", 1))
    assert {("altered", f"show_locks/{one.name}")} == {(each.kind, each.file) for each in verify(unpacked).problems}


def test_window_is_no_loss(history: History, tmp_path: Path) -> None:  # noqa: F811
    """Segments that were left out on purpose are not missing; one that is left out of the manifest as well is."""
    lived(history)
    path = tmp_path / "x.tar.zst"
    names = {str(each.relative_to(history.log_dir)) for each in segments(history.log_dir)}
    cut_ns = choose(history.log_dir, Window(0, FOREVER_NS)).segments[-2].ended_ns
    manifest = packed(history.log_dir, path, since_ns=cut_ns + 1)

    assert {file.path for file in manifest.files} < names
    assert [] == verify(path).problems


def test_readers_read_bundles(tmp_path: Path) -> None:
    """A bundle is a source: its streams, segments, sizes, last lines, and what is at an offset."""
    log_dir = tmp_path / "logs"
    small(log_dir, tmp_path / "x.tar.zst")
    source, origin = source_at(tmp_path / "x.tar.zst"), source_at(log_dir)

    assert origin.streams() == source.streams()
    for stream in source.streams():
        for ours, theirs in zip(origin.segments(stream), source.segments(stream)):
            data = (log_dir / ours.name).read_bytes()
            with theirs.open(7) as file:
                assert data[7:] == file.read()
            assert (ours.name, ours.size(), ours.last_line(), ours.born_ns) == (
                theirs.name,
                theirs.size(),
                theirs.last_line(),
                theirs.born_ns,
            )
            assert theirs.ended_by_ns is not None


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return a bundle after one mishap: a bit flipped, a part cut off, removed, doubled or swapped, or something appended."""
    at, size = dice.randrange(len(data)), dice.choice([1, 16, 522, 700])
    other = dice.randrange(len(data))
    kind = dice.randrange(6)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + data[at + size :]
    if kind == 3:
        return data[: at + size] + data[at:]
    if kind == 4:
        low, high = sorted((at, other))
        return data[:low] + data[high : high + size] + data[low + size : high] + data[low : low + size] + data[high + size :]
    return data + dice.choice([b"\0", data[-48:], data[:at] or b"x", dice.randbytes(9)])


@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_mutations_are_found(tmp_path: Path, seed: int) -> None:
    """Whatever happens to a bundle, it is not proved any more, in words and without an exception of another kind."""
    small(tmp_path / "logs", tmp_path / "x.tar.zst")
    data, dice, path = (tmp_path / "x.tar.zst").read_bytes(), random.Random(seed), tmp_path / "y.tar.zst"
    assert verify(tmp_path / "x.tar.zst").proved
    refused = 0
    for number in range(2_500):
        changed = mutated(data, dice)
        if changed == data:
            continue
        path.write_bytes(changed)
        try:
            found = verify(path).problems
        except SqmonError:
            refused += 1
        else:
            assert found, f"mutation {number} was not found"
    assert 0 < refused < 2_500


def forged(source: Path, path: Path, change: Callable[[BundledFile, bytes], bytes]) -> None:
    """Make another bundle of the same manifest, with the changed segments, and with checksums that fit."""
    old = Bundle(source)
    with Archive(path, old.manifest.directory, most_bytes=0) as archive:
        files = []
        for file in old.manifest.files:
            with old.open(file) as content:
                new = archive.add(file.path, [change(file, content.read())], mtime=file.mtime)
            files.append(msgspec.structs.replace(file, **new._asdict()))
        archive.write(msgspec.structs.replace(old.manifest, files=files), mtime=1)
        archive.publish()


def test_forgery_is_found_as_far_as_seals_reach(history: History, tmp_path: Path) -> None:  # noqa: F811
    """A bundle that was made anew of changed lines is found by the seals; only what has none is not, and that is named."""
    lived(history)
    source, path = tmp_path / "x.tar.zst", tmp_path / "y.tar.zst"
    packed(history.log_dir, source)
    unsealed = {name for stream in verify(source).streams for name in stream.unsealed}
    assert unsealed < {*Bundle(source).segments}
    for name in [*Bundle(source).segments]:

        def change(file: BundledFile, data: bytes, name: str = name) -> bytes:
            return data.replace(b"info", b"INFO").replace(b"sqream", b"SQREAM") if file.path == name else data

        forged(source, path, change)
        assert (name in unsealed) == verify(path).proved


@pytest.mark.parametrize(
    "path", ["../x.jsonl", "/etc/passwd", "show_locks/../../x", "show_locks/x.jsonl", "a/b/c.jsonl", "archive/x", "status.json\n"]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, path: str) -> None:
    """A manifest that names anything but a file that sqmon packs is refused as a whole."""
    small(tmp_path / "logs", tmp_path / "x.tar.zst")
    manifest = Bundle(tmp_path / "x.tar.zst").manifest
    with Archive(tmp_path / "y.tar.zst", "x", most_bytes=0) as archive:
        archive.add("status.json", [b"{}"], mtime=1)
        archive.write(msgspec.structs.replace(manifest, files=[msgspec.structs.replace(manifest.files[0], path=path)]), mtime=1)
        archive.publish()
    with pytest.raises(SqmonError, match="its manifest is not one that sqmon writes"):
        source_at(tmp_path / "y.tar.zst")


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    """Neither a file that would become huge nor a manifest that never ends takes memory."""
    small(tmp_path / "logs", tmp_path / "x.tar.zst")
    path = tmp_path / "y.tar.zst"
    forged(tmp_path / "x.tar.zst", path, lambda _, data: data * 200_000)
    with pytest.raises(SqmonError, match="so it is not unpacked"):
        source_at(path)

    head = tarfile.TarInfo("x/MANIFEST.json")
    head.size = 1 << 40
    path.write_bytes(zstandard.compress(head.tobuf() + b"\0" * (1 << 27)))
    tracemalloc.start()
    with pytest.raises(SqmonError, match="is not a bundle of sqmon"):
        source_at(path)
    assert tracemalloc.get_traced_memory()[1] < 80 << 20
    tracemalloc.stop()


def test_what_is_no_bundle_is_refused_in_a_line(tmp_path: Path) -> None:
    """Other archives, bundles of later versions and files of other kinds are refused with what is wrong."""
    other = io.BytesIO()
    with tarfile.open(fileobj=other, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    (tmp_path / "a.tar.zst").write_bytes(zstandard.compress(other.getvalue()))
    small(tmp_path / "logs", tmp_path / "x.tar.zst")
    manifest = Bundle(tmp_path / "x.tar.zst").manifest
    with Archive(tmp_path / "b.tar.zst", "x", most_bytes=0) as archive:
        archive.write(msgspec.structs.replace(manifest, format=2, files=[], sqmon="9.0"), mtime=1)
        archive.publish()
    (tmp_path / "c").write_text("text", "utf-8")
    for name, words in [("a.tar.zst", "is not a bundle"), ("b.tar.zst", "was made by sqmon 9.0"), ("c", "is neither the directory")]:
        said = ended("verify", name, cwd=tmp_path)
        assert (1, "", 1) == (said.code, said.stdout, said.stderr.count("\n"))
        assert words in said.stderr


def test_verify_says_what_a_bundle_is(history: History, tmp_path: Path) -> None:  # noqa: F811
    """`sqmon verify BUNDLE` proves it, or names what is damaged."""
    lived(history)
    path = tmp_path / "x.tar.zst"
    packed(history.log_dir, path)
    said = ended("verify", "x.tar.zst", "--json", cwd=tmp_path)
    assert (0, True) == (said.code, json.loads(said.stdout)["proved"])
    path.write_bytes(path.read_bytes()[:-500])
    said = ended("verify", "x.tar.zst", cwd=tmp_path)
    assert (1, True) == (said.code, "its end is missing or is not that of a bundle (damaged)" in said.stdout)


def test_commands_read_a_bundle_as_its_directory(history: History, tmp_path: Path) -> None:  # noqa: F811
    """`logs`, `history` and `report` say of a bundle what they say of the directory, without unpacking it."""
    lived(history)
    path = tmp_path / "x.tar.zst"
    packed(history.log_dir, path)

    def said(*words: str) -> tuple[int, str, str]:
        end = ended(*words, cwd=tmp_path)
        return end.code, end.stdout.replace(str(history.log_dir), "PLACE").replace(path.name, "PLACE"), end.stderr

    for words in (("logs", "show_locks", "--json"), ("logs", "sqmon", "--json"), ("history", "nodes", "--until", "2026-11-24T13:00")):
        code, text, error = said(*words, "--log_dir", str(history.log_dir))
        assert (0, "") == (code, error)
        assert (code, text, error) == said(*words, "--log_dir", path.name)
    assert 0 == said("report", path.name, "-o", "x.html")[0]
    assert "<html" in (tmp_path / "x.html").read_text("utf-8")
