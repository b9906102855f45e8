"""Random appends, seals, trims, reopenings, kills and power cuts, against a list.

A crash is played on the files of a journal that was closed: they are put back to the moment after some batch was
written. A kill leaves them like that. A power cut takes back any sectors of the batches which that batch does not vouch
for. What it does vouch for must come back, and what comes back is a prefix of what was appended.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recollectd.journal.inspection import BatchReport, inspect_journal
from recollectd.journal.interface import JournalOptions
from recollectd.journal.local import PACK_INLINE_BYTES_MAX
from support.journal_images import begin, everything, reopen, settle

OPTIONS: Final = JournalOptions(segment_bytes=16 * 1024, compress_bytes_min=500)
SECTOR: Final = 512


def first_unsure(batches: list[BatchReport]) -> int:
    """Return the offset from which a power cut may take back sectors, right after the last of these was written.

    The writer's two promises: what a batch vouches for is durable, and so is a sealing batch before another is written.
    """
    last = batches[-1]
    offset = last.offset
    for batch in reversed(batches[:-1]):
        if batch.sealing or last.sealing or batch.first_seq <= last.synced_seq:
            break
        offset = batch.offset
    return offset


def put_back(directory: Path, rng: random.Random, *, power_cut: bool) -> tuple[int, int]:
    """Undo what happened after one of the last batches was written; return what was durable and what was written."""
    batches = [report for report in inspect_journal(directory) if isinstance(report, BatchReport)]
    last = batches[-rng.randint(1, min(len(batches), 12))]
    for path in directory.glob("0*.segment"):
        if path.name > last.segment:
            path.unlink()
    path = directory / last.segment
    data = bytearray(path.read_bytes())
    end = last.offset + last.bytes
    data[end:] = bytes(len(data) - end)
    if power_cut:
        unsure = first_unsure([batch for batch in batches if batch.segment == path.name and batch.offset < end])
        for begins in range(unsure // SECTOR * SECTOR, end, SECTOR):
            if rng.random() < 0.5:
                lost = slice(max(begins, unsure), min(begins + SECTOR, end))
                data[lost] = bytes(lost.stop - lost.start)
    path.write_bytes(data)
    return last.synced_seq, last.first_seq + last.entry_count - 1


class JournalMachine(RuleBasedStateMachine):
    """The journal beside `model`, the list of all entries ever appended and not lost."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="recollectd-journal-"))
        self.directory = self.root / "journal"
        self.model: list[bytes] = []

    @initialize()
    def make(self) -> None:
        self.journal = begin(self.directory, OPTIONS)

    @rule(
        sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
        seed=st.integers(0, 2**32),
        compressible=st.booleans(),
    )
    def append(self, sizes: list[int], seed: int, compressible: bool) -> None:
        rng = random.Random(seed)
        entries = [bytes([seed % 256]) * size if compressible else rng.randbytes(size) for size in sizes]
        self.model += entries
        assert self.journal.append(entries, len(self.model)) == len(self.model)

    @rule(count=st.integers(2, 40), size=st.integers(0, 700), seed=st.integers(0, 2**32))
    def append_in_a_row(self, count: int, size: int, seed: int) -> None:
        """Faster than a disk syncs, so that several batches are in flight."""
        entry = random.Random(seed).randbytes(size)
        for _ in range(count):
            self.model.append(entry)
            self.journal.append([entry], len(self.model))

    @rule(size=st.integers(PACK_INLINE_BYTES_MAX, PACK_INLINE_BYTES_MAX + 1000))
    def append_large(self, size: int) -> None:
        self.model.append(bytes(size))
        assert self.journal.append([bytes(size)], len(self.model)) == len(self.model)

    @rule()
    def seal(self) -> None:
        self.journal.seal()

    @rule()
    def settle(self) -> None:
        settle(self.journal)
        assert self.journal.synced_seq == len(self.model)

    @rule(share=st.floats(0, 1))
    def trim(self, share: float) -> None:
        settle(self.journal)
        to_seq = int(len(self.model) * share)
        before = self.journal.first_seq
        self.journal.trim(to_seq)
        assert before <= self.journal.first_seq <= max(to_seq + 1, before)

    @rule(share=st.floats(0, 1))
    def read(self, share: float) -> None:
        settle(self.journal)
        first_seq = self.journal.first_seq
        seq = first_seq + int((len(self.model) + 1 - first_seq) * share)
        entries: list[bytes] = []
        for batch in self.journal.read(seq):
            entries += batch.entries[max(seq - batch.first_seq, 0) :]
        assert entries == self.model[seq - 1 :]

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = reopen(self.directory, OPTIONS)
        assert everything(self.journal) == self.model[self.journal.first_seq - 1 :]

    @rule(seed=st.integers(0, 2**32), power_cut=st.booleans())
    def crash(self, seed: int, power_cut: bool) -> None:
        self.journal.close()
        durable, written = put_back(self.directory, random.Random(seed), power_cut=power_cut)
        self.journal = reopen(self.directory, OPTIONS)
        assert durable <= self.journal.last_seq <= written
        assert power_cut or self.journal.last_seq == written
        del self.model[self.journal.last_seq :]
        assert everything(self.journal) == self.model[self.journal.first_seq - 1 :]

    @invariant()
    def numbers_fit(self) -> None:
        if hasattr(self, "journal"):
            assert self.journal.first_seq <= self.journal.last_seq + 1 == len(self.model) + 1
            assert self.journal.synced_seq <= self.journal.last_seq

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
        shutil.rmtree(self.root)


JournalMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJournal = JournalMachine.TestCase
