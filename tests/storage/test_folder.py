"""A data folder is made once, held by one process, and never made anew over anything."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from recollectd.storage.folder import (
    BALLAST_NAME,
    CREATING_NAME,
    JOURNAL_NAME,
    RECORDS_NAME,
    DataFolder,
    open_folder,
)
from recollectd.storage.folder_errors import FolderDamaged, FolderForeign, FolderFormat, FolderLocked
from recollectd.storage.lock import LOCK_NAME, Owner, read_owner
from recollectd.storage.store_file import STORE_NAME, Store, encode_store, read_store
from support.crashes import Crash, crash_after
from support.engines import Start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "data"


def make(path: Path) -> DataFolder:
    """Take a folder; make it a store with a journal and records when it is new."""
    folder = open_folder(path)
    try:
        if folder.is_new:
            folder.journal.mkdir()
            folder.records.mkdir()
            (folder.journal / "segment").write_bytes(b"first")
            folder.establish()
    except Crash:
        folder.close()  # as the end of a process would
        raise
    return folder


@pytest.fixture
def store(path: Path) -> Store:
    """A store at path, nobody's."""
    folder = make(path)
    folder.close()
    return folder.store


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "lock"
    }


def test_the_text_of_store_is_what_it_always_was() -> None:
    store = Store(1, "00112233445566778899aabbccddeeff", 1, "2026-01-02T03:04:05+00:00")
    assert encode_store(store) == (
        b'{\n  "format": 1,\n  "store_id": "00112233445566778899aabbccddeeff",\n'
        b'  "shard_labels": 1,\n  "created_at": "2026-01-02T03:04:05+00:00"\n}\n'
    )


def test_a_new_folder_becomes_a_store_with_an_identity(path: Path) -> None:
    folder = open_folder(path, shard_labels=2)
    assert folder.is_new
    assert not (path / "STORE").exists()
    folder.journal.mkdir()
    folder.records.mkdir()
    folder.establish()
    folder.close()
    again = open_folder(path, shard_labels=1)
    assert not again.is_new
    assert again.store == folder.store == read_store(path / "STORE")
    assert again.store.shard_labels == 2
    assert len(again.store_id) == 16
    assert {entry.name for entry in path.iterdir()} == {"STORE", "lock", "journal", "records"}
    again.establish()
    again.close()
    other = open_folder(path.parent / "other")
    assert other.store_id != again.store_id
    other.close()


def test_the_folder_is_private(path: Path) -> None:
    def mode(file: Path) -> int:
        return stat.S_IMODE(file.stat().st_mode)

    path.mkdir(parents=True, mode=0o755)
    folder = make(path)
    assert mode(path) == 0o700
    assert mode(path / "STORE") == mode(path / "lock") == 0o600
    folder.close()


