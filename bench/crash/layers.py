"""What lies beneath the daemon's files, and how a crash looks there.

process        SIGKILL: whatever was written to a file survives
preload        `forgetful.c`: beside SIGKILL, power cuts that lose and reorder unsynced sectors, sizes and names,
               syncs that fail, a disk that is full for a while; beneath the journal and RocksDB alike
ext4-shutdown  a real ext4 on a loop device: power cuts by EXT4_IOC_SHUTDOWN after random pages were written back;
               root only
small-disk     a real ext4 of little room, filled up and freed again; root only
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Final

from bench.crash.powercut import TARGET_JOURNAL, TARGET_RECORDS, Forgetful
from bench.process import DaemonProcess

_EXT4_IOC_SHUTDOWN: Final = 0x8004587D
_SHUTDOWN_WITHOUT_FLUSH: Final = 2
_EXIT_TIMEOUT_S: Final = 30.0
_PAGE: Final = 4096


class Complaint(AssertionError):
    """The daemon went on where it had to stop."""


class Unavailable(RuntimeError):
    """This machine cannot provide the layer; the text says why."""


class Layer:
    """Where the data folder lies. loses_async: a crash may take acknowledged asynchronous writes."""

    name: str
    loses_async = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: dict[str, int] = {}

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def environment(self) -> dict[str, str]:
        """Return what the next daemon's environment needs."""
        return {}

    def disturb(self, rng: random.Random) -> None:
        """Before a stretch of work: prepare trouble other than the crash itself."""

    def calm(self) -> None:
        """End all trouble but what is done."""

    @property
    def has_failed(self) -> bool:
        """Whether it failed under the daemon, which may be ending for that."""
        return False

    def crash(self, daemon: DaemonProcess, rng: random.Random) -> bool:
        """End the daemon; afterwards the data folder is as the crash left it.

        Returns whether the daemon outlived its disk, so that what it sent in the end does not count: a real power cut
        would have silenced it.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give everything back; not called after a failure, so that it can be looked at."""

    def note(self, what: str, count: int = 1) -> None:
        """Count something that happened, for the report."""
        self.notes[what] = self.notes.get(what, 0) + count


class ProcessLayer(Layer):
    """The file system as it is."""

    name = "process"

    def crash(self, daemon: DaemonProcess, rng: random.Random) -> bool:
        """SIGKILL."""
        daemon.kill()
        self.note("kills")
        return False


class PreloadLayer(Layer):
    """Files that remember what was not synced."""

    name = "preload"
    loses_async = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not shutil.which(os.environ.get("CC", "cc").split()[0]):
            raise Unavailable("there is no C compiler")
        (folder / "work").mkdir()
        self._files = Forgetful(self.data, folder / "work")
        self._failing = 0

    def environment(self) -> dict[str, str]:
        """Return LD_PRELOAD and what the library wants to know."""
        return self._files.environment()

    def disturb(self, rng: random.Random) -> None:
        """Choose how long syncs take, and whether they begin to fail or the disk fills up."""
        sync_us = rng.choice((0, 500, 5_000, 30_000))
        self._failing = 0
        draw = rng.random()
        if draw < 0.3:
            self._failing = rng.choice((TARGET_JOURNAL, TARGET_RECORDS))
            self._files.control(syncs_until_failure=rng.randint(0, 60), target=self._failing, sync_us=sync_us)
        elif draw < 0.45:
            self._files.control(disk_full=True, sync_us=sync_us)
            self.note("times the disk was full")
        else:
            self._files.control(sync_us=sync_us)

    def calm(self) -> None:
        """Free the disk, let syncs succeed."""
        self._files.calm()

    @property
    def has_failed(self) -> bool:
        """Whether a sync failed since the last power cut."""
        return self._files.failed_syncs > 0

    def crash(self, daemon: DaemonProcess, rng: random.Random) -> bool:
        """SIGKILL or a power cut; after a failed sync of the journal the daemon has to have ended by itself."""
        failed = self._files.failed_syncs
        if failed:
            self.note("failed syncs", failed)
            if self._failing == TARGET_JOURNAL:
                self._must_end(daemon)
        daemon.kill()
        if rng.random() < 0.8 or failed:
            cut = self._files.cut(rng)
            self.note("power cuts")
            self.note("sectors lost", cut.sectors_undone)
            self.note("names lost", cut.names_undone)
        else:
            self.note("kills")
        self._files.calm()
        return False

    @staticmethod
    def _must_end(daemon: DaemonProcess) -> None:
        try:
            code = daemon.wait_exit(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Complaint("a sync of the journal failed and the daemon went on") from None
        if code == 0:
            raise Complaint("a sync of the journal failed and the daemon ended as if all were well")


class LoopMount(Layer):
    """An ext4 of its own in a file."""

    image_bytes: int

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not Path("/dev/loop-control").exists():
            raise Unavailable("mounting a loop device needs root, mkfs.ext4 and /dev/loop-control")
        self._image = folder / "disk.image"
        self.mount_point = folder / "mount"
        self.mount_point.mkdir()
        with self._image.open("wb") as file:
            file.truncate(self.image_bytes)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()

    @property
    def data(self) -> Path:
        """The data folder, on the mounted file system."""
        return self.mount_point / "data"

    def mount(self) -> None:
        """Mount; ext4 replays its own journal.

        On a loop device of its own each time: were the last one used again while anybody still held it, its file
        system would come back as it was shut down.
        """
        self._device = _run("losetup", "--find", "--show", str(self._image)).strip()
        _run("mount", self._device, str(self.mount_point))

    def unmount(self) -> None:
        """Unmount, waiting for the kernel to let go of the last file."""
        give_up = time.monotonic() + _EXIT_TIMEOUT_S
        while True:
            try:
                _run("umount", str(self.mount_point))
                _run("losetup", "--detach", self._device)
                return
            except subprocess.CalledProcessError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)

    def close(self) -> None:
        """Unmount and remove the image."""
        if os.path.ismount(self.mount_point):
            self.unmount()
        self._image.unlink(missing_ok=True)


