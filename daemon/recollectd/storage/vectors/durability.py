"""What of the view is on disk: opening it, checkpoints of the deltas, segments that take the place of others.

Every step writes new files, syncs them and their names, and then replaces the manifest, which is the moment it counts;
what the manifest no longer names is removed after it, and again when the view is opened. So a crash between any two
operations leaves the state before the step or the one after it.

A manifest has one seq for all spaces and may know more of single ones: a space whose segments cover more passes over
what the journal brings again.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from recollectd.storage.durable import FOLDER_MODE, sync_folder
from recollectd.storage.vectors.building import write_dead
from recollectd.storage.vectors.delta import Delta
from recollectd.storage.vectors.dumps import Section, encode_section, puts_after, read_dump
from recollectd.storage.vectors.errors import FileDamaged
from recollectd.storage.vectors.files import mark_of, write_parts
from recollectd.storage.vectors.manifest import (
    DUMPS_NAME,
    GRAPH_NAME,
    MANIFEST_NAME,
    PARKED_NAME,
    SEGMENTS_NAME,
    DumpEntry,
    Manifest,
    SegmentEntry,
    SpaceEntry,
    read_manifest,
    write_manifest,
)
from recollectd.storage.vectors.options import VectorOptions
from recollectd.storage.vectors.parking import SECOND, WHOLE, parked_name
from recollectd.storage.vectors.segment import Segment
from recollectd.storage.vectors.space import Frozen, Space

logger: Final = logging.getLogger(__name__)

_ROWS_STEP: Final = 512


class Durability:
    """The folder of a view. One thread at a time does a step (`lock`); apply and searches never wait for it.

    lost: the manifest was missing or damaged though there were files; every space must be rebuilt.
    """

    def __init__(self, folder: Path, options: VectorOptions) -> None:
        self.folder = folder
        self.options = options
        self.lock = threading.RLock()
        self._numbers = threading.Lock()
        self.lost = ""
        self._make_folders()
        try:
            self.manifest = read_manifest(folder)
        except FileDamaged as error:
            self.manifest = Manifest()
            if self._holds_anything():
                self.lost = str(error)
                logger.error("vectors: %s; all spaces must be rebuilt", error)
            else:
                # Files without a manifest mean from here on that it was lost.
                write_manifest(folder, self.manifest)
        self._next_number = self.manifest.next_number
        self._remove_strangers()

    def take_number(self) -> int:
        """Return a number for a space, a segment or a dump that none has or had."""
        with self._numbers:  # not `lock`, which is held while files are written
            self._next_number += 1
            return self._next_number - 1

    def segment_folder(self, number: int) -> Path:
        """Return where a segment's files are."""
        return self.folder / SEGMENTS_NAME / str(number)

    # -- builds that were cut off -----------------------------------------------------------------------------------

    def parked_folder(self, space: Space, what: int | str) -> Path:
        """Return where a build keeps its graph; see `parked_name`."""
        return self.folder / PARKED_NAME / parked_name(space.number, what)

    def remove_parked(self, space: Space, gone: Iterable[int | str]) -> None:
        """Throw away what was parked for a space."""
        for what in gone:
            shutil.rmtree(self.parked_folder(space, what), ignore_errors=True)

    # -- opening ----------------------------------------------------------------------------------------------------

    def open_spaces(self) -> list[Space]:
        """Return all spaces as the files tell; those whose files are damaged are empty and say so."""
        self._graph_bytes_open = 0
        spaces = {entry.number: self._open_space(entry) for entry in self.manifest.spaces}
        for dump in self.manifest.dumps:
            self._load_dump(dump, spaces)
        for space in spaces.values():
            space.loaded(self.manifest.seq)
        return list(spaces.values())

    def open_segment(self, entry: SegmentEntry, spec_of: Space | SpaceEntry, beside: int) -> Segment:
        """Return a segment, its files checked. beside: bytes of all other graphs. Raises FileDamaged."""
        budget = self.options.graph_bytes_max
        crowded = bool(budget and beside + _graph_bytes(entry) > budget)
        return Segment(self.segment_folder(entry.number), entry, spec_of.spec, random_access=crowded)

    def graph_bytes_beside(self, space: Space, kept: Iterable[Segment]) -> int:
        """Return the bytes of all graphs but those of a space, of which these are kept."""
        others = (entry for entry in self.manifest.spaces if entry.number != space.number)
        entries = chain((one for entry in others for one in entry.segments), (segment.entry for segment in kept))
        return sum(map(_graph_bytes, entries))

    def _open_space(self, entry: SpaceEntry) -> Space:
        segments: list[Segment] = []
        if not entry.damaged:
            try:
                for each in entry.segments:
                    segments.append(self.open_segment(each, entry, self._graph_bytes_open))
                    self._graph_bytes_open += _graph_bytes(each)
            except FileDamaged as error:
                logger.error("vectors of %r in %r: %s; the space must be rebuilt", entry.name, entry.scope, error)
                entry = msgspec.structs.replace(entry, damaged=str(error))
                segments = []
        return Space(entry, segments, self.manifest.seq, self.options)

    def _load_dump(self, dump: DumpEntry, spaces: dict[int, Space]) -> None:
        try:
            for section in read_dump(self.folder / DUMPS_NAME / str(dump.number), dump.mark):
                space = spaces.get(section.space)
                if space is not None and not space.damaged:
                    space.load(section.deleted, puts_after(section, space.covered_seq, space.spec.row_bytes))
        except FileDamaged as error:
            logger.error("vectors: %s; spaces in it must be rebuilt", error)
            for number in dump.spaces:
                if number in spaces:
                    spaces[number].damaged = str(error)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def checkpoint(self, spaces: Sequence[Space], seq: int, *, whole: bool = False) -> None:
        """Make durable what all spaces are as of seq; what came later is left out.

        whole: write all deltas anew and drop the older files, dead rows with them.
        """
        with self.lock:
            whole = whole or len(self.manifest.dumps) >= self.options.dump_files_max
            counted = [space for space in spaces if space.created_seq <= seq and not space.dropped]
            # Looked at once: a rebuild may end meanwhile, and its rows would then be neither here nor asked for again.
            damaged = {space.number: space.damage_as_of(seq) for space in counted}
            sound = [space for space in counted if not damaged[space.number]]
            number = self.take_number()
            path = self.folder / DUMPS_NAME / str(number)
            if whole:
                for space in sound:
                    space.forget_deleted()
            changed: list[int] = []
            write_parts(path, self._sections(sound, seq, changed, whole=whole))
            dumps = [] if whole else list(self.manifest.dumps)
            if changed:
                sync_folder(path.parent)
                dumps.append(DumpEntry(number, mark_of(path), tuple(changed), seq))
            self._replace(seq, tuple(_entry_of(space, damaged[space.number]) for space in counted), dumps)
            for space in sound:
                space.dumped_seq = max(space.dumped_seq, seq)
                space.rebuild_saved = True

    def _sections(
        self, spaces: Sequence[Space], seq: int, changed: list[int], *, whole: bool
    ) -> Iterable[bytes | memoryview]:
        for space in spaces:
            section, rows = _section_of(space, seq, 0 if whole else space.dumped_seq)
            if section.ids or section.deleted:
                changed.append(space.number)
                parts = chain.from_iterable(each.parts() for each in rows)
                yield from encode_section(section, parts, len(section.ids) * space.spec.row_bytes)

    # -- merges -----------------------------------------------------------------------------------------------------

    def commit(self, space: Space, frozen: Frozen, built: Segment | None) -> None:
        """Let the manifest name a space's new segments instead of those that were merged, as of when they were frozen.

        The caller settles the space before anybody else does a step.
        """
        kept = [self._with_dead(segment, frozen.seq) for segment in frozen.kept]
        segments = (*kept, *((built.entry,) if built is not None else ()))
        damaged = space.damaged or ("" if space.rebuild_saved else "being rebuilt")
        entry = msgspec.structs.replace(
            _entry_of(space, damaged),
            covered_seq=frozen.covered_seq,
            segments=tuple(sorted(segments, key=lambda segment: -segment.rows)),
        )
        others = [each for each in self.manifest.spaces if (each.scope, each.name) != (space.scope, space.name)]
        self._replace(self.manifest.seq, (*others, entry), self.manifest.dumps)
        for segment, kept_entry in zip(frozen.kept, kept, strict=True):
            segment.entry = kept_entry

    def _with_dead(self, segment: Segment, seq: int) -> SegmentEntry:
        name, mark = write_dead(segment.folder, seq, segment.dead_at(seq))
        sync_folder(segment.folder)
        return msgspec.structs.replace(segment.entry, dead=name, dead_mark=mark)

    def _replace(self, seq: int, spaces: tuple[SpaceEntry, ...], dumps: Sequence[DumpEntry]) -> None:
        covered = {entry.number: entry.covered_seq for entry in spaces}
        # What segments cover is read from them alone.
        used = tuple(
            dump
            for dump in dumps
            if any(not dump.seq or covered[number] < dump.seq for number in dump.spaces if number in covered)
        )
        manifest = Manifest(seq, self._next_number, spaces, used)
        sync_folder(self.folder / SEGMENTS_NAME)
        write_manifest(self.folder, manifest)
        self.manifest = manifest
        self.lost = ""
        self._remove_strangers()

    # -- the folder -------------------------------------------------------------------------------------------------

    def _make_folders(self) -> None:
        for path in (self.folder, *(self.folder / name for name in (DUMPS_NAME, SEGMENTS_NAME, PARKED_NAME))):
            if not path.is_dir():
                path.mkdir(FOLDER_MODE, parents=True)
                sync_folder(path.parent)

    def _holds_anything(self) -> bool:
        places = (self.folder / DUMPS_NAME, self.folder / SEGMENTS_NAME)
        return (self.folder / MANIFEST_NAME).exists() or any(any(place.iterdir()) for place in places)

    def _remove_strangers(self) -> None:
        """Remove what the manifest does not name and nobody is building."""
        dumps = {str(dump.number) for dump in self.manifest.dumps}
        named = {str(one.number): one for entry in self.manifest.spaces for one in entry.segments}
        for path in (self.folder / DUMPS_NAME).iterdir():
            if path.name not in dumps:
                path.unlink()
        for path in (self.folder / SEGMENTS_NAME).iterdir():
            known = named.get(path.name)
            if known is not None:
                for file in path.iterdir():
                    if file.name not in known.files and file.name != known.dead:
                        file.unlink()
            elif not path.name.isdigit() or int(path.name) not in self.building:
                shutil.rmtree(path)
        wanted = {
            parked_name(entry.number, what)
            for entry in self.manifest.spaces
            for what in (WHOLE, SECOND, *(str(one.number) for one in entry.segments))
        }
        for path in (self.folder / PARKED_NAME).iterdir():
            if path.name not in wanted:
                shutil.rmtree(path, ignore_errors=True)

    building: frozenset[int] = frozenset()


