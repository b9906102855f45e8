"""The core workloads of YCSB in our own protocol, closed and open loop, and the highest rate that is carried.

A: half reads, half updates. B: 95 % reads, 5 % updates. C: reads. D: 95 % reads of the latest, 5 % inserts.
E: 95 % short scans, 5 % inserts. F: half reads, half read-modify-write. Cooper et al., "Benchmarking Cloud Serving
Systems with YCSB" (SoCC 2010). Every write is synced. Several generators, each a process, share the connections.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.generator.dialects import our_get, our_put, our_scan, ours
from bench.generator.plan import Distribution, Generators, Outcome, Plan, Request, run
from bench.latency import percentiles
from bench.machine import RawSync
from bench.process import DaemonProcess
from bench.report import Report, met

MIXES: Final = "ABCDEF"
OPEN_SLOTS: Final = 1_000  # an open loop's requests in flight on a connection; beyond, they wait and are late
TARGET_RATE: Final = 100_000.0
READ_P99_MS: Final = 10.0
RAW_QUICK_MS: Final = 4.0
_STEPS: Final = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_SEARCH_SECONDS: Final = 5.0
_CARRIED_SECONDS: Final = 20.0
_CARRIED_SHARE: Final = 0.99


class Measured(NamedTuple):
    """One run: what the generators saw, the daemon's CPU per request (us), the raw sync samples meanwhile (us)."""

    outcome: Outcome
    cpu_us: float
    raw_us: list[float]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the mixes."""
    group = parser.add_argument_group("mixes")
    group.add_argument("--mixes", default=MIXES, help="which workloads of YCSB (default %(default)s; empty: none)")
    group.add_argument("--distributions", default="zipfian,uniform", help="of keys (default %(default)s; D is latest)")
    group.add_argument("--value-bytes", default="200", help="one or more sizes (default %(default)s)")
    group.add_argument("--connections", type=int, default=16, help="over all generators (default %(default)s)")
    group.add_argument("--depths", default="16", help="requests in flight on each (default %(default)s)")
    group.add_argument("--processes", type=int, default=1, help="generators (default %(default)s)")
    group.add_argument("--mix-seconds", type=float, default=2.0, help="of each case (default %(default)s)")
    group.add_argument("--keys", type=int, default=100_000, help="records (default %(default)s)")
    group.add_argument("--target", type=float, default=TARGET_RATE, help="mixed 90/10 open loop (default %(default)s)")
    group.add_argument("--target-seconds", type=float, default=60.0, help="default %(default)s; 0: not run")


def requests(mix: str, size: int) -> list[Request]:
    """Return the requests of a workload with their weights. Raises KeyError for a letter that YCSB does not have."""
    return {
        "A": [our_get(0.5), our_put(size, 0.5)],
        "B": [our_get(0.95), our_put(size, 0.05)],
        "C": [our_get()],
        "D": [our_get(0.95), our_put(size, 0.05, "insert", inserts=True)],
        "E": [our_scan(0.95), our_put(size, 0.05, "insert", inserts=True)],
        "F": [our_get(0.5), our_get(0.5, "read-to-modify", then=2), our_put(size, 0.0, "read-modify-write")],
    }[mix]


def add_rows(arguments: argparse.Namespace, report: Report, daemon: DaemonProcess) -> None:
    """Run the mixes, closed and open, then the demanded rate; a bench's daemon may hold other records already."""
    sizes = [int(size) for size in arguments.value_bytes.split(",")]
    for size in sizes:
        _load(daemon, arguments.keys, size)
        for mix in arguments.mixes:
            for distribution in _distributions(mix, arguments.distributions):
                for depth in (int(depth) for depth in arguments.depths.split(",")):
                    _closed_and_open(arguments, report, daemon, mix, distribution, size, depth)
    if arguments.target_seconds:
        if not arguments.mixes:
            _load(daemon, arguments.keys, sizes[0])
        _target(arguments, report, daemon, sizes[0])


