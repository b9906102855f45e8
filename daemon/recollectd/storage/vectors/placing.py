"""Where the rows of a segment go that is to be built, and which graph it begins with.

*Anew*: the live rows of all sources one behind the other, and no graph. *Extend*: the first source keeps its row
numbers and its graph; rows that died become holes, new rows take the holes first and then what follows. *Go on*: the
same with a graph that a build before has parked: whatever source a row is in now, it stays where that graph has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from recollectd._native.checksum import xxh64
from recollectd._native.vector_ids import IdTable
from recollectd.storage.vectors.files import map_file
from recollectd.storage.vectors.parking import REMOVED_SHARE_MAX, Parked
from recollectd.storage.vectors.spec import Spec

Rows = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.intp]


class Source(msgspec.Struct, frozen=True):
    """Rows to take. table: whether ids are a table as segments have it, or a msgpack list.

    dead: path of a file with a bit per row, or empty when all live.
    """

    rows: str
    ids: str
    count: int
    table: bool
    dead: str = ""


class Opened:
    """A source, mapped. alive: its live rows."""

    def __init__(self, source: Source, spec: Spec) -> None:
        self.count = source.count
        self.rows: Rows = np.frombuffer(map_file(Path(source.rows)), np.uint8).reshape(source.count, spec.row_bytes)
        content = map_file(Path(source.ids))
        table = IdTable(content) if source.table else None
        listed: list[bytes] = [] if source.table else msgspec.msgpack.decode(content, type=list[bytes])
        self.record_id: Callable[[int], bytes] = (table if table is not None else listed).__getitem__
        dead = np.zeros(source.count, bool)
        if source.dead:
            bits = np.frombuffer(map_file(Path(source.dead)), np.uint8)
            dead = np.unpackbits(bits, count=source.count, bitorder="little").astype(bool)
        self.alive: Numbers = np.flatnonzero(~dead)


class Place(NamedTuple):
    """The live rows of a source and where each goes."""

    source: Opened
    targets: Numbers


class Placing(NamedTuple):
    """places: of all sources; total: rows of the segment, holes included; entered: those to enter into the graph.

    graph: path of what it begins with, or empty; removed: rows that are in it and must go. saved: rows that need not be
    entered because a build before has done it.
    """

    places: list[Place]
    total: int
    entered: Numbers
    removed: Numbers
    graph: str = ""
    saved: int = 0


def place_anew(sources: Sequence[Opened]) -> Placing:
    """Place all rows one behind the other."""
    return _behind(sources, 0, np.empty(0, np.intp))


def place_extending(sources: Sequence[Opened], graph: str) -> Placing:
    """Leave the first source's rows where they are."""
    kept = sources[0]
    dead = np.setdiff1d(np.arange(kept.count), kept.alive, assume_unique=True)
    placing = _behind(sources[1:], kept.count, dead)
    return placing._replace(places=[Place(kept, kept.alive), *placing.places], removed=dead, graph=graph)


def _behind(sources: Sequence[Opened], total: int, holes: Numbers) -> Placing:
    places = []
    for source in sources:
        into_holes, holes = holes[: len(source.alive)], holes[len(source.alive) :]
        appended = len(source.alive) - len(into_holes)
        places.append(Place(source, np.concatenate([into_holes, np.arange(total, total + appended)])))
        total += appended
    entered = np.concatenate([place.targets for place in places]) if places else np.empty(0, np.intp)
    return Placing(places, total, entered, np.empty(0, np.intp))


def place_going_on(sources: Sequence[Opened], parked: Parked, planned: Placing, *, spotless: bool) -> Placing:
    """Leave rows where a parked graph has them, or return what was planned where that is not worth it."""
    found = [_parked_rows(source, parked) for source in sources]
    taken = np.zeros(len(parked.digests), bool)
    for rows in found:
        taken[rows[rows >= 0]] = True
    removed = np.array([row for row in parked.row_of.values() if not taken[row]], np.intp)
    holes, total = np.flatnonzero(~taken), len(taken)
    places, entered = [], []
    for source, rows in zip(sources, found, strict=True):
        missing = np.flatnonzero(rows < 0)
        into_holes, holes = holes[: len(missing)], holes[len(missing) :]
        appended = len(missing) - len(into_holes)
        rows[missing] = np.concatenate([into_holes, np.arange(total, total + appended)])
        total += appended
        places.append(Place(source, rows))
        entered.append(rows[missing])
    placing = Placing(places, total, np.concatenate(entered), removed, str(parked.graph_path))
    saved = len(planned.entered) - len(placing.entered)
    worn = len(removed) > REMOVED_SHARE_MAX * len(parked.row_of)
    # To remove a row costs about what it costs to enter one.
    if worn or saved <= len(removed) - len(planned.removed) or (spotless and len(removed)):
        return planned
    return placing._replace(saved=saved)


def _parked_rows(source: Opened, parked: Parked) -> Numbers:
    """Return for each live row which row of the parked graph it is, or -1."""
    found = np.full(len(source.alive), -1, np.intp)
    row_of, digests = parked.row_of, parked.digests.tolist()
    for at, row in enumerate(source.alive.tolist()):
        parked_row = row_of.get(source.record_id(row), -1)
        if parked_row >= 0 and digests[parked_row] == xxh64(source.rows[row]):
            found[at] = parked_row
    return found
