"""Looking at a journal without touching it: damaged, or in use by a running daemon.

What comes out is plain data, in the order of the disk: a SegmentReport, the BatchReports of its batches, the next
segment. Nothing is raised about what is found there; `problem` says it, and inspection goes on behind it as far as
whole batches can be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from recollectd.journal.format import (
    BATCHES_OFFSET,
    BatchHeader,
    Damaged,
    Newer,
    SegmentHeader,
    split_entries,
)
from recollectd.journal.reader import SegmentReader
from recollectd.journal.recovery import find_proof
from recollectd.journal.segments import list_segments, list_spares, segment_name

UNFINISHED = "unfinished: torn by a crash, or being written at this moment"

Decode = Callable[[bytes], object]
Chain = BatchHeader | SegmentHeader


class EntryReport(NamedTuple):
    """One commit. stored_bytes is its size on disk; decoded is what the caller's function made of it, or None."""

    seq: int
    bytes: int
    stored_bytes: int
    compressed: bool
    decoded: object


class BatchReport(NamedTuple):
    """One batch, or (with a problem and a size of 0) a place where none can be read. Times in microseconds UTC."""

    segment: str
    offset: int
    bytes: int
    sealing: bool
    epoch: int
    first_seq: int
    entry_count: int
    time_us: int
    synced_seq: int
    checksum: int
    entries: tuple[EntryReport, ...]
    problem: str


class SegmentReport(NamedTuple):
    """One segment file; the fields after file_bytes are 0 and empty where its header cannot be read."""

    segment: str
    file_bytes: int
    epoch: int
    first_seq: int
    created_us: int
    store_id: str
    problem: str


def inspect_journal(
    directory: Path, *, decode: Decode | None = None, from_seq: int = 1
) -> Iterator[SegmentReport | BatchReport]:
    """Iterate over segments and their batches that have seqs of from_seq or later, with what is wrong with them.

    decode turns an entry into plain data; what it raises becomes the entry's decoded value, as text. Raises OSError
    when the folder or a file cannot be read; a segment that is deleted meanwhile is passed over.
    """
    chain: Chain | None = None
    paths = list_segments(directory)
    for path, successor in zip_longest(paths, paths[1:]):
        if successor and successor.name <= segment_name(from_seq):
            continue
        try:
            reader = SegmentReader(path)
        except FileNotFoundError:
            continue
        with reader:
            header, report = _segment(reader, chain)
            yield report
            chain = header or chain
            for found, payload, batch in _batches(reader, chain, newest=successor is None):
                chain = found if payload is not None else None
                if batch.problem or max(batch.first_seq, found.last_seq if found else 0) >= from_seq:
                    yield _with_entries(reader, found, payload, batch, decode)


def list_spare_files(directory: Path) -> list[tuple[str, int]]:
    """Return name and size of the files allocated ahead."""
    return [(path.name, path.stat().st_size) for path in list_spares(directory)]


def _segment(reader: SegmentReader, chain: Chain | None) -> tuple[SegmentHeader | None, SegmentReport]:
    name = reader.path.name
    try:
        header = reader.header()
    except (Damaged, Newer) as found:
        return None, SegmentReport(name, reader.file_bytes, 0, 0, 0, "", str(found))
    problem = "" if segment_name(header.first_seq) == name else "the name is not that of its first seq"
    return header, SegmentReport(
        segment=name,
        file_bytes=reader.file_bytes,
        epoch=header.epoch,
        first_seq=header.first_seq,
        created_us=header.created_us,
        store_id=header.store_id.hex(),
        problem=problem or _link_problem(chain, header),
    )


def _due(chain: Chain) -> tuple[int, int]:
    """Return the seq and the checksum that what follows must have been written after."""
    if isinstance(chain, BatchHeader):
        return chain.last_seq + 1, chain.checksum
    return chain.first_seq, chain.previous_checksum


def _link_problem(chain: Chain | None, header: Chain) -> str:
    """Return what is wrong between a header and what stands before it in the journal."""
    if chain is None:
        return ""
    due, checksum = _due(chain)
    if header.first_seq != due:
        return f"a gap: seq {due} is due, {header.first_seq} is here"
    if header.previous_checksum != checksum:
        return "the chain is broken: it was written after another batch than the one before it here"
    return "" if header.epoch >= chain.epoch else f"epoch {header.epoch} follows epoch {chain.epoch}"


def _look(reader: SegmentReader, offset: int) -> tuple[BatchHeader | None, memoryview | None, str]:
    """Return what can be trusted of the batch at this offset, and what is wrong with the rest."""
    header = None
    try:
        header = reader.batch_header_at(offset)
        return header, reader.payload_at(offset, header), ""
    except (Damaged, Newer) as found:
        return header, None, str(found)


def _find(reader: SegmentReader, offset: int, chain: Chain | None) -> tuple[int | None, bool]:
    """Return where the next readable header stands, and whether one behind shows that this offset was durable."""
    try:
        later = reader.find_header(offset + 1)
        due, epoch = (_due(chain)[0], chain.epoch) if chain else (0, 0)
        return later and later[0], find_proof(reader, offset, due, epoch) is not None
    except Newer:
        return None, True


def _batches(
    reader: SegmentReader, chain: Chain | None, *, newest: bool
) -> Iterator[tuple[BatchHeader | None, memoryview | None, BatchReport]]:
    """Iterate over the batches of one segment: what can be trusted of each, and the report without entries."""
    offset = BATCHES_OFFSET
    while offset < reader.file_bytes:
        header, payload, problem = _look(reader, offset)
        later = None
        if problem:
            later, durable = _find(reader, offset, chain)
            # Whatever a running daemon wrote behind this place, it had written this place before.
            reader.forget()
            header, payload, problem = _look(reader, offset)
            if not header and reader.used_bytes(offset) == offset:
                return
            if problem and newest and not durable:
                problem = UNFINISHED
        if header:
            problem = problem or _link_problem(chain, header)
        yield header, payload, _report(reader.path.name, offset, header, problem)
        chain = header if payload is not None else None  # a link to damaged bytes says nothing
        if not header and later is None:
            return
        offset = offset + header.size if header else later or reader.file_bytes


def _report(segment: str, offset: int, header: BatchHeader | None, problem: str) -> BatchReport:
    if header is None:
        return BatchReport(segment, offset, 0, False, 0, 0, 0, 0, 0, 0, (), problem)
    return BatchReport(
        segment=segment,
        offset=offset,
        bytes=header.size,
        sealing=header.sealing,
        epoch=header.epoch,
        first_seq=header.first_seq,
        entry_count=header.entry_count,
        time_us=header.time_us,
        synced_seq=header.synced_seq,
        checksum=header.checksum,
        entries=(),
        problem=problem,
    )


def _with_entries(
    reader: SegmentReader,
    header: BatchHeader | None,
    payload: memoryview | None,
    report: BatchReport,
    decode: Decode | None,
) -> BatchReport:
    """Return the report with the batch's entries, as far as they can be read."""
    if header is None or payload is None:
        return report
    entries = []
    try:
        for seq, (compressed, stored) in enumerate(split_entries(header, payload), header.first_seq):
            entry = reader.decompress(stored) if compressed else bytes(stored)
            entries.append(EntryReport(seq, len(entry), len(stored), compressed, _decoded(decode, entry)))
    except (Damaged, Newer) as found:
        report = report._replace(problem=report.problem or str(found))
    return report._replace(entries=tuple(entries))


def _decoded(decode: Decode | None, entry: bytes) -> object:
    if decode is None:
        return None
    try:
        return decode(entry)
    except Exception as error:
        return f"cannot be decoded: {error}"