def _distributions(mix: str, names: str) -> Iterator[Distribution]:
    if mix == "D":
        yield "latest"
        return
    known: tuple[Distribution, ...] = ("uniform", "zipfian")
    yield from (each for each in known if each in names.split(","))


def _load(daemon: DaemonProcess, keys: int, size: int) -> None:
    plan = Plan(ours(daemon.socket), [our_put(size)], 8, 128, 3600.0, keys, operations=keys)
    outcome = run(plan._replace(distribution="sequential"))
    if outcome.errors or outcome.answered != keys:
        raise RuntimeError(f"the records could not be loaded; the first error: {outcome.error!r}")


class _Inserts:
    """Which keys have been inserted by earlier runs: each run begins behind them."""

    def __init__(self) -> None:
        self.until: dict[Path, int] = {}

    def start(self, folder: Path, keys: int) -> int:
        return self.until.get(folder, keys)

    def note(self, folder: Path, start: int, outcome: Outcome, processes: int) -> None:
        # Generators insert at different speeds and every so manieth key each: beyond all of them is free.
        self.until[folder] = start + (outcome.inserted + 1) * processes


_inserts: Final = _Inserts()


def measure(
    daemon: DaemonProcess, kinds: Sequence[Request], plan: Plan, processes: int, *, raw_interval_ms: int = 25
) -> Measured:
    """Run a plan spread over generators; the daemon's CPU is that of the window and the answers after it."""
    start = _inserts.start(daemon.folder, plan.keys)
    parts = [
        plan._replace(
            requests=kinds,
            connections=max(1, plan.connections // processes),
            rate=plan.rate / processes,
            seed=plan.seed * 100 + part,
            insert_start=start + part,
            insert_step=processes,
        )
        for part in range(processes)
    ]
    with Generators(parts) as generators, RawSync(daemon.folder, raw_interval_ms) as raw:
        before = daemon.cost()
        outcome = generators.run()
        after = daemon.cost()
    _inserts.note(daemon.folder, start, outcome, processes)
    return Measured(outcome, (after.cpu_s - before.cpu_s) / max(outcome.answered, 1) * 1e6, raw.samples_us)


def _closed_and_open(
    arguments: argparse.Namespace,
    report: Report,
    daemon: DaemonProcess,
    mix: str,
    distribution: Distribution,
    size: int,
    depth: int,
) -> None:
    kinds = requests(mix, size)
    plan = Plan(
        ours(daemon.socket), kinds, arguments.connections, depth, arguments.mix_seconds, arguments.keys,
        distribution=distribution,
    )  # fmt: skip
    case = f"{distribution}, {size} B, {arguments.connections} x {depth}"
    closed = measure(daemon, kinds, plan, arguments.processes)
    _rows(report, f"YCSB {mix}", f"{case}, closed loop", closed)
    rate = closed.outcome.per_second / 2
    if rate:
        opened = measure(daemon, kinds, plan._replace(depth=OPEN_SLOTS, rate=rate, seed=2), arguments.processes)
        _rows(report, f"YCSB {mix}", f"{case}, open loop at half", opened, rate)


def _rows(report: Report, title: str, case: str, measured: Measured, rate: float | None = None) -> None:
    outcome = measured.outcome
    report.add(
        f"{title}: throughput",
        case,
        unit="1/s",
        ours=outcome.per_second,
        theirs=rate,
        peer="asked for" if rate else None,
    )
    for kind, latencies in outcome.latencies.items():
        if latencies.samples:
            for label, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
                report.add(f"{title}: {kind} {label}", case, unit="ms", ours=latencies.percentile(share))
    report.add(f"{title}: daemon CPU per request", case, unit="us", ours=measured.cpu_us)
    report.add(f"{title}: generator CPU per request", case, unit="us", ours=outcome.cpu_us)
    if rate:
        report.add(f"{title}: generators' own lag p99", case, unit="ms", ours=outcome.lag.percentile(0.99))
    lost = outcome.errors + outcome.issued - outcome.answered
    report.add(f"{title}: errors and unanswered", case, ours=lost, must="== 0")


def _target(arguments: argparse.Namespace, report: Report, daemon: DaemonProcess, size: int) -> None:
    """Run the demanded rate, cached gets and synced puts nine to one; if it is not carried, find one that is."""
    kinds = [our_get(0.9), our_put(size, 0.1)]
    plan = Plan(
        ours(daemon.socket), kinds, arguments.connections, OPEN_SLOTS, arguments.target_seconds, arguments.keys,
        rate=arguments.target,
    )  # fmt: skip
    _open_rows(report, "open loop 90/10", measure(daemon, kinds, plan, arguments.processes), arguments.target)
    if _carried(report):
        return
    closed_plan = plan._replace(rate=0.0, depth=64, seconds=_SEARCH_SECONDS)
    highest = measure(daemon, kinds, closed_plan, arguments.processes).outcome.per_second
    report.add("closed loop 90/10", f"{arguments.connections} x 64", unit="1/s", ours=highest)
    for step in _STEPS:
        tried = plan._replace(rate=highest * step, seconds=_SEARCH_SECONDS)
        found = measure(daemon, kinds, tried, arguments.processes)
        if _carries(found, tried.rate):
            longer = tried._replace(seconds=min(arguments.target_seconds, _CARRIED_SECONDS))
            whole = measure(daemon, kinds, longer, arguments.processes)
            if _carries(whole, tried.rate):
                _open_rows(report, "highest rate carried 90/10", whole, tried.rate, demanded=False)
                return
    report.add("highest rate carried 90/10: answered", "no rate tried was", unit="1/s")


def _carried(report: Report) -> bool:
    return all(row.met for row in report.rows if row.measure.startswith("open loop 90/10") and row.must)


def _carries(measured: Measured, rate: float) -> bool:
    outcome = measured.outcome
    whole = outcome.issued == outcome.answered and not outcome.errors
    gets, puts = (outcome.latencies[kind].percentile(0.99) for kind in ("get", "put"))
    quick = gets < READ_P99_MS and met(puts, _put_must(measured))
    return whole and bool(quick) and outcome.per_second >= rate * _CARRIED_SHARE


def _put_must(measured: Measured) -> str:
    """Return what a synced put's 99th percentile must be, by what the bare disk did in the same seconds."""
    raw_p99 = percentiles(measured.raw_us).p99
    return f"< {READ_P99_MS:g}" if raw_p99 < RAW_QUICK_MS else f"<= {2 * raw_p99 + 2:.2f}"


def _open_rows(report: Report, title: str, measured: Measured, rate: float, *, demanded: bool = True) -> None:
    outcome, raw = measured.outcome, percentiles(measured.raw_us)
    case = f"{rate:,.0f}/s for {outcome.seconds:.0f} s"
    must = f">= {rate * _CARRIED_SHARE:.0f}" if demanded else None
    report.add(
        f"{title}: answered", case, unit="1/s", ours=outcome.per_second, theirs=rate, peer="asked for", must=must
    )
    lost = outcome.errors + outcome.issued - outcome.answered
    report.add(f"{title}: errors and unanswered", case, ours=lost, must="== 0" if demanded else None)
    for kind, limit in (("get", f"< {READ_P99_MS:g}"), ("put", _put_must(measured))):
        latencies = outcome.latencies[kind]
        report.add(f"{title}: {kind} p50", case, unit="ms", ours=latencies.percentile(0.5))
        p99 = latencies.percentile(0.99)
        report.add(
            f"{title}: {kind} p99", case, unit="ms", ours=p99, theirs=raw.p99, peer="raw fdatasync, same minute",
            must=limit if demanded else None,
        )  # fmt: skip
        report.add(f"{title}: {kind} p99.9", case, unit="ms", ours=latencies.percentile(0.999))
    report.add(
        f"{title}: daemon's processors",
        case,
        unit="cores",
        ours=measured.cpu_us * outcome.answered / 1e6 / outcome.elapsed_s,
    )
    report.add(f"{title}: generators' processors", case, unit="cores", ours=outcome.cpu_s / outcome.elapsed_s)
    report.add(f"{title}: generators' own lag p99", case, unit="ms", ours=outcome.lag.percentile(0.99))
