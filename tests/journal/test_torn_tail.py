"""What a crash may leave at the end is cut off, nothing before it is, and the journal goes on."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recollectd.journal.interface import JournalCorrupt
from support.journal_images import (
    SECRET,
    SegmentImage,
    batch_image,
    begin,
    contents,
    everything,
    lay_out,
    reopen,
    settle,
)

SECTOR = 512


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def assert_goes_on(directory: Path, expected: list[bytes]) -> None:
    """The journal opens with these entries, takes another, and has all of it at the next opening."""
    journal = reopen(directory)
    assert everything(journal) == expected
    assert journal.synced_seq == journal.last_seq == len(expected)
    assert journal.append([b"next"], 10**9) == len(expected) + 1
    settle(journal)
    journal.close()
    journal = reopen(directory)
    assert everything(journal) == [*expected, b"next"]
    journal.close()


def with_tear(image: SegmentImage, batch: int, tear: bytes) -> bytearray:
    """Return the segment's bytes with a batch replaced by what a crash left of it."""
    data = image.data()
    offset = image.offsets[batch]
    assert len(tear) == len(image.batches[batch])
    data[offset : offset + len(tear)] = tear
    return data


def three_batches() -> SegmentImage:
    return SegmentImage().add(synced=0).add(b"a", b"b", synced=0).add(b"torn", b"batch", synced=2)


@pytest.mark.parametrize("kept", range(0, 104))
def test_a_tear_at_every_byte_of_the_last_batch(directory: Path, kept: int) -> None:
    image = three_batches()
    last = image.batches[2]
    assert len(last) == 96
    data = with_tear(image, 2, last[:kept] + bytes(max(len(last) - kept, 0)))
    whole = kept >= 91  # what is missing then is padding
    lay_out(directory, image)
    (directory / image.name).write_bytes(data)
    assert_goes_on(directory, [b"a", b"b", b"torn", b"batch"] if whole else [b"a", b"b"])


@pytest.mark.parametrize("missing", range(0, 91))
def test_a_tear_whose_beginning_is_missing(directory: Path, missing: int) -> None:
    """Pages arrive in any order: the end of a batch may be on the disk without its beginning."""
    image = three_batches()
    data = with_tear(image, 2, bytes(missing + 1) + image.batches[2][missing + 1 :])
    lay_out(directory, image)
    (directory / image.name).write_bytes(data)
    journal = reopen(directory)
    assert everything(journal) == [b"a", b"b"]
    journal.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 11)), st.integers(0, 2**32))
def test_any_sectors_of_unsynced_batches_may_be_missing(tmp_path: Path, lost: set[int], seed: int) -> None:
    """Three batches were in flight; recovery keeps the whole ones before the first that is not."""
    rng = random.Random(seed)
    image = SegmentImage().add(synced=0).add(b"kept", synced=0)
    for length in (1500, 2000, 1800):
        image.add(rng.randbytes(length), synced=1)
    data = image.data()
    first = image.offsets[2] // SECTOR
    for sector in sorted(lost):
        begins = (first + sector) * SECTOR
        begins, ends = max(begins, image.offsets[2]), begins + SECTOR
        data[begins:ends] = bytes(ends - begins)
    expected = [b"kept"]
    for offset, batch in zip(image.offsets[2:], image.batches[2:], strict=True):
        if data[offset : offset + len(batch)] != batch:
            break
        expected.append(batch[77 : 77 + struct.unpack_from("<I", batch, 72)[0]])
    directory = tmp_path / f"journal-{rng.random()}"
    lay_out(directory, image)
    (directory / image.name).write_bytes(data)
    assert_goes_on(directory, expected)


def test_two_unsynced_batches_the_first_torn_the_second_whole(directory: Path) -> None:
    image = SegmentImage().add(synced=0).add(b"a", synced=0).add(b"torn", synced=1).add(b"whole", synced=1)
    lay_out(directory, image)
    (directory / image.name).write_bytes(with_tear(image, 2, bytes(len(image.batches[2]))))
    assert_goes_on(directory, [b"a"])


def test_the_same_with_proof_that_the_first_was_durable_is_corruption(directory: Path) -> None:
    image = SegmentImage().add(synced=0).add(b"a", synced=0).add(b"torn", synced=1).add(b"whole", synced=2)
    lay_out(directory, image)
    (directory / image.name).write_bytes(with_tear(image, 2, bytes(len(image.batches[2]))))
    with pytest.raises(JournalCorrupt) as refusal:
        reopen(directory)
    assert (refusal.value.segment, refusal.value.offset) == (image.name, image.offsets[2])


