"""A throw-away daemon for tests: users' and recollectd's own.

    pytest_plugins = ["recollectd.testing"]

    def test_remembers(recollectd_client):
        recollectd_client.state.put("k", 1)
        assert recollectd_client.state.get("k").value == 1

Each test has a daemon of its own, `recollectd_daemon`, which starts in a fraction of a second and may be killed. One
for many tests is a fixture of a wider scope around `with Daemon() as daemon`, and a namespace for each test. Needs the
packages of `recollectd[daemon]`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import recollectd
from recollectd.client import Client
from recollectd.protocol.errors import CapacityError, ClientError

START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 30.0
SMALL: Final[Mapping[str, object]] = {
    "journal.segment_bytes": 1024 * 1024,
    "records.memtable_bytes": 4 * 1024 * 1024,
    "records.block_cache_bytes": 16 * 1024 * 1024,
    "records.ballast_bytes": 0,
    "records.disk_low_bytes": 16 * 1024 * 1024,
}
"""Options that make a daemon small and quick to start."""
_POLL_S: Final = 0.01
_LOG_TAIL_BYTES: Final = 8_192


class DaemonFailed(RuntimeError):
    """The daemon did not start, or did not end as it should; the message has the end of its log."""


class Daemon:
    """A daemon in a process of its own, with a data folder that outlives its processes.

    folder: holds data, socket and log; without one a temporary folder, removed at the end of the `with` block.
    options: of the daemon, by `section.option`, on top of `SMALL`. arguments: more words for `recollectd serve`.
    environment: variables on top of this process's, of which those beginning with RECOLLECTD_ are left out.
    Starts with the `with` block, or by `start`. Raises DaemonFailed.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        options: Mapping[str, object] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # The temporary folder's name is short: a Unix socket's path may have 107 bytes.
        self._temporary = tempfile.TemporaryDirectory(prefix="recollectd-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary is not None else Path(folder or ".").absolute()
        self._options = {**SMALL, **(options or {})}
        self._arguments = tuple(arguments)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return self.folder / "socket"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self.socket}"

    @property
    def log(self) -> str:
        """What it has written to its log, over all its processes."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The process id of the daemon that runs."""
        assert self._process is not None, "the daemon has not been started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    def client(self, **options: Any) -> Client:
        """Return a client, which the caller closes; options are Client's."""
        return Client(self.url, **options)

    def start(self) -> Self:
        """Start a process and wait until it answers."""
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self) -> None:
        """Start a process and do not wait for it."""
        assert not self.running, "the daemon runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-P", "-m", "recollectd", "serve", *self._arguments]
        command += ["--data", str(self.data), "--socket", str(self.socket)]
        for option, value in self._options.items():
            command += ["--set", f"{option}={value}"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECOLLECTD_")}
        # The daemon is the package that this process has imported, installed or not.
        packages = str(Path(recollectd.__file__).parents[1])
        inherited["PYTHONPATH"] = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH"))))
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**inherited, **self._environment}
            )

    def wait_until_ready(self) -> None:
        """Wait until the process answers a hello."""
        assert self._process is not None, "the daemon has not been started"
        deadline = time.monotonic() + START_S_MAX
        while not self._answers():
            if self._process.poll() is not None:
                raise DaemonFailed(f"the daemon ended with {self._process.returncode}:\n{self._log_end()}")
            if time.monotonic() > deadline:
                self.kill()
                raise DaemonFailed(f"the daemon did not answer within {START_S_MAX:g} s:\n{self._log_end()}")
            time.sleep(_POLL_S)

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            # One attempt: a longer timeout would not notice that the process has ended.
            with self.client(timeout=_POLL_S) as client:
                client.ping()
        except (CapacityError, ClientError):
            return False
        return True

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash would. The data stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """End the process with SIGTERM. Raises DaemonFailed unless it ends in time and in order."""
        assert self._process is not None, "the daemon has not been started"
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonFailed(f"the daemon did not end within {STOP_S_MAX:g} s:\n{self._log_end()}") from None
        if code != 0:
            raise DaemonFailed(f"the daemon ended with {code}:\n{self._log_end()}")

    stop = terminate

    def restart(self, *, kill: bool = False) -> Self:
        """End the process, in order or by SIGKILL, and start another one on the same data."""
        if kill:
            self.kill()
        else:
            self.terminate()
        return self.start()

    def __enter__(self) -> Self:
        try:
            return self if self.running else self.start()
        except BaseException:
            self._remove()
            raise

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self._remove()

    def _remove(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def _log_end(self) -> str:
        return self.log[-_LOG_TAIL_BYTES:].strip() or "(its log is empty)"


# The fixtures are there where pytest runs; other programs may use `Daemon` without it.
if "pytest" in sys.modules:
    import pytest

    @pytest.fixture
    def recollectd_daemon() -> Iterator[Daemon]:
        """Give a test a daemon of its own, which it may kill."""
        with Daemon() as daemon:
            yield daemon

    @pytest.fixture
    def recollectd_client(recollectd_daemon: Daemon) -> Iterator[Client]:
        """Give a client of that daemon."""
        with recollectd_daemon.client() as client:
            yield client
