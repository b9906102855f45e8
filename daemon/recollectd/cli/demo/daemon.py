"""The demo's daemon: a process of its own in a temporary folder, started, killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recollectd.protocol.errors import CapacityError, ClientError

if TYPE_CHECKING:
    from recollectd.client import Client

NAMESPACE: Final = ("demo", "agent-7")
START_S_MAX: Final = 30.0
POLL_S: Final = 0.02
STOP_S_MAX: Final = 20.0
LOG_LINES_SHOWN: Final = 20


class DaemonFailed(Exception):
    """The daemon did not start or did not end as it should; the message holds the end of its log."""


class DemoDaemon:
    """A daemon in a folder that goes with it. As a context manager: whatever happens, nothing of it stays."""

    def __init__(self) -> None:
        # The name is short: a Unix socket's path may have 107 bytes, and TMPDIR may be long already.
        self._folder = tempfile.TemporaryDirectory(prefix="recollectd-")
        self._process: subprocess.Popen[bytes] | None = None
        self.data = Path(self._folder.name) / "data"
        self._socket = Path(self._folder.name) / "socket"
        self._log = Path(self._folder.name) / "log"

    @property
    def pid(self) -> int:
        """The running daemon's process id."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> DemoDaemon:
        """Return itself; nothing is started yet."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill the daemon if it runs, and remove the folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._folder.cleanup()

    def client(self, timeout: float = START_S_MAX) -> Client:
        """Open a client of the daemon, running or not."""
        from recollectd.client import Client

        return Client(f"unix://{self._socket}", namespace=NAMESPACE, timeout=timeout, name="recollectd demo")

    def start(self) -> float:
        """Start the daemon and return how many seconds passed until it answered. Raises DaemonFailed."""
        began = time.monotonic()
        command = [sys.executable, "-m", "recollectd", "serve", "--data", str(self.data)]
        command += ["--socket", str(self._socket)]
        # Options that the user has set for daemons of their own are not the demo's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECOLLECTD_")}
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        while time.monotonic() < began + START_S_MAX:
            if self._process.poll() is not None:
                raise DaemonFailed(f"the daemon ended with {self._process.returncode}:\n{self._log_end()}")
            if self._answers():
                return time.monotonic() - began
            time.sleep(POLL_S)
        raise DaemonFailed(f"the daemon did not answer within {START_S_MAX:.0f} s:\n{self._log_end()}")

    def _answers(self) -> bool:
        if not self._socket.exists():
            return False
        try:
            with self.client(timeout=POLL_S) as client:
                client.ping()
        except (CapacityError, ClientError):
            return False
        return True

    def kill(self) -> None:
        """End the daemon with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the daemon with SIGTERM. Raises DaemonFailed unless it ends with 0."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            raise DaemonFailed(f"the daemon did not stop within {STOP_S_MAX:.0f} s:\n{self._log_end()}") from None
        if code != 0:
            raise DaemonFailed(f"the daemon stopped with {code}:\n{self._log_end()}")

    def _log_end(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])
