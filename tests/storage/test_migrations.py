"""Migrations of a made-up store: its one file says which formats it went through."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import pytest

from recollectd.storage.folder import open_folder
from recollectd.storage.folder_errors import FolderFormat, MigrationRefused
from recollectd.storage.migrations import Formats, Migration, StoreFields
from support.crashes import Crash, crash_after

STORE = b'{"format": 1, "store_id": "00112233445566778899aabbccddeeff", "labels": 1, "created_at": "2026"}'
NO_NEED = 0


def step(number: int, *, bytes_needed: int = NO_NEED, refuse: bool = False) -> Migration:
    """The step from a format to the next: adds a line to records/data and one to journal/data."""
    names = ("records/data", "journal/data")

    def check(folder: Path) -> None:
        if refuse:
            raise MigrationRefused("records/data cannot be read")
        for name in names:
            assert (folder / name).read_text().split()[-1] == str(number), "checked after a change has begun"

    def keep(folder: Path, kept: Path) -> None:
        for name in names:
            (kept / name).parent.mkdir()
            shutil.copy(folder / name, kept / name)

    def change(folder: Path, kept: Path) -> None:
        for name in names:
            aside = (folder / name).with_suffix(".aside")
            aside.write_text((kept / name).read_text() + f"{number + 1}\n")
            aside.rename(folder / name)

    def convert_store(fields: StoreFields) -> StoreFields:
        if number == 1:
            fields["shard_labels"] = fields.pop("labels")
        return fields

    return Migration(lambda _: bytes_needed, check, keep, change, convert_store)


FORMATS = Formats(current=3, migrations={1: step(1), 2: step(2)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path / "data")


def make(path: Path) -> Path:
    for name in ("records", "journal"):
        (path / name).mkdir(parents=True)
        (path / name / "data").write_text("1\n")
    (path / "STORE").write_bytes(STORE)
    return path


def contents(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): file.read_text()
        for file in path.rglob("*")
        if file.is_file() and file.name != "lock"
    }


def assert_migrated(path: Path) -> None:
    folder = open_folder(path, formats=FORMATS)
    assert not folder.is_new
    assert (folder.store.format, folder.store.shard_labels) == (3, 1)
    assert folder.store.store_id == "00112233445566778899aabbccddeeff"
    folder.close()
    held = contents(path)
    assert json.loads(held.pop("STORE"))["format"] == 3
    assert held.pop("STORE.before-1") == STORE.decode()
    assert json.loads(held.pop("STORE.before-2"))["format"] == 2
    assert held == {
        f"{folder}{name}": "".join(f"{line}\n" for line in range(1, last + 1))
        for folder, last in (("", 3), ("before-1/", 1), ("before-2/", 2))
        for name in ("records/data", "journal/data")
    }


def test_an_old_folder_is_brought_forward_step_by_step_and_keeps_what_it_was(path: Path) -> None:
    assert_migrated(path)
    assert_migrated(path)  # there is nothing left to do


def test_a_crash_at_any_point_is_made_good_by_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: collections.Counter[str] = collections.Counter()
    for steps in range(200):
        path = make(tmp_path / str(steps))
        with crash_after(steps, monkeypatch):
            try:
                open_folder(path, formats=FORMATS).close()
            except Crash:
                left.update(entry.name for entry in path.iterdir())
            else:
                break
        assert_migrated(path)
    seen = {"before-1.partial", "before-1.changing", "before-1", "before-2.partial", "before-2.changing"}
    assert seen <= set(left), "the crashes missed a state"


def test_a_step_that_cannot_begin_changes_nothing(path: Path) -> None:
    before = contents(path)
    for first, reason in (
        (step(1, refuse=True), "cannot be read"),
        (step(1, bytes_needed=1 << 60), r"format 1 to 2.* needs \d+ bytes"),
    ):
        with pytest.raises(MigrationRefused, match=reason):
            open_folder(path, formats=Formats(3, {1: first, 2: step(2)}))
        assert contents(path) == before
    assert_migrated(path)


def test_a_later_step_that_cannot_begin_leaves_what_the_earlier_made(path: Path) -> None:
    with pytest.raises(MigrationRefused):
        open_folder(path, formats=Formats(3, {1: step(1), 2: step(2, refuse=True)}))
    assert json.loads((path / "STORE").read_text())["format"] == 2
    assert_migrated(path)


def test_a_copy_kept_before_is_never_taken_for_a_new_one(path: Path) -> None:
    assert_migrated(path)
    # The way back, without moving the copy away; then the old program writes.
    for name in ("records/data", "journal/data"):
        shutil.copy(path / "before-1" / name, path / name)
    (path / "STORE").write_bytes(STORE)
    with pytest.raises(MigrationRefused, match="before-1 is left of an earlier migration"):
        open_folder(path, formats=FORMATS)


def test_formats_that_no_step_leads_from_are_refused(path: Path) -> None:
    before = contents(path)
    for formats, message in (
        (Formats(3, {2: step(2)}), "has format 1; this recollectd reads 2 to 3"),
        (Formats(4, {1: step(1), 3: step(3)}), "has format 1; this recollectd reads 3 to 4"),
        (Formats(0), "has format 1; this recollectd reads up to 0"),
    ):
        with pytest.raises(FolderFormat, match=message):
            open_folder(path, formats=formats)
        assert contents(path) == before
