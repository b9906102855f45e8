"""What is on disk: its form, its damage, its disappearance."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from recollectd._native.checksum import xxh64
from recollectd.storage.keywords import view as view_module
from recollectd.storage.keywords.errors import KeywordsDamaged, KeywordsOutdated
from recollectd.storage.keywords.files import Files, checksum_of
from recollectd.storage.keywords.manifest import MAGIC, MANIFEST_NAME, Manifest, SegmentEntry, encode_manifest
from recollectd.storage.keywords.options import Delete, KeywordOptions, Put
from recollectd.storage.keywords.view import Keywords, open_keywords, rebuild_keywords
from storage.keywords.conftest import Filled
from storage.keywords.oracle import best

OWN = {"own": 1.0}


def in_segments(filled: Filled) -> list[Path]:
    """Make two segments, one with a deleted document; return all files."""
    filled.put([f"ship harbour{number}" for number in range(20)])
    filled.view.flush()
    filled.put(["ship lantern", "ship"], prefix="n")
    filled.view.apply(filled.view.applied_seq + 1, [Delete(b"s", b"m3")])
    del filled.documents[b"m3"]
    filled.view.flush()
    return sorted(filled.folder.iterdir())


def test_names_of_files(filled: Filled) -> None:
    assert [path.name for path in in_segments(filled)] == ["0000000001.postings", "0000000002.postings", "MANIFEST"]


def test_the_manifest_keeps_its_bytes() -> None:
    manifest = Manifest(7, 3, ("own",), "1/x", (SegmentEntry(2, 640, 2**64 - 1, 5, b"\1\0\0\0\2\0\0\0"),))
    content = bytes.fromhex(
        "524b574d414e4931"
        + "950703"
        + "91a36f776e"
        + "a3312f78"
        + "91"
        + "9502cd0280cfffffffffffffffff05c4080100000002000000"
    )
    assert encode_manifest(manifest) == content + xxh64(content).to_bytes(8, "little")
    assert content.startswith(MAGIC)


def test_a_segment_keeps_its_bytes(folder: Path) -> None:
    view = open_keywords(folder, KeywordOptions(fields=("own",)))
    view.apply(1, [Put(b"s", b"a", ("ship ship oak",)), Put(b"s", b"b", (None,)), Put(b"s", b"c", ("oak",))])
    view.flush()
    content = (folder / "0000000001.postings").read_bytes()
    assert content == bytes.fromhex("".join(SEGMENT.values()))


# Written out by hand from the grammar in native/recollectd_keyword_segment.h.
SEGMENT = {
    "scope": "7300000000000000",
    "id ends": "0100000002000000 0300000000000000",
    "ids": "6162630000000000",
    "lengths; b does not have the field": "03000000ffffffff 0100000000000000",
    "oak in rows 0 and 2, ship twice in row 0": "0004010200000000",
    "posting ends": "0200000000000000 0400000000000000",
    "term ends": "0300000007000000",
    "terms": "6f616b7368697000",
    "BlockHead": "0100000003000000 0000000000000000 0800000000000000 1800000000000000",
    "terms, lengths at": "0200000000000000 2000000000000000",
    "postings at, their ends at": "3000000000000000 3800000000000000",
    "term ends at, terms at": "4800000000000000 5000000000000000",
    "directory": "5800000000000000",
    "magic, fields, blocks": "524b575345473031 0100000000000000 0100000000000000",
    "documents, directory at, reserved": "0300000000000000 a800000000000000 0000000000000000",
}


@pytest.mark.parametrize("name", ["0000000001.postings", "0000000002.postings", MANIFEST_NAME])
def test_any_altered_byte_is_found(filled: Filled, name: str) -> None:
    in_segments(filled)
    path = filled.folder / name
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(KeywordsDamaged, match=name):
            open_keywords(filled.folder)
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(KeywordsDamaged, match=name):
            open_keywords(filled.folder)
    path.write_bytes(whole)
    assert open_keywords(filled.folder).statistics().documents == len(filled.documents)


def test_a_missing_segment_is_found(filled: Filled) -> None:
    in_segments(filled)[0].unlink()
    with pytest.raises(KeywordsDamaged, match=r"0000000001\.postings"):
        open_keywords(filled.folder)


def test_a_whole_file_that_is_no_segment_is_found(filled: Filled) -> None:
    """A checksum vouches for bytes, not for what wrote them."""
    in_segments(filled)
    path = filled.folder / "0000000001.postings"
    for content in (b"", b"x" * 47, bytes(4096), path.read_bytes()[:-48] + bytes(48)):
        path.write_bytes(content)
        descriptor = os.open(path, os.O_RDONLY)
        size, checksum = checksum_of(descriptor)
        os.close(descriptor)
        manifest = msgspec.msgpack.decode((filled.folder / MANIFEST_NAME).read_bytes()[8:-8], type=Manifest)
        first, *rest = manifest.segments
        changed = msgspec.structs.replace(
            manifest, segments=(msgspec.structs.replace(first, file_bytes=size, checksum=checksum), *rest)
        )
        (filled.folder / MANIFEST_NAME).write_bytes(encode_manifest(changed))
        with pytest.raises(KeywordsDamaged, match=r"0000000001\.postings"):
            open_keywords(filled.folder)
        (filled.folder / MANIFEST_NAME).write_bytes(encode_manifest(manifest))


def test_a_segment_altered_while_it_is_mapped_ends_no_process(filled: Filled) -> None:
    filled.put([f"ship harbour{number} lantern" for number in range(300)])
    filled.view.flush()
    path = filled.folder / "0000000001.postings"
    whole = path.read_bytes()
    wrong = 0
    with path.open("r+b") as file:
        for at in range(0, len(whole) - 48, 61):
            file.seek(at)
            file.write(b"\xff" * 61)
            file.flush()
            try:
                filled.view.search(b"s", "ship harbour7 lantern", weights=OWN, limit=400)
            except KeywordsDamaged:
                wrong += 1
            file.seek(at)
            file.write(whole[at : at + 61])
            file.flush()
    assert wrong
    found = filled.view.search(b"s", "ship harbour7", weights=OWN, limit=400)
    assert found == best(filled.documents, "ship harbour7", [(0, 1.0)], 400)


def test_another_analysis_or_other_fields_are_refused(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    in_segments(filled)
    with pytest.raises(KeywordsOutdated):
        open_keywords(filled.folder, KeywordOptions(fields=("own", "title")))
    monkeypatch.setattr(view_module, "ANALYSIS_VERSION", "other")
    with pytest.raises(KeywordsOutdated):
        open_keywords(filled.folder)


def test_a_view_is_made_anew_from_the_records(filled: Filled) -> None:
    in_segments(filled)
    (filled.folder / MANIFEST_NAME).write_bytes(b"damaged")
    documents = [Put(b"s", name, texts) for name, texts in filled.documents.items()]
    options = KeywordOptions(delta_bytes_wanted=2000)  # several segments on the way
    rebuilt = rebuild_keywords(filled.folder, 99, iter(documents), options)
    for one in (rebuilt, open_keywords(filled.folder)):
        assert (one.applied_seq, one.durable_seq) == (99, 99)
        assert one.search(b"s", "ship lantern", weights=OWN, limit=50) == best(
            filled.documents, "ship lantern", [(0, 1.0)], 50
        )


def test_an_interrupted_rebuild_leaves_an_empty_view(filled: Filled) -> None:
    in_segments(filled)

    def broken() -> object:
        yield Put(b"s", b"m0", ("ship", None))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild_keywords(filled.folder, 99, broken())  # type: ignore[arg-type]
    view = open_keywords(filled.folder)
    assert (view.durable_seq, view.statistics().documents) == (0, 0)


def test_what_no_manifest_names_is_removed(filled: Filled) -> None:
    in_segments(filled)
    for name in ("0000000009.postings", "0000000003.postings.new", "MANIFEST.new"):
        (filled.folder / name).write_bytes(b"left by a crash")
    open_keywords(filled.folder)
    assert len(list(filled.folder.iterdir())) == 3


def bytes_of(view: Keywords, folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_the_bytes_of_what_was_deleted_are_gone_after_compaction(filled: Filled) -> None:
    filled.put(["the quick zyzzyva", "another text"], prefix="secretname")
    filled.view.flush()
    filled.view.apply(9, [Delete(b"s", b"secretname0"), Put(b"s", b"secretname1", ("quixotry", None))])
    filled.view.flush()
    filled.view.apply(10, [Put(b"s", b"secretname1", ("plain", None)), Put(b"t", b"only", ("xylophone", None))])
    filled.view.flush()
    filled.view.apply(11, [Delete(b"t", b"only")])
    assert b"zyzzyva" in bytes_of(filled.view, filled.folder)
    assert b"xylophon" in bytes_of(filled.view, filled.folder)
    filled.view.compact()
    left = bytes_of(filled.view, filled.folder)
    for gone in (b"zyzzyva", b"secretname0", b"anoth", b"quixotri", b"xylophon", b"only"):
        assert gone not in left
    assert b"secretname1" in left
    statistics = filled.view.statistics()
    assert (statistics.dead_documents, statistics.scopes, statistics.documents) == (0, 1, 1)


class FullDisk(Files):
    """Refuses some operations, as a full disk does."""

    refuses = ""

    def sync(self, descriptor: int) -> None:
        if self.refuses == "sync":
            raise OSError(errno.ENOSPC, "full")
        super().sync(descriptor)

    def create(self, name: str) -> int:
        if self.refuses and name.endswith(self.refuses):
            raise OSError(errno.ENOSPC, "full")
        return super().create(name)


@pytest.mark.parametrize("refuses", ["sync", ".postings", MANIFEST_NAME])
def test_a_full_disk_holds_up_the_flush_and_nothing_else(folder: Path, refuses: str) -> None:
    files = FullDisk(folder)
    view = open_keywords(folder, files=files)
    view.apply(1, [Put(b"s", b"a", ("ship", None))])
    view.flush()
    documents: dict[bytes, tuple[str | None, ...]] = {b"a": ("ship", None)}
    for number in range(3):
        documents[b"%d" % number] = ("ship", None)
        view.apply(view.applied_seq + 1, [Put(b"s", b"%d" % number, ("ship", None))])
        files.refuses = refuses
        with pytest.raises(OSError, match="full"):
            view.flush()
        assert view.durable_seq == 1
        assert view.search(b"s", "ship", weights=OWN, limit=9) == best(documents, "ship", [(0, 1.0)], 9)
    if refuses != MANIFEST_NAME:
        assert view.pressure > 0
    files.refuses = ""
    view.flush()
    for one in (view, open_keywords(folder)):
        assert one.durable_seq == view.applied_seq
        assert one.search(b"s", "ship", weights=OWN, limit=9) == best(documents, "ship", [(0, 1.0)], 9)


def test_pressure_rises_with_the_delta_and_falls_with_a_flush(folder: Path) -> None:
    options = KeywordOptions(delta_bytes_wanted=50_000, delta_bytes_max=100_000)
    view = open_keywords(folder, options)
    seq = 0
    while view.pressure < 1:
        seq += 1
        view.apply(seq, [Put(b"s", b"%d" % seq, (f"ship{seq}", None))])
    assert view.wants_flush
    assert view.statistics().delta_documents == seq
    view.flush()
    statistics = view.statistics()
    assert (view.pressure, view.wants_flush, statistics.delta_bytes) == (0, False, 0)
    assert (statistics.segments, statistics.documents) == (1, seq)
    assert statistics.segment_bytes == sum(path.stat().st_size for path in folder.glob("*.postings"))
