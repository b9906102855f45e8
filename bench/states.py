"""A million agent states of 200 bytes: what they cost to load, keep, recover, read cold and scan.

The daemon runs with its default options. Of a value's 200 bytes some 80 hold random hexadecimal digits, the rest the
words of a state record: it compresses about as agents' states do.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw

from bench.latency import percentiles
from bench.load import throwaway_daemon
from bench.process import DaemonProcess, weigh
from bench.report import Report
from bench.wire import Connection, failure
from recollectd.protocol import table
from recollectd.protocol.frames import RequestHeader, pack_request
from recollectd.protocol.messages.connection import Status, StatusRequest
from recollectd.protocol.messages.state import (
    StateGet,
    StateItem,
    StatePage,
    StatePut,
    StatePutMany,
    StateRecord,
    StateScan,
)

STATES_DEFAULT: Final = 1_000_000
PER_MESSAGE: Final = 200
IN_FLIGHT: Final = 16
NAMESPACES: Final = 10
SINGLE_SECONDS: Final = 20.0
COLD_READS: Final = 2_000
SCAN_PREFIX_STATES: Final = 100_000
RECOVERY_S_MAX: Final = 60
VALUE_BYTES: Final = 200
COMPACTION_TIMEOUT_S: Final = 90.0
QUIET_S: Final = 5.0


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--states", type=int, default=STATES_DEFAULT, help="how many (default %(default)s)")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Load, weigh, kill, recover, read."""
    count = arguments.states
    case = f"{count:,} states of {VALUE_BYTES} bytes"
    with throwaway_daemon(arguments.folder) as daemon:
        before = daemon.cost()
        seconds = load(daemon, count)
        after = daemon.cost()
        report.add("load rate", f"{case}, {PER_MESSAGE} a message, synced", unit="states/s", ours=count / seconds)
        report.add("  daemon CPU per state", case, unit="us", ours=(after.cpu_s - before.cpu_s) / count * 1e6)
        report.add("memory after the load", case, unit="MB", ours=after.resident_bytes / 1e6)
        report.add("  memory per state", case, unit="bytes", ours=after.resident_bytes / count)
        # Killed while the journal holds as much as it ever does in a row: that is the recovery to measure.
        daemon.kill()
        recovery = daemon.start()
        report.add("recovery after SIGKILL", case, unit="s", ours=recovery, must=f"<= {RECOVERY_S_MAX}")
        report.add("memory after recovery", case, unit="MB", ours=daemon.cost().resident_bytes / 1e6)
        check_count(daemon, count)
        _cold_reads(daemon, count, report, case)
        _scan(daemon, count, report, case)
        _weigh(daemon, count, report, case)


