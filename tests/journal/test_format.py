"""The bytes on disk. Do not change these tests to fit the code: journals of that form exist."""

from __future__ import annotations

import re
import struct

import pytest

from recollectd.journal import format as journal_format
from recollectd.journal.format import (
    BatchHeader,
    Damaged,
    Newer,
    SegmentHeader,
    check_payload,
    pack_segment_header,
    split_entries,
    unpack_batch_header,
    unpack_segment_header,
)
from recollectd.journal.segments import segment_name
from support.journal_images import SECRET, STORE_ID, batch_image, segment_header_image, slow_xxh64

SEGMENT_GOLDEN = bytes.fromhex(
    "52434c4453454731 0100 0000 00000000 0300000000000000 0800000000000000 0100000000000000"
    "000102030405060708090a0b0c0d0e0f 0500000000000000 efcdab8967452301 3e5ca3c8eee9a7be"
)
BATCH_GOLDEN = bytes.fromhex(
    "52434c42 0100 0000 0d000000 02000000 0300000000000000 0700000000000000 40420f0000000000 0600000000000000"
    "0500000000000000 815178daec701b84 7cc8c96b22bd0fec 01000000 00 61 02000000 00 6263 000000"
)
SEGMENT = SegmentHeader(epoch=3, first_seq=8, created_us=1, store_id=STORE_ID, previous_checksum=5, secret=SECRET)


def resealed(image: bytes, offset: int, value: bytes) -> bytes:
    """Return a batch with a field changed and its checksums made right again."""
    head = (image[:offset] + value + image[offset + len(value) :])[:56]
    header_checksum = slow_xxh64(head, SECRET)
    return head + struct.pack("<QQ", header_checksum, slow_xxh64(image[72:], header_checksum)) + image[72:]


def test_names_are_golden() -> None:
    assert segment_name(1) == "00000000000000000001.segment"
    assert segment_name(2**63) == "09223372036854775808.segment"


def test_segment_header_is_golden() -> None:
    assert pack_segment_header(SEGMENT) == SEGMENT_GOLDEN
    assert unpack_segment_header(SEGMENT_GOLDEN) == SEGMENT


def test_batch_is_golden() -> None:
    header = unpack_batch_header(BATCH_GOLDEN, SECRET)
    assert header == BatchHeader(
        sealing=False,
        payload_bytes=13,
        entry_count=2,
        epoch=3,
        first_seq=7,
        time_us=1_000_000,
        synced_seq=6,
        previous_checksum=5,
        header_checksum=0x841B70ECDA785181,
        checksum=0xEC0FBD226BC9C87C,
    )
    assert (header.size, header.last_seq) == (88, 8)
    payload = memoryview(BATCH_GOLDEN)[72:]
    check_payload(header, payload)
    assert [(compressed, bytes(entry)) for compressed, entry in split_entries(header, payload)] == [
        (False, b"a"),
        (False, b"bc"),
    ]


def test_the_description_shows_the_golden_batch() -> None:
    """The worked example of the module's docstring is the real thing, but for the three checksums."""
    example = re.findall(r"^    ((?:[0-9a-f]{4,16} ?)+|[0-9a-f ]+?)  +\S", journal_format.__doc__ or "", re.MULTILINE)
    shown = bytes.fromhex("".join(example).replace(" ", ""))
    assert shown == BATCH_GOLDEN[:48] + BATCH_GOLDEN[72:]


def test_a_sealing_batch_has_no_entries() -> None:
    image = batch_image([], epoch=1, first_seq=9, time_us=0, synced_seq=8, previous=0, secret=SECRET)
    header = unpack_batch_header(image, SECRET)
    assert header.sealing
    assert (header.size, header.last_seq) == (72, 8)


@pytest.mark.parametrize("position", range(80))
def test_every_byte_of_a_segment_header_is_guarded(position: int) -> None:
    flipped = bytearray(SEGMENT_GOLDEN)
    flipped[position] ^= 0x10
    with pytest.raises(Damaged):
        unpack_segment_header(bytes(flipped))


@pytest.mark.parametrize("position", range(88))
def test_every_byte_of_a_batch_is_guarded(position: int) -> None:
    flipped = bytearray(BATCH_GOLDEN)
    flipped[position] ^= 0x01

    def read() -> None:
        header = unpack_batch_header(bytes(flipped), SECRET)
        check_payload(header, memoryview(flipped)[72:])

    with pytest.raises(Damaged):
        read()


def test_a_batch_of_another_segment_is_none_of_this_one() -> None:
    with pytest.raises(Damaged, match="checksum"):
        unpack_batch_header(BATCH_GOLDEN, SECRET + 1)


@pytest.mark.parametrize("length", [0, 1, 71])
def test_a_cut_header_is_damaged(length: int) -> None:
    with pytest.raises(Damaged, match="ends within"):
        unpack_batch_header(BATCH_GOLDEN[:length], SECRET)
    with pytest.raises(Damaged, match="too short"):
        unpack_segment_header(SEGMENT_GOLDEN[:length])


@pytest.mark.parametrize("length", [0, 15, 17, 24])
def test_a_payload_of_another_length_is_damaged(length: int) -> None:
    with pytest.raises(Damaged, match="ends within"):
        check_payload(unpack_batch_header(BATCH_GOLDEN, SECRET), (BATCH_GOLDEN + bytes(8))[72 : 72 + length])


def test_newer_formats_are_told_from_damage() -> None:
    with pytest.raises(Newer, match="segment format 2"):
        unpack_segment_header(segment_header_image(epoch=1, first_seq=1, previous=0, secret=0, number=2))
    with pytest.raises(Newer, match="batch format 2"):
        unpack_batch_header(resealed(BATCH_GOLDEN, 4, b"\2\0"), SECRET)
    with pytest.raises(Newer, match="flags 0x2"):
        unpack_batch_header(resealed(BATCH_GOLDEN, 6, b"\2\0"), SECRET)


def entries_of(payload: bytes, entry_count: int) -> list[bytes]:
    header = unpack_batch_header(BATCH_GOLDEN, SECRET)._replace(payload_bytes=len(payload), entry_count=entry_count)
    return [bytes(entry) for _, entry in split_entries(header, memoryview(payload))]


def test_entries_must_fill_their_batch() -> None:
    assert entries_of(b"\1\0\0\0\0a", 1) == [b"a"]
    with pytest.raises(Damaged, match="longer than its entries"):
        entries_of(b"\1\0\0\0\0ab", 1)
    with pytest.raises(Damaged, match="begins behind"):
        entries_of(b"\1\0\0\0\0a", 2)
    with pytest.raises(Damaged, match="ends behind"):
        entries_of(b"\2\0\0\0\0a", 1)
    with pytest.raises(Newer, match="entry flags"):
        entries_of(b"\1\0\0\0\2a", 1)
