"""A daemon as a bench needs it: started with any option and environment, killed at any moment, its costs read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, ClassVar, Final, NamedTuple

from bench.machine import ROOT, environment
from bench.wire import Connection
from recollectd.protocol.errors import RecollectdError

START_TIMEOUT_S: Final = 120.0
_POLL_S: Final = 0.002
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class StartFailed(RuntimeError):
    """The daemon ended, or did not become ready in time; the end of its log is in the message."""


class Cost(NamedTuple):
    """What a process has used so far: CPU seconds, resident bytes now, CPU seconds of its children that have ended."""

    cpu_s: float
    resident_bytes: int
    children_cpu_s: float


class Memory(NamedTuple):
    """Resident bytes of a process: in all, of its own, of mapped files (page cache it shares), and the most so far."""

    resident: int
    anonymous: int
    mapped: int
    peak: int


class DaemonProcess:
    """One data folder and the daemon processes that serve it one after the other.

    folder: holds the socket and the log; data: the data folder (default: a subfolder). Not thread-safe.
    command: what runs `recollectd` where it is not this checkout's (`--daemon`): another version beside the same bench.
    """

    command: ClassVar[Sequence[str]] = ()

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.socket = folder / "s"
        self.log = folder / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_file: IO[bytes] | None = None

    def __enter__(self) -> DaemonProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None, "the daemon was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last process, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def launch(self, options: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None) -> None:
        """Start the process without waiting for it to become ready."""
        assert not self.running, "the daemon is running already"
        program = self.command or (sys.executable, "-m", "recollectd")
        command = [*program, "serve", "--data", str(self.data), "--socket", str(self.socket)]
        for option, value in (options or {}).items():
            command += ["--set", f"{option}={value}"]
        self._log_file = self.log.open("ab")
        self._log_file.write(f"\n--- {' '.join(command[2:])}\n".encode())
        self._log_file.flush()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log_file,
            stderr=self._log_file,
            cwd=self.folder if self.command else ROOT,
            env={**(os.environ if self.command else environment()), **(env or {})},
        )

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> float:
        """Wait until the daemon answers a hello; return the seconds waited. Raises StartFailed."""
        started = time.monotonic()
        while True:
            try:
                Connection(self.socket).close()
            except (OSError, RecollectdError) as error:
                if not self.running:
                    raise StartFailed(f"the daemon ended with {self.exit_code} at start\n{self.log_tail()}") from error
                if time.monotonic() - started > timeout_s:
                    raise StartFailed(f"the daemon was not ready after {timeout_s} s\n{self.log_tail()}") from error
                time.sleep(_POLL_S)
            else:
                return time.monotonic() - started

    def start(self, options: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None) -> float:
        """Start and wait until ready; return the seconds from start to the first hello answered."""
        started = time.monotonic()
        self.launch(options, env)
        self.wait_ready()
        return time.monotonic() - started

    def kill(self) -> None:
        """Send SIGKILL and wait for the end; nothing if it is not running."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._reap(30.0)

    def terminate(self, timeout_s: float = 60.0) -> int:
        """Send SIGTERM, wait, return the exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._reap(timeout_s)
        return self._process.returncode

    def wait_exit(self, timeout_s: float) -> int:
        """Wait until the process ends by itself; return its exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        self._reap(timeout_s)
        return self._process.returncode

    def _reap(self, timeout_s: float) -> None:
        if self._process is not None:
            self._process.wait(timeout_s)
        if self._log_file is not None:
            self._log_file.close()
            self._log_file = None

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the daemon's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def cost(self) -> Cost:
        """Return CPU time and resident memory of the running daemon, from /proc."""
        return cost_of(self.pid)

    def memory(self) -> Memory:
        """Return what is resident of the running daemon, from /proc."""
        fields = dict(line.split(":") for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        names = ("VmRSS", "RssAnon", "RssFile", "VmHWM")
        return Memory(*(int(fields[name].split()[0]) * 1024 for name in names))


def cost_of(pid: int) -> Cost:
    """Return CPU time and resident memory of a process, from /proc."""
    # The command in parentheses may hold spaces: fields are counted from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, of_children, system_of_children = (int(field) for field in fields[11:15])
    resident_bytes = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Cost((user + system) / _TICKS, resident_bytes, (of_children + system_of_children) / _TICKS)


class Weight(NamedTuple):
    """Allocated blocks of a data folder in bytes, each file in one of the last four.

    ahead: journal segments and ends of segments that are allocated and hold nothing yet; other: STORE, lock and such.
    """

    total: int
    records: int
    journal: int
    ahead: int
    ballast: int
    other: int

    @property
    def data(self) -> int:
        """What the data itself takes: without what is only allocated ahead."""
        return self.total - self.ahead - self.ballast


def weigh(folder: Path) -> Weight:
    """Return what a data folder takes on disk."""
    records = journal = ahead = ballast = other = 0
    for path in folder.rglob("*"):
        try:
            blocks = path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue  # a live daemon's files come and go
        if path.parent.name == "journal":
            empty = blocks if path.name.startswith("spare-") else min(blocks, _empty_end(path))
            ahead, journal = ahead + empty, journal + blocks - empty
        elif path.name == "ballast":
            ballast += blocks
        elif "records" in path.relative_to(folder).parts:
            records += blocks
        else:
            other += blocks
    return Weight(records + journal + ahead + ballast + other, records, journal, ahead, ballast, other)


def _empty_end(path: Path, step: int = 1 << 20) -> int:
    """Return how many bytes of zeros a file ends with."""
    zeros = bytes(step)
    try:
        with path.open("rb", buffering=0) as file:
            end = size = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - step)
                file.seek(start)
                data = file.read(end - start)
                if data != zeros[: len(data)]:
                    return size - start - len(data.rstrip(b"\0"))
                end = start
            return size
    except FileNotFoundError:
        return 0
