"""Bringing a data folder from an older format to this program's, one step after the other.

A step checks first, keeps a copy of what it will change, changes it, and states the new format in STORE. A crash at
any point is made good by the next start: while the copy is `before-2.partial` the step begins anew with its check;
once it is whole, as `before-2.changing`, the change is made again from it. Afterwards `before-2` and `STORE.before-2`
are the way back, and stay until somebody removes them: with the daemon stopped, put back what `before-2` holds, rename
`STORE.before-2` to `STORE`, and move `before-2` away.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from recollectd.storage.durable import FOLDER_MODE, sync_folder, sync_tree, write_file
from recollectd.storage.folder_errors import FolderFormat, MigrationRefused
from recollectd.storage.store_file import STORE_FORMAT, STORE_NAME, read_format

# Left free beside what a step says it needs: a disk that is full in the middle of it helps nobody.
SPARE_BYTES: Final = 64 * 1024 * 1024

# What STORE holds, as JSON has it: every format has its own fields beside `format`.
StoreFields = dict[str, Any]


def _same(fields: StoreFields) -> StoreFields:
    return fields


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a format to the next. Everything is given the data folder, and kept: the folder of the copy.

    bytes_needed(folder): room that copy and change take.
    check(folder): raises MigrationRefused when something that the step needs cannot be read. Changes nothing.
    keep(folder, kept): puts a copy of all that `change` touches into the empty folder kept; hard links will do for
    files that are replaced and never changed.
    change(folder, kept): makes everything but STORE what the next format says. After a crash it is run again, on
    whatever it left.
    convert_store: gives the fields of the next format's STORE from this one's; `format` is seen to.
    """

    bytes_needed: Callable[[Path], int]
    check: Callable[[Path], None]
    keep: Callable[[Path, Path], None]
    change: Callable[[Path, Path], None]
    convert_store: Callable[[StoreFields], StoreFields] = _same


@dataclass(frozen=True, slots=True)
class Formats:
    """What a program reads: its own format, and by their number those from which there is a step forward."""

    current: int = STORE_FORMAT
    migrations: Mapping[int, Migration] = field(default_factory=dict)

    @property
    def oldest(self) -> int:
        """The lowest format from which steps lead to the current one without a gap."""
        oldest = self.current
        while oldest - 1 in self.migrations:
            oldest -= 1
        return oldest


FORMATS: Final = Formats()


def migrate(folder: Path, formats: Formats = FORMATS) -> None:
    """Bring a folder, whose lock the caller holds, to the current format.

    Raises FolderFormat when it is newer, or too old; FolderDamaged when STORE cannot be read; MigrationRefused when
    the check before a step fails: the folder is then as it was, or as an earlier whole step left it.
    """
    store_path = folder / STORE_NAME
    found = read_format(store_path)
    if found > formats.current:
        raise FolderFormat(
            f"{folder} has format {found}; this recollectd reads up to {formats.current}: use the newer one"
        )
    if found < formats.oldest:
        raise FolderFormat(f"{folder} has format {found}; this recollectd reads {formats.oldest} to {formats.current}")
    for number in range(formats.oldest, found):
        _finish(number, folder)  # for a crash right after STORE stated the new format
    for number in range(found, formats.current):
        _migrate_from(number, folder, formats.migrations[number])


def _migrate_from(number: int, folder: Path, migration: Migration) -> None:
    changing = folder / f"before-{number}.changing"
    store_path = folder / STORE_NAME
    if not changing.exists():
        _check_before(number, folder, migration)
        migration.check(folder)
        partial = folder / f"before-{number}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(FOLDER_MODE)
        migration.keep(folder, partial)
        sync_tree(partial)
        write_file(folder / f"{STORE_NAME}.before-{number}", store_path.read_bytes())
        # From here on there is a way back, and no check any more: what it would look at may be half changed.
        partial.rename(changing)
        sync_folder(folder)
    migration.change(folder, changing)
    fields = migration.convert_store(msgspec.json.decode(store_path.read_bytes())) | {"format": number + 1}
    write_file(store_path, msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n")
    _finish(number, folder)


def _finish(number: int, folder: Path) -> None:
    """Give the copy its final name: it now belongs to a step that is done, and no other step may continue from it."""
    changing = folder / f"before-{number}.changing"
    if changing.exists():
        changing.rename(folder / f"before-{number}")
        sync_folder(folder)


def _check_before(number: int, folder: Path, migration: Migration) -> None:
    kept = folder / f"before-{number}"
    if kept.exists():
        raise MigrationRefused(f"{kept} is left of an earlier migration from format {number}: move it away first")
    needed = migration.bytes_needed(folder) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MigrationRefused(
            f"{folder} is to be brought from format {number} to {number + 1}, which needs {needed} bytes of free "
            f"space; there are {free}"
        )
