"""What a figure was measured on, and how long the bare disk takes for one sync at the same time.

`python -m bench.machine FILE INTERVAL_MS` is the helper process behind `RawSync`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from bench.latency import Percentiles, percentiles

ROOT: Final = Path(__file__).resolve().parent.parent
_PACKAGES: Final = (
    *("msgspec", "rocksdict", "uvloop", "zstandard", "psutil", "numpy", "Cython", "PyStemmer", "usearch"),
    *("tantivy", "hnswlib", "faiss-cpu", "langgraph-checkpoint"),
)
_BLOCK: Final = b"\xa5" * 4096
_FILE_BYTES: Final = 16 * 1024 * 1024


def facts(folder: Path) -> dict[str, Any]:
    """Return CPU, memory, kernel and the file system of a folder, with a quiet raw sync histogram taken there."""
    with RawSync(folder, interval_ms=0) as raw:
        time.sleep(1.0)
    return {
        "cpu": _after_colon(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "file_system": file_system(folder),
        "raw_fdatasync_ms": raw.percentiles._asdict(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what took part."""
    from recollectd import __version__

    found = {"recollectd": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    if commit.returncode == 0:
        found["commit"] = commit.stdout.strip()
    return found


def file_system(folder: Path) -> str:
    """Return type and device of the file system a folder lies on."""
    best, found = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        device, mount, kind, *_ = line.split()
        inside = folder.resolve().is_relative_to(mount)
        if inside and len(mount) >= len(best):
            best, found = mount, f"{kind} on {device}"
    return found


def _after_colon(path: Path, label: str) -> str:
    for line in path.read_text().splitlines():
        if line.startswith(label):
            return line.partition(":")[2].strip()
    return ""


class RawSync:
    """Times one 4 KiB `pwrite` + `fdatasync` after the other in a process of its own, until the block ends.

    The file is preallocated and written before, so a sync carries no metadata: the least the disk can do, measured in
    the same minute and on the same file system as what it stands beside.
    """

    def __init__(self, folder: Path, interval_ms: int = 25) -> None:
        self._path = folder / f"raw-sync-{os.getpid()}"
        self._interval_ms = interval_ms
        self.samples_us: list[float] = []

    def __enter__(self) -> RawSync:
        command = [sys.executable, "-m", "bench.machine", str(self._path), str(self._interval_ms)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment()
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # ready: the file is prepared
        return self

    def __exit__(self, *_: object) -> None:
        output, _error = self._process.communicate(b"\n")
        self._path.unlink(missing_ok=True)
        self.samples_us = json.loads(output)

    @property
    def percentiles(self) -> Percentiles:
        """The histogram in brief."""
        return percentiles(self.samples_us)


def environment() -> dict[str, str]:
    """Return the environment in which a child process finds the package and the benches."""
    known = os.environ.get("PYTHONPATH", "")
    places = [str(ROOT / "daemon"), str(ROOT), *([known] if known else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def _measure(path: Path, interval_ms: int) -> None:
    """Sync over and over until a line comes on stdin; print the durations in microseconds as JSON."""
    import select

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.pwrite(descriptor, b"\0" * _FILE_BYTES, 0)
    os.fsync(descriptor)
    print("ready", flush=True)
    samples: list[float] = []
    at = 0
    while not select.select([sys.stdin], [], [], interval_ms / 1000)[0]:
        os.pwrite(descriptor, _BLOCK, at)
        started = time.perf_counter_ns()
        os.fdatasync(descriptor)
        samples.append((time.perf_counter_ns() - started) / 1000)
        at = (at + len(_BLOCK)) % _FILE_BYTES
    print(json.dumps(samples))


if __name__ == "__main__":
    _measure(Path(sys.argv[1]), int(sys.argv[2]))
