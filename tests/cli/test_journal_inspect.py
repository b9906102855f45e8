"""recollectd journal inspect: what it prints of a journal, whole or damaged, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from recollectd.memory.commits import Commit
from support.command_line import Run
from support.journal_images import SegmentImage, contents, lay_out


def commit(number: int) -> bytes:
    return msgspec.msgpack.encode(Commit(1_767_225_600_000_000, "ada", 0, b"", number, 0, 0, b"", ()))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two segments: commits 1 to 3, a seal, commit 4."""
    first = SegmentImage().add(commit(1), commit(2), synced=0).add(commit(3), synced=2).add(synced=3)
    lay_out(tmp_path / "journal", first, first.successor().add(commit(4), synced=3))
    return tmp_path


def test_text(run: Run, data: Path) -> None:
    ended = run("journal", "inspect", data)
    lines = ended.out.splitlines()
    assert lines[0].startswith("00000000000000000001.segment  16.0 KiB, epoch 1, from commit 1, ")
    assert [line.split(",")[0] for line in lines if line.startswith("  at ")] == [
        "  at 4096: commits 1 to 2",
        lines[4].split(",")[0],
        lines[6].split(",")[0],
        "  at 4096: commit 4",
    ]
    assert "seal" in lines[6]
    assert lines[2] == "    1  by the daemon: refused, nothing is changed"
    assert "2 segments, 4 batches, 4 commits; no damage" in ended.err


def test_json(run: Run, data: Path) -> None:
    reports = run("journal", "inspect", data / "journal", "--json").lines()
    assert [report["kind"] for report in reports] == ["segment", "batch", "batch", "batch", "segment", "batch"]
    assert reports[0]["store_id"] == "000102030405060708090a0b0c0d0e0f"
    assert [entry["seq"] for entry in reports[1]["entries"]] == [1, 2]
    assert reports[1]["entries"][1]["decoded"]["principal"] == "ada"
    assert reports[3]["sealing"] is True


def test_from_a_commit_on_and_without_events(run: Run, data: Path) -> None:
    reports = run("journal", "inspect", data, "--json", "--from-seq", "4").lines()
    assert [report["kind"] for report in reports] == ["segment", "batch"]
    assert "by the daemon" not in run("journal", "inspect", data, "--no-events").out


def test_damage_is_told_and_ends_with_65(run: Run, data: Path) -> None:
    segment = data / "journal" / "00000000000000000001.segment"
    image = bytearray(segment.read_bytes())
    image[4096 + 90] ^= 1
    segment.write_bytes(image)
    before = contents(data / "journal")
    ended = run("journal", "inspect", data, code=65)
    assert "  !! " in ended.out
    assert "1 place damaged" in ended.err
    assert [report["first_seq"] for report in run("journal", "inspect", data, "--json", code=65).lines()][-1] == 4
    assert contents(data / "journal") == before, "nothing was changed"


def test_an_entry_that_is_no_commit_is_told(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, SegmentImage().add(b"\xc1", synced=0))
    assert "1  cannot be decoded: " in run("journal", "inspect", tmp_path).out


def test_a_folder_without_a_journal(run: Run, tmp_path: Path) -> None:
    assert "there is no journal" in run("journal", "inspect", tmp_path, code=66).err
    assert run("journal", "inspect", tmp_path / "none", code=64).err
