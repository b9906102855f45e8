"""Plays a power cut: undoes a choice of what no sync covered, from the notes that `forgetful.c` took.

What POSIX promises is kept and nothing more: bytes are durable after fsync or fdatasync of their file, a name after
fsync of its folder. Of the rest any sector may be old or new, a size may be old or new, and of the changes of names
in one folder the later ones may be missing.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_HEAD: Final = struct.Struct("<IIQQQQ")
_CONTROL: Final = struct.Struct("<qqqqq")
_SOURCE: Final = Path(__file__).with_name("forgetful.c")
_SECTOR: Final = 512
_PAGE: Final = 4096
_LARGE_BYTES: Final = 65_536

WRITE, RESIZE, SYNCED, SYNC_FAILED, CREATE, RENAME, UNLINK, FOLDER_SYNCED = range(1, 9)
TARGET_JOURNAL: Final = 1
TARGET_RECORDS: Final = 2


class Note(NamedTuple):
    """One note of the layer; `forgetful.c` says what the fields mean. order: (log, place in it)."""

    order: tuple[int, int]
    kind: int
    inode: int
    offset: int
    length: int
    size: int
    payload: bytes

    @property
    def names(self) -> list[str]:
        """The paths in the payload."""
        return [os.fsdecode(name) for name in self.payload.split(b"\0")[:-1]]


class Cut(NamedTuple):
    """What a power cut took: writes wholly or partly undone, names undone, and how many of each were at stake."""

    writes_pending: int
    sectors_undone: int
    names_pending: int
    names_undone: int


class Forgetful:
    """The layer beneath one data folder: its environment, its controls, its power cut.

    work: a folder on the same file system as root, outside of it. library: the compiled layer, if there is one already.
    """

    def __init__(self, root: Path, work: Path, library: Path | None = None) -> None:
        self.root = root
        self.work = work
        self._library = library or compile_layer(work)
        self._control = work / "control"
        self._logs = 0
        self._failed_syncs = 0
        self.calm()

    def calm(self) -> None:
        """Let syncs succeed and the disk have room."""
        self.control()

    def control(
        self, *, syncs_until_failure: int = -1, target: int = 0, disk_full: bool = False, sync_us: int = 0
    ) -> None:
        """Say how the layer behaves from now on.

        After so many syncs of the target's files every one fails (-1: none does). sync_us: how long a sync takes;
        -1 syncs the disk in earnest.
        """
        self._failed_syncs = self.failed_syncs
        data = _CONTROL.pack(syncs_until_failure, target, disk_full, sync_us, 0)
        with self._control.open("r+b" if self._control.exists() else "wb") as file:
            file.write(data)

    @property
    def failed_syncs(self) -> int:
        """How many syncs failed since the last power cut."""
        if not self._control.exists():
            return 0
        failed: int = _CONTROL.unpack(self._control.read_bytes())[4]
        return self._failed_syncs + failed

    def environment(self) -> dict[str, str]:
        """Return what the next process must be started with; it has a log with those that it starts, no others."""
        self._logs += 1
        log = self.work / f"log-{self._logs}"
        Path(f"{log}.trash").mkdir()
        return {
            # Behind what is loaded before everything already: a sanitizer's run-time must come first.
            "LD_PRELOAD": f"{os.environ.get('LD_PRELOAD', '')} {self._library}".strip(),
            "FORGETFUL_ROOT": str(self.root),
            "FORGETFUL_LOG": str(log),
            "FORGETFUL_CONTROL": str(self._control),
        }

    def cut(self, rng: random.Random) -> Cut:
        """Undo what may be lost; the process is dead. What is left counts as durable."""
        logs = [self.work / f"log-{number}" for number in range(1, self._logs + 1)]
        pending, names = _undurable(note for number, log in enumerate(logs) for note in _read(number, log))
        mode = rng.choice(("discard", "reorder", "reorder", "keep"))
        where = _paths_by_inode([self.root, *(Path(f"{log}.trash") for log in logs)])
        undone = 0
        for inode, notes in sorted(pending.items()):
            if inode in where:
                undone += _undo_contents(where[inode], notes, rng, mode)
        names_undone = _undo_names(names, logs, rng, mode)
        for log in logs:
            log.unlink(missing_ok=True)
            _remove_folder(Path(f"{log}.trash"))
        self._logs = 0
        self.calm()
        self._failed_syncs = 0
        return Cut(sum(map(len, pending.values())), undone, len(names), names_undone)


def compile_layer(folder: Path) -> Path:
    """Compile the layer into a folder, return the library. Raises CalledProcessError after the compiler's words."""
    library = folder / "forgetful.so"
    command = [*os.environ.get("CC", "cc").split(), "-O2", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(_SOURCE), "-ldl", "-pthread"], check=True)
    return library


def _read(number: int, log: Path) -> Iterator[Note]:
    """Yield the notes of one log; a last one that was cut off never had its effect."""
    data = log.read_bytes() if log.exists() else b""
    at = 0
    while at + _HEAD.size <= len(data):
        kind, size_of_payload, inode, offset, length, size = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + size_of_payload
        if end > len(data):
            return
        yield Note((number, at), kind, inode, offset, length, size, data[at + _HEAD.size : end])
        at = end


