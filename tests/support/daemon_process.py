"""A daemon as a process of its own: started in a folder, watched by its log, ended in every way there is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from support.source_tree import PACKAGE
from support.wire import TIMEOUT_S, Wire

# What makes a daemon small and quick to start; each test may say otherwise.
SMALL: Final[dict[str, object]] = {
    "journal.segment_bytes": 1024 * 1024,
    "records.memtable_bytes": 4 * 1024 * 1024,
    "records.block_cache_bytes": 16 * 1024 * 1024,
    "records.ballast_bytes": 0,
    "records.disk_low_bytes": 16 * 1024 * 1024,
}


class DaemonProcess:
    """One daemon process over a folder; start another one with the same folder to restart it."""

    def __init__(self, folder: Path, options: Mapping[str, object] | None = None) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        settings = {**SMALL, "data.directory": folder / "data", "listen.socket": self.socket, **(options or {})}
        command = [sys.executable, "-m", "recollectd", "serve"]
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
        )
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def log(self) -> str:
        """Everything logged so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for_log(self, text: str) -> str:
        """Wait for a line with this text and return it; fail when the log ends without one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(text in line for line in self._lines), TIMEOUT_S)
            found = [line for line in self._lines if text in line]
        assert found, f"no line with {text!r} in:\n{self.log}"
        return found[0]

    def ready(self) -> DaemonProcess:
        """Wait until it serves."""
        self.wait_for_log("ready on")
        return self

    def connect(self) -> Wire:
        """Open a connection with a session of its own."""
        return Wire(self.socket)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return code

    def kill(self) -> None:
        """End it the hard way."""
        self.end(signal.SIGKILL)