def test_a_second_opener_is_told_who_has_it(path: Path, start: Start) -> None:
    program = """
        import sys
        from pathlib import Path
        from recollectd.storage.folder import open_folder

        folder = open_folder(Path(sys.argv[1]))
        folder.announce(["unix:///run/a.sock", "tcp://127.0.0.1:7411"])
        print("ready", flush=True)
        sys.stdin.read()
    """
    process = start(program, path, stdin=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(FolderLocked) as caught:
        open_folder(path)
    owner = read_owner(path)
    assert isinstance(owner, Owner)
    assert owner.pid == process.pid
    assert owner.addresses == ("unix:///run/a.sock", "tcp://127.0.0.1:7411")
    for part in (f"process {process.pid} on {owner.host}", owner.started_at, "tcp://127.0.0.1:7411", str(path)):
        assert part in str(caught.value)
    process.kill()
    process.wait()
    folder = make(path)  # what a killed owner wrote does not count
    mine = read_owner(path)
    assert mine is not None
    assert (mine.pid, mine.addresses) == (os.getpid(), ())
    folder.close()
    assert read_owner(path) is None
    make(path).close()


def test_a_program_started_meanwhile_does_not_keep_the_lock(path: Path, start: Start) -> None:
    folder = make(path)
    child = start("import sys; print('ready', flush=True); sys.stdin.read()", stdin=True)
    assert child.stdout is not None
    child.stdout.readline()
    folder.close()
    make(path).close()
    assert child.poll() is None


def test_many_addresses_are_announced_whole_and_leave_nothing_behind(path: Path) -> None:
    folder = make(path)
    many = [f"tcp://127.0.0.1:{port}" for port in range(1000, 1500)]
    for addresses in (many, many[:1]):
        folder.announce(addresses)
        owner = read_owner(path)
        assert owner is not None
        assert owner.addresses == tuple(addresses)
    folder.close()


def test_an_open_that_fails_gives_the_lock_back(path: Path, store: Store) -> None:
    (path / "STORE").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(FolderDamaged):
            open_folder(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b'{"format": "1"}',
        b'{"format": 1}',
        b'{"format": 1, "store_id": "zz", "shard_labels": 1, "created_at": ""}',
        b'{"format": 1, "store_id": "00", "shard_labels": 1, "created_at": ""}',
        b'{"format": 1, "store_id": "00112233445566778899aabbccddeeff", "shard_labels": 0, "created_at": ""}',
    ],
)
def test_a_store_that_cannot_be_read_is_refused_and_left_alone(path: Path, store: Store, content: bytes) -> None:
    (path / "STORE").write_bytes(content)
    before = contents(path)
    with pytest.raises(FolderDamaged, match="STORE cannot be read"):
        open_folder(path)
    assert contents(path) == before


@pytest.mark.parametrize("missing", ["STORE", "journal", "records"])
def test_a_store_with_something_missing_is_refused_and_left_alone(path: Path, store: Store, missing: str) -> None:
    (path / missing).rename(path.parent / missing)
    before = contents(path)
    with pytest.raises(FolderDamaged, match="not made anew"):
        open_folder(path)
    assert contents(path) == before
    (path.parent / missing).rename(path / missing)
    make(path).close()


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "before-1"])
def test_a_foreign_folder_is_refused_without_leaving_a_trace(path: Path, name: str) -> None:
    path.mkdir(parents=True, mode=0o755)
    (path / name).write_bytes(b"mine")
    with pytest.raises(FolderForeign, match=name):
        open_folder(path)
    assert os.listdir(path) == [name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FolderForeign, match="not a folder"):
        open_folder(tmp_path / "file")


def test_a_newer_format_is_refused_by_name(path: Path, store: Store) -> None:
    (path / "STORE").write_bytes(b'{"format": 3, "everything": "else may differ"}')
    before = contents(path)
    with pytest.raises(FolderFormat, match=r"has format 3; this recollectd reads up to 1"):
        open_folder(path)
    assert contents(path) == before


def test_a_folder_that_the_file_system_prepared_is_used(path: Path) -> None:
    (path / "lost+found").mkdir(parents=True)
    make(path).close()


def test_a_crash_while_a_folder_is_made_is_made_good_by_the_next_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes = 0
    for steps in range(100):
        target = path.with_name(f"data-{steps}")
        with crash_after(steps, monkeypatch):
            try:
                make(target)
            except Crash:
                crashes += 1
            else:
                break
        before = contents(target) if target.exists() else {}
        folder = make(target)
        after = contents(target)
        assert after == {"STORE": encode_store(folder.store), "journal/segment": b"first"}
        if "STORE" in before:
            assert after == before, "what was a store was made anew"
        folder.close()
    assert crashes > 8, crashes


def test_what_a_crashed_beginning_left_is_not_taken_for_a_journal(path: Path) -> None:
    folder = open_folder(path)
    folder.journal.mkdir()
    (folder.journal / "half").write_bytes(b"half")
    folder.close()
    again = open_folder(path)
    assert again.is_new
    assert not again.journal.exists()
    again.close()


def test_the_names_on_disk_are_what_they_always_were() -> None:
    assert (STORE_NAME, CREATING_NAME, LOCK_NAME) == ("STORE", "STORE.creating", "lock")
    assert (JOURNAL_NAME, RECORDS_NAME, BALLAST_NAME) == ("journal", "records", "ballast")
