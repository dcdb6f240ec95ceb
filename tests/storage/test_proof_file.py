"""The proof file: what is written is read, and what is not whole is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqmon.storage import proof_file
from sqmon.storage.proof_file import Proof, ProofFile

PROOF = Proof(url="http://loki", looked_ns=7, every_s=300, proved=True, segments={"a/b": "c"})


def test_what_is_written_is_read_until_it_is_replaced(tmp_path: Path) -> None:
    """A reader sees each new proof, and nothing once the file is gone; nothing else is left in the directory."""
    reader = ProofFile(tmp_path)
    seen = [reader.read()]
    for looked_ns in (7, 8):
        proof_file.write(tmp_path, Proof(url="http://loki", looked_ns=looked_ns, every_s=300, proved=True))
        seen.append(reader.read())
    assert [proof_file.NAME] == [path.name for path in tmp_path.iterdir()]
    (tmp_path / proof_file.NAME).unlink()
    seen.append(reader.read())

    assert [None, 7, 8, None] == [proof and proof.looked_ns for proof in seen]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"url":1}', b"\xff", b"[" * 10_000])
def test_what_is_not_whole_is_nothing(tmp_path: Path, content: bytes) -> None:
    """A file that somebody else has written says nothing, and the next whole one is read."""
    (tmp_path / proof_file.NAME).write_bytes(content)
    reader = ProofFile(tmp_path)

    assert reader.read() is None
    proof_file.write(tmp_path, PROOF)
    assert PROOF == reader.read()


def test_directory_that_can_not_be_written_to_is_an_error(tmp_path: Path) -> None:
    """Nothing is left of a proof that could not be written."""
    with pytest.raises(OSError, match="No such file"):
        proof_file.write(tmp_path / "nowhere", PROOF)