def test_nothing_of_a_tear_remains(directory: Path) -> None:
    """Whatever is cut off is zeros afterwards, so that it cannot come back behind later batches."""
    image = SegmentImage().add(synced=0).add(b"a", synced=0).add(b"torn" * 500, synced=1).add(b"whole" * 900, synced=1)
    lay_out(directory, image)
    data = with_tear(image, 2, bytes(72) + image.batches[2][72:])
    data[12_000] = 1  # far behind
    (directory / image.name).write_bytes(data)
    journal = reopen(directory)
    journal.close()
    after = contents(directory)[image.name]
    assert after[: image.offsets[2]] == data[: image.offsets[2]]
    assert after[image.offsets[2] + 72 :] == bytes(len(after) - image.offsets[2] - 72)  # the seal, then nothing


def forged(secret: int, *, first_seq: int, synced_seq: int) -> bytes:
    return batch_image(
        [b"forged"], epoch=9, first_seq=first_seq, time_us=0, synced_seq=synced_seq, previous=0, secret=secret
    )


@pytest.mark.parametrize("shift", range(8))
def test_users_cannot_forge_a_batch_in_their_data(directory: Path, shift: int) -> None:
    """Behind a tear the search comes across what users stored; without the segment's secret that proves nothing."""
    image = SegmentImage().add(synced=0).add(b"a", synced=0)
    evil = b"".join(
        forged(secret, first_seq=2, synced_seq=10**6) for secret in (0, SECRET ^ 1, image.previous, 2**64 - 1)
    )
    image.add(b"x" * (shift + 3) + evil, synced=1)
    lay_out(directory, image)
    (directory / image.name).write_bytes(with_tear(image, 2, bytes(72) + image.batches[2][72:]))
    assert_goes_on(directory, [b"a"])


def test_with_the_secret_they_could(directory: Path) -> None:
    """The test above can fail: the same bytes under the right secret are taken for proof."""
    image = SegmentImage().add(synced=0).add(b"a", synced=0)
    image.add(b"xxx" + forged(SECRET, first_seq=2, synced_seq=10**6), synced=1)
    lay_out(directory, image)
    (directory / image.name).write_bytes(with_tear(image, 2, bytes(72) + image.batches[2][72:]))
    with pytest.raises(JournalCorrupt, match="shows that it was durable"):
        reopen(directory)


def test_a_copy_of_earlier_batches_in_a_torn_one_proves_nothing(directory: Path) -> None:
    """A user may well store a copy of this very file, sealing batches and all."""
    image = SegmentImage().add(synced=0).add(b"a", synced=0).add(b"b", synced=1).add(synced=2).add(synced=2)
    copy = b"".join(image.batches)
    image.add(b"xxx" + copy, synced=2)
    lay_out(directory, image)
    (directory / image.name).write_bytes(with_tear(image, 5, bytes(72) + image.batches[5][72:]))
    assert_goes_on(directory, [b"a", b"b"])


def test_a_copy_of_what_an_earlier_recovery_cut_off_proves_nothing(directory: Path) -> None:
    """Somebody kept the file as it was before that, in which the commit now due had already been written once."""
    cut_off = SegmentImage().add(synced=0).add(b"a", synced=0).add(b"lost", synced=1).add(b"lost too", synced=1)
    image = SegmentImage().add(synced=0).add(b"a", synced=0).add(synced=1, epoch=2).add(b"b", synced=1, epoch=2)
    image.add(b"xxx" + cut_off.batches[3], synced=2, epoch=2)
    lay_out(directory, image)
    (directory / image.name).write_bytes(with_tear(image, 4, bytes(72) + image.batches[4][72:]))
    assert_goes_on(directory, [b"a", b"b"])


def test_a_kill_loses_nothing_that_was_written(directory: Path) -> None:
    """Copying the files of a running journal is what a kill leaves: no sealing batch, nothing closed."""
    journal = begin(directory)
    expected = [b"%d" % seq for seq in range(300)]
    for entry in expected:
        journal.append([entry], 1)
    settle(journal)
    copy = directory.with_name("copy")
    copy.mkdir()
    for name, data in contents(directory).items():
        (copy / name).write_bytes(data)
    journal.close()
    assert_goes_on(copy, expected)
