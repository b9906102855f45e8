"""What the machine offers this process: processors, memory, NUMA nodes, and the limits of its control groups.

Read from /proc and /sys below a root that tests choose. What cannot be read counts as not limited: a container without
some of these files is no reason not to start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CGROUPS: Final = "sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Topology:
    """processors: how many this process may use at once, at least 1 (a quota of 150 % counts as 2).

    memory_bytes: what it may use: the machine's memory, or the lowest limit of its control groups.
    machine_memory_bytes: the machine's memory. nodes: NUMA nodes with memory, at least 1.
    """

    processors: int
    memory_bytes: int
    machine_memory_bytes: int
    nodes: int


def read_topology(root: Path = Path("/")) -> Topology:
    """Return the topology as the files below root tell it."""
    groups = list(_control_groups(root))
    machine_memory_bytes = _machine_memory_bytes(root)
    memory_limits = [limit for group in groups if (limit := _memory_limit_bytes(group)) is not None]
    processors = _allowed_processors(root)
    quotas = [quota for group in groups if (quota := _processor_quota(group)) is not None]
    return Topology(
        processors=max(1, min([processors, *quotas])),
        memory_bytes=min([machine_memory_bytes, *memory_limits]),
        machine_memory_bytes=machine_memory_bytes,
        nodes=max(1, _count_list(_read(root / "sys/devices/system/node/has_memory"))),
    )


def _machine_memory_bytes(root: Path) -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    if found:
        return int(found[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _allowed_processors(root: Path) -> int:
    """Return how many processors the affinity mask allows; a cpuset of a control group shows there too."""
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)$", _read(root / "proc/self/status"), re.MULTILINE)
    return _count_list(found[1]) if found else os.cpu_count() or 1


def _count_list(text: str) -> int:
    """Return how many numbers a list like `0-3,8` names."""
    count = 0
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count


def _control_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups and of all above them: a limit holds for what is below it.

    /proc/self/cgroup has a line `0::/path` for version 2 and lines like `4:cpu,cpuacct:/path` for version 1, whose
    hierarchies are mounted under the names of their controllers. In a container the path may be the host's and not
    exist here; the mount's own root then is the container's group.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            continue
        mount = root / _CGROUPS / controllers
        steps = [step for step in path.split("/") if step not in ("", "..")]
        for depth in range(len(steps), -1, -1):
            yield mount.joinpath(*steps[:depth])


def _memory_limit_bytes(group: Path) -> int | None:
    """Return the limit of memory of a group of either version. Version 1 says "none" by a number near 2^63."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        text = _read(group / name).strip()
        if text.isdigit():
            return int(text)
    return None


def _processor_quota(group: Path) -> int | None:
    """Return how many processors' worth of time a group of either version may use, rounded up."""
    quota, _, period = _read(group / "cpu.max").strip().partition(" ")
    if not quota:
        quota = _read(group / "cpu.cfs_quota_us").strip()
        period = _read(group / "cpu.cfs_period_us").strip()
    if quota.isdigit() and period.isdigit() and int(period):
        return -(-int(quota) // int(period))
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