def value(rng: random.Random) -> Raw:
    """Return a state's value: msgpack of a small record, VALUE_BYTES long."""
    record = {
        "status": rng.choice(("idle", "working", "waiting for a tool", "done")),
        "task": f"task-{rng.randrange(10_000)}",
        "step": rng.randrange(1_000),
        "notes": "",
    }
    room = VALUE_BYTES - len(msgspec.msgpack.encode(record)) - 1
    record["notes"] = rng.randbytes(room // 2).hex().ljust(room, ".")[:room]
    encoded = msgspec.msgpack.encode(record)
    return Raw(encoded)


def name(index: int) -> tuple[tuple[str, ...], str]:
    """Return namespace and key of a state."""
    return ("bench", f"team-{index % NAMESPACES}"), f"agent-{index // NAMESPACES:08}"


def load(daemon: DaemonProcess, count: int) -> float:
    """Write all states, synced, many a message and several messages in flight; return the seconds."""
    rng = random.Random(7)
    with Connection(daemon.socket) as connection:
        started = time.monotonic()
        for number, body in enumerate(_messages(count, rng), 1):
            span = min(number - 1, IN_FLIGHT - 1)
            connection.send(pack_request(RequestHeader(number, number, span=span), body))
            if number > IN_FLIGHT - 1:
                _expect_stored(connection)
        for _ in range(min(number, IN_FLIGHT - 1)):
            _expect_stored(connection)
        return time.monotonic() - started


def _messages(count: int, rng: random.Random) -> Iterator[bytes]:
    for start in range(0, count, PER_MESSAGE * NAMESPACES):
        for team in range(NAMESPACES):
            indexes = range(start + team, min(start + PER_MESSAGE * NAMESPACES, count), NAMESPACES)
            items = tuple(StateItem(name(index)[1], value(rng)) for index in indexes)
            if items:
                yield table.encode(StatePutMany(("bench", f"team-{team}"), items))


def _expect_stored(connection: Connection) -> None:
    reply = connection.receive()
    if reply.is_error and (refused := failure(reply.decode())):
        raise refused


def check_count(daemon: DaemonProcess, count: int) -> None:
    """Raise AssertionError unless as many states are there as were written."""
    found = 0
    with Connection(daemon.socket) as connection:
        for team in range(NAMESPACES):
            found += sum(len(page.records) for page in _pages(connection, f"team-{team}", "", values=False))
    assert found == count, f"{found} of {count} states are there after recovery"


def _pages(connection: Connection, team: str, prefix: str, *, values: bool) -> Iterator[StatePage]:
    cursor = b""
    while True:
        page = connection.call(StateScan(("bench", team), prefix, limit=2_000, cursor=cursor, values=values))
        assert isinstance(page, StatePage)
        yield page
        if not (cursor := page.cursor):
            return


def drop_page_cache(folder: Path) -> str:
    """Drop the folder's pages from memory; return how."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        return "page cache dropped"
    except OSError:
        for path in folder.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
        return "pages advised away"


def _cold_reads(daemon: DaemonProcess, count: int, report: Report, case: str) -> None:
    """Read random keys one at a time, the daemon freshly started and nothing in the page cache."""
    daemon.terminate()
    how = drop_page_cache(daemon.data)
    daemon.start()
    rng = random.Random(11)
    with Connection(daemon.socket) as connection:
        latencies: list[float] = []
        for _ in range(COLD_READS):
            namespace, key = name(rng.randrange(count))
            started = time.perf_counter()
            record = connection.call(StateGet(namespace, key))
            latencies.append((time.perf_counter() - started) * 1e6)
            assert isinstance(record, StateRecord), f"{namespace} {key}: {record}"
    found = percentiles(latencies)
    report.add("get of a random key p50", f"{case}, {how}", unit="ms", ours=found.p50)
    report.add("get of a random key p99", f"{case}, {how}", unit="ms", ours=found.p99)
    report.add("get of a random key max", f"{case}, {how}", unit="ms", ours=found.longest)


def _scan(daemon: DaemonProcess, count: int, report: Report, case: str) -> None:
    """Scan one namespace by prefix, twice: cold and warm; time a ping beside the walk."""
    how = drop_page_cache(daemon.data)
    with Connection(daemon.socket) as connection:
        for temperature in (how, "warm"):
            started = time.monotonic()
            found = sum(len(page.records) for page in _pages(connection, "team-3", "agent-0000", values=True))
            rate = found / (time.monotonic() - started)
            report.add("scan of a prefix", f"{found:,} states with values, {temperature}", unit="states/s", ours=rate)
        single = connection.call(StateScan(("bench", "team-3"), "agent-00000", limit=100))
        assert isinstance(single, StatePage)
        pages: list[float] = []
        for _ in range(50):
            started = time.perf_counter()
            connection.call(StateScan(("bench", "team-3"), "agent-00000", limit=100))
            pages.append((time.perf_counter() - started) * 1000)
        report.add("a page of 100", "warm", unit="ms", ours=statistics.median(pages))


def _weigh(daemon: DaemonProcess, count: int, report: Report, case: str) -> None:
    """Weigh the folder after sync and compaction: preallocation and ballast apart."""
    _settle(daemon)
    os.sync()
    weight = weigh(daemon.data)
    report.add("disk, all allocated blocks", case, unit="MB", ours=weight.total / 1e6)
    report.add("  of it records", case, unit="MB", ours=weight.records / 1e6)
    report.add("  of it journal", case, unit="MB", ours=weight.journal / 1e6)
    report.add("  of it journal allocated ahead", case, unit="MB", ours=weight.ahead / 1e6)
    report.add("  of it ballast", case, unit="MB", ours=weight.ballast / 1e6)
    report.add("disk per state", f"{case}, without what is ahead", unit="bytes", ours=weight.data / count)
    report.add("  of it records", case, unit="bytes", ours=weight.records / count)
    payload = VALUE_BYTES + len(name(0)[1])
    report.add("  times key and value", case, unit="x", ours=weight.data / count / payload)


def _settle(daemon: DaemonProcess) -> None:
    """Stop and start once more, then wait until the folder's size has been the same for a while."""
    daemon.terminate()
    daemon.start({"records.checkpoint_interval_s": 1, "journal.segment_bytes": 1 << 20})
    with Connection(daemon.socket) as connection:
        connection.call(StatePut(("bench", "settle"), "last", Raw(b"\x01")), number=1)
        assert isinstance(connection.call(StatusRequest()), Status)
        give_up = time.monotonic() + COMPACTION_TIMEOUT_S
        last, since = -1, time.monotonic()
        while time.monotonic() < give_up:
            now = weigh(daemon.data).total
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > QUIET_S:
                return
            time.sleep(0.25)
