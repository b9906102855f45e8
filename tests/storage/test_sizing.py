"""What a machine offers, read from trees like those of real machines, and what is made of it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from recollectd._native.facts import FactCache
from recollectd._native.hot_puts import HotPuts
from recollectd.memory.state.events import StateHead
from recollectd.sizing import HEAD_BYTES, HEAD_CACHE_COUNT_MIN, MEMTABLE_BYTES_MAX, PROFILES, size
from recollectd.storage.engine_options import EngineOptions
from recollectd.topology import Topology, read_topology

MIB = 1024**2
GIB = 1024**3
NO_LIMIT_V1 = "9223372036854771712\n"

MACHINE = {
    "proc/meminfo": "MemTotal:       16777216 kB\nMemFree:         1234 kB\n",
    "proc/self/status": "Name:\tpython\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\nMems_allowed_list:\t0\n",
    "proc/self/cgroup": "0::/system.slice/recollectd.service\n",
    "sys/devices/system/node/has_memory": "0\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in (MACHINE | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine_without_limits(tmp_path: Path) -> None:
    assert read_topology(tree(tmp_path, {})) == Topology(8, 16 * GIB, 16 * GIB, 1)


def test_version_2_limits_hold_for_everything_below_them(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/system.slice"
    files = {
        f"{group}/recollectd.service/memory.max": "max\n",
        f"{group}/recollectd.service/cpu.max": "max 100000\n",
        f"{group}/memory.max": f"{3 * GIB}\n",
        f"{group}/cpu.max": "250000 100000\n",
    }
    assert read_topology(tree(tmp_path, files)) == Topology(3, 3 * GIB, 16 * GIB, 1)
    files[f"{group}/recollectd.service/memory.max"] = f"{1 * GIB}\n"
    files[f"{group}/recollectd.service/cpu.max"] = "20000 100000\n"
    assert read_topology(tree(tmp_path, files)) == Topology(1, 1 * GIB, 16 * GIB, 1)


def test_version_1_limits(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "12:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n2:freezer:/\n0::/\n",
        "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
        "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "150000\n",
        "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/freezer/memory.limit_in_bytes": "1\n",
    }
    assert read_topology(tree(tmp_path, files)) == Topology(2, 2 * GIB, 16 * GIB, 1)


@pytest.mark.parametrize("path", ["/../../host.slice/docker-abc", "/host.slice/docker-abc", "/"])
def test_in_a_container_the_mount_is_the_group(tmp_path: Path, path: str) -> None:
    files = {"proc/self/cgroup": f"0::{path}\n", "sys/fs/cgroup/memory.max": f"{512 * MIB}\n"}
    assert read_topology(tree(tmp_path, files)).memory_bytes == 512 * MIB


def test_a_limit_above_the_machine_is_none(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory.max": f"{900 * GIB}\n", "sys/fs/cgroup/cpu.max": "9900000 100000\n"}
    assert read_topology(tree(tmp_path, files)) == Topology(8, 16 * GIB, 16 * GIB, 1)


def test_affinity_and_nodes(tmp_path: Path) -> None:
    files = {
        "proc/self/status": "Cpus_allowed_list:\t0-3,8,10-11\n",
        "sys/devices/system/node/has_memory": "0-1,4\n",
    }
    topology = read_topology(tree(tmp_path, files))
    assert (topology.processors, topology.nodes) == (7, 3)


def test_missing_files_are_no_limits(tmp_path: Path) -> None:
    topology = read_topology(tmp_path)
    assert topology.processors >= 1
    assert topology.nodes == 1
    assert topology.memory_bytes == topology.machine_memory_bytes > 0


def test_this_machine_can_be_read() -> None:
    topology = read_topology()
    assert topology.processors >= 1
    assert 64 * MIB < topology.memory_bytes <= topology.machine_memory_bytes


def test_the_profiles_are_in_order_and_cover_everything() -> None:
    bounds = [profile.memory_bytes_max for profile in PROFILES]
    assert bounds == sorted(set(bounds))
    assert bounds[-1] >= 1 << 62
    assert len({profile.name for profile in PROFILES}) == len(PROFILES)
    assert all(2 * profile.memtable_percent <= profile.block_cache_percent for profile in PROFILES)
    # All that is sized together leaves something to everything else.
    for each in PROFILES:
        sized = each.block_cache_percent + each.value_cache_percent + each.head_cache_percent + each.graph_percent
        assert sized <= 85


@pytest.mark.parametrize(
    ("memory_bytes", "profile", "block_cache_bytes", "memtable_bytes"),
    [
        (128 * MIB, "small", 16 * MIB, 128 * MIB * 4 // 100),
        (1 * GIB, "small", GIB * 10 // 100, GIB * 4 // 100),
        (16 * GIB, "laptop", 16 * GIB * 10 // 100, 256 * MIB),
        (64 * GIB, "server", 64 * GIB * 15 // 100, 256 * MIB),
        (896 * GIB, "large", 896 * GIB * 20 // 100, 256 * MIB),
    ],
)
def test_sizes_by_memory(memory_bytes: int, profile: str, block_cache_bytes: int, memtable_bytes: int) -> None:
    sizing = size(Topology(4, memory_bytes, memory_bytes, 1))
    assert sizing.profile == profile
    assert sizing.block_cache_bytes == block_cache_bytes
    assert sizing.memtable_bytes == memtable_bytes


@pytest.mark.parametrize(
    ("memory_bytes", "head_cache_count"),
    [
        (16 * MIB, HEAD_CACHE_COUNT_MIN),
        (1 * GIB, GIB * 3 // 100 // HEAD_BYTES),
        (24 * GIB, 24 * GIB * 8 // 100 // HEAD_BYTES),
    ],
)
def test_heads_by_memory(memory_bytes: int, head_cache_count: int) -> None:
    assert size(Topology(4, memory_bytes, memory_bytes, 1)).head_cache_count == head_cache_count


def test_a_host_of_24_gigabytes_holds_the_heads_of_five_million_states() -> None:
    assert size(Topology(2, 24 * GIB, 24 * GIB, 1)).head_cache_count >= 5_000_000


def test_a_head_weighs_what_it_is_accounted_with() -> None:
    """In the form in which heads are kept, with keys of 30 bytes."""
    count = 50_000
    cache = FactCache(count)
    cache.compact = HotPuts(StateHead, None).compact
    time = 1_800_000_000_000_000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            cache.learn(
                {b"\x01\x09assistant\x00agent-%012d" % number: StateHead(9, 8, number, time, time, largest=200)}
            )
        weight = (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
    assert len(cache) == count
    assert HEAD_BYTES * 0.6 < weight <= HEAD_BYTES


@pytest.mark.parametrize(("processors", "jobs"), [(1, 2), (2, 2), (4, 2), (8, 4), (200, 8)])
def test_jobs_by_processors(processors: int, jobs: int) -> None:
    assert size(Topology(processors, GIB, GIB, 1)).background_jobs == jobs


def test_what_is_given_is_kept_and_the_rest_goes_with_it() -> None:
    topology = Topology(4, 16 * GIB, 16 * GIB, 1)
    assert size(topology, block_cache_bytes=32 * MIB).memtable_bytes == 16 * MIB
    assert size(topology, memtable_bytes=2 * GIB).block_cache_bytes == 4 * GIB
    both = size(topology, block_cache_bytes=100 * MIB, memtable_bytes=7 * MIB)
    assert (both.block_cache_bytes, both.memtable_bytes) == (100 * MIB, 7 * MIB)


@hypothesis.given(
    memory_bytes=st.integers(16 * MIB, 4 * 1024 * GIB),
    processors=st.integers(1, 1024),
    block_cache_bytes=st.one_of(st.just(0), st.integers(4 * MIB, 1024 * GIB)),
    memtable_bytes=st.one_of(st.just(0), st.integers(1 * MIB, 1024 * GIB)),
)
def test_the_engine_takes_every_sizing(
    memory_bytes: int, processors: int, block_cache_bytes: int, memtable_bytes: int
) -> None:
    hypothesis.assume(not (block_cache_bytes and memtable_bytes))
    sizing = size(
        Topology(processors, memory_bytes, memory_bytes, 1),
        block_cache_bytes=block_cache_bytes,
        memtable_bytes=memtable_bytes,
    )
    EngineOptions(sizing.block_cache_bytes, sizing.memtable_bytes, sizing.background_jobs)
    assert memtable_bytes or sizing.memtable_bytes <= MEMTABLE_BYTES_MAX
