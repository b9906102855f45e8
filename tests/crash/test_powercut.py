"""The layer that plays power cuts loses what was not synced and keeps what was: otherwise its rounds prove nothing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.crash.powercut import TARGET_JOURNAL, Cut, Forgetful

Run = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def layer(tmp_path: Path, library: Path) -> Forgetful:
    (tmp_path / "data" / "journal").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    return Forgetful(tmp_path / "data", tmp_path / "work", library)


@pytest.fixture
def run(layer: Forgetful) -> Run:
    """Runs a Python program on the layer, in the data folder."""

    def run(program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "import os\n" + textwrap.dedent(program)],
            cwd=layer.root,
            env={**os.environ, **layer.environment()},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


class Discarding(random.Random):
    """Chooses to lose everything that may be lost."""

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return seq[0]


def cut_all(layer: Forgetful) -> Cut:
    return layer.cut(Discarding())


FOLDER_SYNC = "d = os.open('.', os.O_RDONLY); os.fsync(d)\n"


def test_unsynced_bytes_are_lost_and_synced_ones_kept(layer: Forgetful, run: Run) -> None:
    path = layer.root / "file"
    path.write_bytes(b"a" * 2000)
    done = run(
        """
        f = os.open('file', os.O_RDWR)
        os.pwrite(f, b'b' * 500, 0)
        os.fdatasync(f)
        os.pwrite(f, b'c' * 500, 250)
        os.pwrite(f, b'd' * 500, 1900)
        """
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == b"b" * 250 + b"c" * 500 + b"a" * 1150 + b"d" * 500
    cut_all(layer)
    assert path.read_bytes() == b"b" * 500 + b"a" * 1500


def test_a_sync_of_another_file_keeps_nothing(layer: Forgetful, run: Run) -> None:
    (layer.root / "one").write_bytes(b"old")
    (layer.root / "two").write_bytes(b"old")
    run("a = os.open('one', 2); b = os.open('two', 2); os.write(a, b'new'); os.write(b, b'new'); os.fsync(b)")
    cut_all(layer)
    assert (layer.root / "one").read_bytes() == b"old"
    assert (layer.root / "two").read_bytes() == b"new"


def test_a_name_is_lost_until_its_folder_is_synced(layer: Forgetful, run: Run) -> None:
    run("f = os.open('new', os.O_CREAT | os.O_WRONLY); os.write(f, b'x'); os.fsync(f)")
    cut_all(layer)
    assert not (layer.root / "new").exists()
    run("f = os.open('new', os.O_CREAT | os.O_WRONLY); os.write(f, b'x'); os.fsync(f)\n" + FOLDER_SYNC)
    cut_all(layer)
    assert (layer.root / "new").read_bytes() == b"x"


def test_renames_and_unlinks_are_undone(layer: Forgetful, run: Run) -> None:
    (layer.root / "target").write_bytes(b"old")
    (layer.root / "aside").write_bytes(b"new")
    (layer.root / "gone").write_bytes(b"kept")
    run("os.rename('aside', 'target'); os.unlink('gone')")
    assert (layer.root / "target").read_bytes() == b"new"
    cut_all(layer)
    names = {path.name: path.read_bytes() for path in layer.root.iterdir() if path.is_file()}
    assert names == {"target": b"old", "aside": b"new", "gone": b"kept"}


def test_synced_renames_stay(layer: Forgetful, run: Run) -> None:
    (layer.root / "target").write_bytes(b"old")
    (layer.root / "aside").write_bytes(b"new")
    run("os.rename('aside', 'target')\n" + FOLDER_SYNC)
    cut_all(layer)
    assert (layer.root / "target").read_bytes() == b"new"
    assert not (layer.root / "aside").exists()


def test_sizes_are_restored(layer: Forgetful, run: Run) -> None:
    for name in ("shorter", "rewritten", "longer"):
        (layer.root / name).write_bytes(b"0123456789")
    run(
        """
        os.truncate('longer', 10)
        f = os.open('shorter', 2); os.ftruncate(f, 3)
        open('rewritten', 'wb').write(b'x')
        f = os.open('longer', 2); os.posix_fallocate(f, 0, 5000)
        """
    )
    cut_all(layer)
    for name in ("shorter", "rewritten", "longer"):
        assert (layer.root / name).read_bytes() == b"0123456789", name


def test_unsynced_bytes_of_a_killed_process_are_lost_with_a_later_cut(layer: Forgetful, run: Run) -> None:
    path = layer.root / "file"
    path.write_bytes(b"a" * 10)
    killed = run("import signal; f = os.open('file', 2); os.pwrite(f, b'b', 0); os.kill(os.getpid(), 9)")
    assert killed.returncode == -9
    run("f = os.open('file', 2); os.pwrite(f, b'c', 1)")
    assert path.read_bytes() == b"bc" + b"a" * 8
    cut_all(layer)
    assert path.read_bytes() == b"a" * 10


def test_sectors_are_lost_out_of_order(layer: Forgetful, run: Run) -> None:
    path = layer.root / "file"
    seen: set[bytes] = set()
    for seed in range(12):
        path.write_bytes(b"a" * 4096)
        run("f = os.open('file', 2); os.pwrite(f, b'b' * 4096, 0)")
        layer.cut(random.Random(seed))
        seen.add(bytes(path.read_bytes()[at] for at in range(0, 4096, 512)))
    assert {b"aaaaaaaa", b"bbbbbbbb"} <= seen
    assert any(b"ab" in pattern for pattern in seen), "a later sector kept, an earlier one lost"


def test_a_failed_sync_loses_what_a_later_one_seems_to_keep(layer: Forgetful, run: Run) -> None:
    path = layer.root / "journal" / "file"
    path.write_bytes(b"a" * 10)
    layer.control(syncs_until_failure=1, target=TARGET_JOURNAL)
    done = run(
        """
        f = os.open('journal/file', 2)
        os.pwrite(f, b'b', 0); os.fsync(f)
        os.pwrite(f, b'c', 1)
        try:
            os.fdatasync(f)
        except OSError as error:
            print(error.errno)
        """
    )
    assert done.stdout.strip() == "5"
    assert layer.failed_syncs == 1
    layer.calm()
    run("f = os.open('journal/file', 2); os.pwrite(f, b'd', 2); os.fsync(f)")
    cut_all(layer)
    assert path.read_bytes() == b"bad" + b"a" * 7


def test_what_is_written_again_after_a_failed_sync_can_be_kept(layer: Forgetful, run: Run) -> None:
    path = layer.root / "journal" / "file"
    path.write_bytes(b"a" * 10)
    layer.control(syncs_until_failure=0, target=TARGET_JOURNAL)
    failing = run("f = os.open('journal/file', 2); os.pwrite(f, b'bbbbb', 2); os.fsync(f)")
    assert "OSError" in failing.stderr
    layer.calm()
    run("f = os.open('journal/file', 2); os.pwrite(f, b'bb', 3); os.fsync(f)")
    cut_all(layer)
    assert path.read_bytes() == b"aaabbaaaaa"


def test_a_full_disk_refuses_what_needs_room(layer: Forgetful, run: Run) -> None:
    (layer.root / "file").write_bytes(b"a" * 4096)
    layer.control(disk_full=True)
    done = run(
        """
        f = os.open('file', 2)
        os.pwrite(f, b'b' * 4096, 0)
        for attempt in (lambda: os.pwrite(f, b'c', 4096 * 20), lambda: os.open('other', os.O_CREAT | os.O_WRONLY),
                        lambda: os.posix_fallocate(f, 0, 1 << 20)):
            try:
                attempt()
            except OSError as error:
                print(error.errno)
        print(os.statvfs('.').f_bavail)
        """
    )
    assert done.stdout.split() == ["28", "28", "28", "0"], done.stderr
    assert (layer.root / "file").read_bytes() == b"b" * 4096


def test_processes_that_a_process_starts_share_its_notes(layer: Forgetful, run: Run) -> None:
    """What each syncs is kept and what it does not is lost, however much the other has noted before."""
    done = run(
        """
        import subprocess, sys
        for name in ('before', 'mine', 'theirs', 'kept'):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
        d = os.open('.', os.O_RDONLY); os.fsync(d)
        f = os.open('before', os.O_WRONLY); os.write(f, b'synced'); os.fsync(f); os.write(f, b', not')
        noisy = "import os; f = os.open('theirs', 1); [os.pwrite(f, b'x', 0) for _ in range(100)]; os.fsync(f)"
        subprocess.run([sys.executable, '-c', noisy + "; os.pwrite(f, b'yy', 0)"], check=True)
        f = os.open('kept', os.O_WRONLY); os.write(f, b'synced'); os.fsync(f)
        f = os.open('mine', os.O_WRONLY); os.write(f, b'lost')
        """
    )
    assert done.returncode == 0, done.stderr
    cut_all(layer)
    found = {name: (layer.root / name).read_bytes() for name in ("before", "theirs", "kept", "mine")}
    assert found == {"before": b"synced", "theirs": b"x", "kept": b"synced", "mine": b""}
