"""An export's file: written aside, made durable, renamed when it is whole; or gone on with after an interruption.

    OUT.partial   the lines so far
    OUT.progress  JSON: what is exported, a place, and how many bytes of the lines lie before it

OUT.progress is never ahead of OUT.partial: bytes behind the last place are cut off by whoever goes on. The same holds
for a file beside the lines (`Aside`), which is whole before the lines are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec
from msgspec import Struct

from recollectd.cli.transfer.exporting import Page, Place
from recollectd.cli.transfer.failures import DataError

PARTIAL: Final = ".partial"
PROGRESS: Final = ".progress"


class Progress(Struct, frozen=True):
    """The content of OUT.progress. subject: what is exported; records, bytes and aside_bytes: before the place."""

    subject: str
    place: Place
    records: int
    bytes: int
    aside_bytes: int = 0


class Aside(Protocol):
    """A file that takes what pages have beside their lines."""

    def begin(self, size: int) -> None:
        """Begin, behind this many bytes of an interrupted export. Raises DataError when they are not there."""

    def write(self, content: bytes) -> None:
        """Take what a page has aside."""

    def flush(self) -> int:
        """Return how many bytes were taken, none of them in memory alone."""

    def finish(self) -> None:
        """Make the file whole and durable; the lines are after it."""

    def close(self, *, whole: bool) -> None:
        """Close it. whole: the lines are whole, and nobody goes on with what is left."""


def write_pages(
    out: Path,
    subject: str,
    pages: Callable[[Place | None], Iterable[Page]],
    *,
    resume: bool,
    progress: Callable[[int], None] = lambda records: None,
    aside: Aside | None = None,
) -> int:
    """Write pages to a file and return how many records it holds.

    subject: what is exported, compared with what a partial file holds. resume: go on with a partial file; without one,
    begin. aside: takes what pages have beside their lines, and is closed. Raises DataError when the partial file is of
    another export or shorter than its progress says.
    """
    whole = False
    try:
        records = _write_pages(out, subject, pages, resume, progress, aside)
        whole = True
    finally:
        if aside is not None:
            aside.close(whole=whole)
    return records


def _write_pages(
    out: Path,
    subject: str,
    pages: Callable[[Place | None], Iterable[Page]],
    resume: bool,
    progress: Callable[[int], None],
    aside: Aside | None,
) -> int:
    partial, noted = partial_of(out), _beside(out, PROGRESS)
    begun = _read_progress(noted, subject) if resume and partial.exists() else None
    records = begun.records if begun else 0
    if not begun:
        noted.unlink(missing_ok=True)  # it would speak of other bytes than those that come now
    with open(partial, "r+b" if begun else "wb") as file:
        if begun:
            _cut(file, begun)
        if aside is not None:
            aside.begin(begun.aside_bytes if begun else 0)
        for page in pages(begun.place if begun else None):
            file.write(page.text)
            if aside is not None:
                aside.write(page.aside)
            records += page.records
            progress(records)
            if page.place is not None:
                file.flush()
                aside_bytes = aside.flush() if aside is not None else 0
                _note(noted, Progress(subject, page.place, records, file.tell(), aside_bytes))
        file.flush()
        os.fsync(file.fileno())
    if aside is not None:
        aside.finish()
    os.replace(partial, out)
    noted.unlink(missing_ok=True)
    sync_folder(out)
    return records


def write_lines(out: Path, lines: Iterable[bytes], progress: Callable[[int], None] = lambda records: None) -> int:
    """Write lines to a file that is whole or not there, and return how many they were."""
    partial = partial_of(out)
    records = 0
    with open(partial, "wb") as file:
        for records, line in enumerate(lines, 1):
            file.write(line)
            progress(records)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, out)
    sync_folder(out)
    return records


def partial_of(out: Path) -> Path:
    """Return where an export's lines are until it is whole."""
    return _beside(out, PARTIAL)


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def _read_progress(noted: Path, subject: str) -> Progress | None:
    try:
        begun = msgspec.json.decode(noted.read_bytes(), type=Progress)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(0, f"{noted} is damaged ({error}); export without --resume") from None
    if begun.subject != subject:
        raise DataError(0, f"{noted} is of an export of {begun.subject}, not of {subject}")
    return begun


def _cut(file: BinaryIO, begun: Progress) -> None:
    if os.fstat(file.fileno()).st_size < begun.bytes:
        raise DataError(0, f"{file.name} has lost its end; export without --resume")
    file.truncate(begun.bytes)
    file.seek(begun.bytes)


def _note(noted: Path, progress: Progress) -> None:
    aside = noted.with_name(noted.name + ".new")
    aside.write_bytes(msgspec.json.encode(progress))
    os.replace(aside, noted)


def sync_folder(out: Path) -> None:
    """Make a file's name durable."""
    folder = os.open(out.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
