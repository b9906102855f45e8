"""What a server costs: CPU and memory of all its processes, read from /proc, and the blocks of its files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_QUIET_SHARE: Final = 0.05  # of one processor: timers and statistics never rest
_QUIET_WINDOW_S: Final = 0.25


class Footprint(NamedTuple):
    """CPU seconds of every process and thread, ended children included; memory as proportional set size in bytes."""

    cpu_s: float
    memory_bytes: int


def footprint(pid: int) -> Footprint:
    """Return the footprint of a process and all that descend from it."""
    cpu_ticks = memory = 0
    for each in (pid, *descendants(pid)):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            cpu_ticks += sum(int(field) for field in fields[11:15])  # user, system, and those of children waited for
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile: its parent's sums hold its time, or will when it is waited for
        memory += next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return Footprint(cpu_ticks / _TICKS, memory)


def descendants(pid: int) -> Iterator[int]:
    """Yield the living descendants of a process."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield child
        yield from descendants(child)


def settle(measure: Callable[[], Footprint], timeout_s: float, *, windows: int = 1) -> Footprint:
    """Wait until a server has done what it put off (compaction, rewrites), or time is up; return its footprint then.

    windows: how many quarters of a second it must be quiet, one after the other.
    """
    give_up = time.monotonic() + timeout_s
    before, quiet = measure(), 0
    while True:
        time.sleep(_QUIET_WINDOW_S)
        after = measure()
        quiet = quiet + 1 if after.cpu_s - before.cpu_s <= _QUIET_SHARE * _QUIET_WINDOW_S else 0
        if quiet == windows or time.monotonic() > give_up:
            return after
        before = after


def blocks(folder: Path) -> int:
    """Return the allocated bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total