class Ext4ShutdownLayer(LoopMount):
    """Power cuts of a real file system."""

    name = "ext4-shutdown"
    loses_async = True
    image_bytes = 1 << 30

    def crash(self, daemon: DaemonProcess, rng: random.Random) -> bool:
        """Write random pages back, cut the power, kill, mount again.

        A sync that had begun when the file system was shut down may still return success without having kept a thing:
        ext4 does not look again.
        """
        if rng.random() < 0.2:
            daemon.kill()
            self.note("kills")
            return False
        if rng.random() < 0.6:
            self._write_back(rng)
        folder = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _EXT4_IOC_SHUTDOWN, struct.pack("I", _SHUTDOWN_WITHOUT_FLUSH))
        finally:
            os.close(folder)
        daemon.kill()
        self.unmount()
        self.mount()
        self.note("power cuts")
        return True

    def _write_back(self, rng: random.Random) -> None:
        """Let some pages of the newest journal segment reach the disk before those in front of them."""
        segments = sorted(self.data.glob("journal/*.segment"))[-2:]
        for path in segments:
            try:
                descriptor = os.open(path, os.O_RDWR)
            except OSError:
                continue
            try:
                for _ in range(4):
                    offset = rng.randrange(max(1, os.fstat(descriptor).st_size // _PAGE)) * _PAGE
                    _sync_file_range(descriptor, offset, rng.choice((1, 8, 64)) * _PAGE)
            finally:
                os.close(descriptor)


class SmallDiskLayer(LoopMount):
    """A disk that fills up for real."""

    name = "small-disk"
    image_bytes = 192 << 20

    def disturb(self, rng: random.Random) -> None:
        """Fill the disk to the last block, half of the time."""
        if rng.random() < 0.5:
            return
        self.note("times the disk was full")
        with (self.mount_point / "filler").open("wb", buffering=0) as file:
            step = 1 << 20
            while step >= _PAGE:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), step)
                    file.seek(step, os.SEEK_CUR)
                except OSError:
                    step //= 4

    def calm(self) -> None:
        """Make room again."""
        (self.mount_point / "filler").unlink(missing_ok=True)

    def crash(self, daemon: DaemonProcess, rng: random.Random) -> bool:
        """SIGKILL, the disk perhaps still full."""
        daemon.kill()
        self.note("kills")
        return False


def _sync_file_range(descriptor: int, offset: int, length: int) -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    write_and_wait = 1 | 2 | 4
    library.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), write_and_wait)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


LAYERS: Final[dict[str, type[Layer]]] = {
    layer.name: layer for layer in (ProcessLayer, PreloadLayer, Ext4ShutdownLayer, SmallDiskLayer)
}