def _undurable(notes: Iterator[Note]) -> tuple[dict[int, list[Note]], list[Note]]:
    """Return what no sync covered: changes of contents by inode, changes of names in order."""
    contents: dict[int, list[Note]] = defaultdict(list)
    doomed: dict[int, list[Note]] = defaultdict(list)  # a later sync that succeeds does not bring these back
    names: list[Note] = []
    for note in notes:
        covered = (note.order[0], note.offset)
        if note.kind in (WRITE, RESIZE):
            contents[note.inode].append(note)
        elif note.kind == SYNC_FAILED:
            doomed[note.inode] += [earlier for earlier in contents[note.inode] if earlier.order < covered]
            contents[note.inode] = [earlier for earlier in contents[note.inode] if earlier.order >= covered]
        elif note.kind == SYNCED:
            durable = [earlier for earlier in contents[note.inode] if earlier.order < covered]
            contents[note.inode] = [earlier for earlier in contents[note.inode] if earlier.order >= covered]
            doomed[note.inode] = _not_overwritten(doomed[note.inode], durable)
        elif note.kind == FOLDER_SYNCED:
            folder = note.names[0]
            names = [name for name in names if name.order >= covered or os.path.dirname(name.names[-1]) != folder]
        else:
            names.append(note)
    pending = {inode: sorted(doomed[inode] + contents[inode]) for inode in {*contents, *doomed}}
    return {inode: left for inode, left in pending.items() if left}, names


def _not_overwritten(doomed: list[Note], durable: Sequence[Note]) -> list[Note]:
    """Return what is left of writes that a sync failed to keep, after others were written over them and synced."""
    for over in durable:
        if over.kind == WRITE:
            doomed = [left for note in doomed for left in _without(note, over.offset, over.offset + over.length)]
    return doomed


def _without(note: Note, start: int, stop: int) -> Iterator[Note]:
    """Yield the parts of a write outside of a range; a change of size stays whole."""
    end = note.offset + note.length
    if note.kind != WRITE or stop <= note.offset or end <= start:
        yield note
        return
    for first, last in ((note.offset, start), (stop, end)):
        if first < last:
            payload = note.payload[first - note.offset : last - note.offset]
            yield note._replace(offset=first, length=last - first, payload=payload)


def _undo_contents(path: Path, notes: list[Note], rng: random.Random, mode: str) -> int:
    """Undo a choice of one file's writes and its size; return the number of sectors put back."""
    if mode == "keep":
        return 0
    with path.open("r+b", buffering=0) as file:
        size_now, size_before = os.fstat(file.fileno()).st_size, notes[0].size
        size = size_before if mode == "discard" else rng.choice((size_before, size_now))
        os.ftruncate(file.fileno(), max(size_now, *(note.offset + note.length for note in notes), size_before))
        grain = _PAGE if any(note.length >= _LARGE_BYTES for note in notes) else _SECTOR
        share = 1.0 if mode == "discard" else rng.choice((0.1, 0.5, 0.9))
        lost: dict[int, bool] = {}
        undone = 0
        for note in reversed(notes):
            if note.kind != WRITE:
                continue
            before = note.payload.ljust(note.length, b"\0")
            for start, end in _grains(note.offset, note.length, grain):
                # What lay behind the end of a file that was cut shorter has no new contents to keep.
                if lost.setdefault(start // grain, start >= size_now or rng.random() < share):
                    os.pwrite(file.fileno(), before[start - note.offset : end - note.offset], start)
                    undone += 1
        os.ftruncate(file.fileno(), size)
    return undone


def _grains(offset: int, length: int, grain: int) -> Iterator[tuple[int, int]]:
    end = offset + length
    while offset < end:
        boundary = min(end, (offset // grain + 1) * grain)
        yield offset, boundary
        offset = boundary


def _undo_names(names: Sequence[Note], logs: Sequence[Path], rng: random.Random, mode: str) -> int:
    """Undo the later part of each folder's changes of names, newest first; return how many."""
    if mode == "keep":
        return 0
    by_folder: dict[str, list[Note]] = defaultdict(list)
    for note in names:
        by_folder[os.path.dirname(note.names[-1])].append(note)
    doomed: list[Note] = []
    for _, changes in sorted(by_folder.items()):
        doomed += changes[0 if mode == "discard" else rng.randint(0, len(changes)) :]
    for note in sorted(doomed, reverse=True):
        path = Path(note.names[-1])
        trash = Path(f"{logs[note.order[0]]}.trash")
        if note.kind == CREATE:
            path.unlink(missing_ok=True)
        elif note.kind == RENAME and path.exists():
            path.rename(note.names[0])
        if note.kind in (RENAME, UNLINK) and note.inode and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)  # a folder goes after what was in it, and comes back with it
            os.link(trash / str(note.inode), path)
    return len(doomed)


def _paths_by_inode(folders: Sequence[Path]) -> dict[int, Path]:
    return {
        path.stat().st_ino: path
        for folder in folders
        if folder.exists()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def _remove_folder(folder: Path) -> None:
    if folder.exists():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