def _graph_bytes(entry: SegmentEntry) -> int:
    return entry.files[GRAPH_NAME].length if GRAPH_NAME in entry.files else 0


def _entry_of(space: Space, damaged: str) -> SpaceEntry:
    segments = () if damaged else tuple(segment.entry for segment in space.segments)
    return SpaceEntry(
        *(space.number, space.scope, space.name, space.spec, space.created_seq, space.covered_seq),
        segments=segments,
        damaged=damaged,
        effort=space.effort.now,
    )


class _Rows(NamedTuple):
    """Rows of a delta that stay as they are: taken in steps, while changes go on."""

    delta: Delta
    numbers: npt.NDArray[np.intp]

    def parts(self) -> Iterator[memoryview]:
        """Return the stored rows."""
        return self.delta.parts(self.numbers, _ROWS_STEP)


def _section_of(space: Space, seq: int, after: int) -> tuple[Section, list[_Rows]]:
    """Return what of a space's deltas was born after one seq and lives at another, and what was deleted between.

    The rows are beside the section.
    """
    ids: list[bytes] = []
    born: list[bytes] = []
    rows: list[_Rows] = []
    after = max(after, space.covered_seq)
    with space.lock:
        deltas = (space.active,) if space.frozen is None else (space.frozen, space.active)
        deleted = [(at, record_id) for at, record_id in space.deleted if after < at <= seq]
    for delta in deltas:
        alive = delta.alive_at(seq, after)
        ids.extend(delta.ids[row] for row in alive.tolist())
        born.append(delta.born[alive].tobytes())
        rows.append(_Rows(delta, alive))
    return Section(space.number, deleted, ids, b"".join(born), b""), rows
