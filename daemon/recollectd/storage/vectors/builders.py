"""How a segment is built from the daemon: in a process of its own, or right here where tests want it quick."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from recollectd.storage.vectors.build_process import Line
from recollectd.storage.vectors.building import Built, Job, Progress, build
from recollectd.storage.vectors.errors import BuildFailed, BuildStopped
from recollectd.storage.vectors.parking import ENDED_EXIT

END_TIMEOUT_S: Final = 5.0
STDERR_CHARACTERS_MAX: Final = 2000
# Not by anything that it was to build: by the view or with the daemon, or because memory ran out.
ENDED: Final = (ENDED_EXIT, -signal.SIGTERM, -signal.SIGKILL)


class Builder(Protocol):
    """Builds segments, one at a time. Raises BuildFailed."""

    def build(self, job: Job, progress: Progress) -> Built:
        """Build and return; `stop` from another thread makes it raise."""

    def stop(self) -> None:
        """End what is being built, and refuse what comes later."""


class ProcessBuilder:
    """A new process for each segment: started, never forked, because RocksDB is open in this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def build(self, job: Job, progress: Progress) -> Built:
        """Build in a process."""
        with self._lock:
            if self._stopped:
                raise BuildStopped("the view is closing")
            command = [sys.executable, "-m", "recollectd.storage.vectors.build_process"]
            pipe = subprocess.PIPE
            process = self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            with process:
                built = _converse(process, job, progress)
        finally:
            with self._lock:
                self._process = None
        if built is None:
            raise BuildFailed(f"the building process ended with {process.returncode}")
        return built

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.terminate()


def _converse(process: subprocess.Popen[bytes], job: Job, progress: Progress) -> Built | None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    complaints: list[bytes] = []
    stderr = process.stderr
    drain = threading.Thread(target=lambda: complaints.append(stderr.read()), name="vector-build-errors")
    drain.start()
    built = None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.close()
        for text in process.stdout:
            line = msgspec.json.decode(text, type=Line)
            built = line.built
            if built is None:
                progress(line.done, line.total)
    finally:
        process.wait()
        drain.join()
    if built is None and process.returncode in ENDED:
        raise BuildStopped(f"the building process was ended: {process.returncode}")
    if built is None and complaints[0]:
        tail = complaints[0].decode(errors="replace")[-STDERR_CHARACTERS_MAX:]
        raise BuildFailed(f"the building process ended with {process.returncode}: {tail}")
    return built


class HereBuilder:
    """Builds in the calling thread. between: called before, for tests that change things meanwhile."""

    def __init__(self, between: Callable[[Job], None] | None = None) -> None:
        self._between = between
        self._stopped = False

    def build(self, job: Job, progress: Progress) -> Built:
        """Build here."""
        if self._stopped:
            raise BuildStopped("the view is closing")
        if self._between is not None:
            self._between(job)
        return build(job, progress)

    def stop(self) -> None:
        """Refuse what comes later."""
        self._stopped = True
