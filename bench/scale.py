"""How the cost of an operation grows: with the number of states, of versions of a key, of messages of a log.

Each point is a daemon of its own. Warm: the same 10,000 records or logs over and over, among however many there are;
any: all records alike, each read once beforehand; cold: after a restart, with the data folder's pages dropped from the
page cache. Costs are the daemon's CPU until it has come to rest, in microseconds an operation.
Each cost is measured a few times and the median counts; work is given by its operations, not by the clock, so that a
large store does as much of it as a small one.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.filling import fill
from bench.generator.dialects import NAMESPACE, our_append, our_get, our_last, our_put, ours
from bench.generator.plan import Outcome, Plan, Request
from bench.generator.plan import run as generate
from bench.load import throwaway_daemon
from bench.peers.footprint import footprint, settle
from bench.process import DaemonProcess, weigh
from bench.report import Report
from recollectd.client import Client

VALUE_BYTES: Final = 200
STATES: Final = (10_000, 5_000_000)
STATES_LONG: Final = (10_000, 100_000, 1_000_000, 5_000_000)
DEPTHS: Final = (10, 1_000, 100_000)
DEPTHS_LONG: Final = (10, 100, 1_000, 10_000, 100_000)
DEEP_KEYS: Final = 4  # keys, and at least so many logs, that a depth is tried with
DEMANDED_STATES: Final = 5_000_000
MUST: Final = "<= 1.3"
_SETTLE_S: Final = 30.0
_SECONDS_MAX: Final = 3_600.0  # work ends by its operations
_CONNECTIONS: Final = 8
_IN_FLIGHT: Final = 16
_COLD_SHARE: Final = 5  # of the states one in so many is read cold
_COLD_READS_MAX: Final = 20_000
_WARM: Final = 10_000
_TURNS: Final = 3
_READS: Final = 1_000_000  # of one measure
_WRITES: Final = 100_000


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument(
        "--states", help=f"counts with commas between (default {_joined(STATES)}, with --long more of them)"
    )
    parser.add_argument("--depths", help=f"versions and messages a key (default {_joined(DEPTHS)})")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Measure each point, then compare the largest with the smallest."""
    states = _numbers(arguments.states) or (STATES_LONG if arguments.long else STATES)
    depths = _numbers(arguments.depths) or (DEPTHS_LONG if arguments.long else DEPTHS)
    costs = {count: _states(arguments, report, count) for count in states}
    deep = {depth: _depth(arguments, report, depth) for depth in depths}
    _growth(report, costs)
    _deep_growth(report, deep)


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text else ()


def _states(arguments: argparse.Namespace, report: Report, count: int) -> dict[str, float]:
    """Return the costs of operations among so many states, by measure."""
    case = f"{count:,} states"
    print(case, flush=True)
    costs: dict[str, float] = {}
    with throwaway_daemon(arguments.folder) as daemon:
        plan = _plan(daemon, our_put(VALUE_BYTES), count)
        fill(daemon, count, VALUE_BYTES)
        _warm(plan, count)
        get, put, append = our_get(), our_put(VALUE_BYTES), our_append(VALUE_BYTES)
        warm = plan._replace(keys=_WARM)
        _checked(generate(warm._replace(requests=[append], operations=10 * _WARM, distribution="sequential")))
        for name, chosen, request in (
            ("warm get", warm, get),
            ("warm put", warm, put),
            ("warm append", warm, append),
            ("get of any", plan, get),
            ("put of any", plan, put),
        ):
            costs[name], p99 = _cost(daemon, chosen, request)
            report.add(f"{name}: p99", case, unit="ms", ours=p99)
        report.add("memory", case, unit="MiB", ours=footprint(daemon.pid).memory_bytes / 2**20)
        _restart_cold(daemon)
        cold = plan._replace(requests=[our_get()], operations=min(count // _COLD_SHARE, _COLD_READS_MAX))
        with _counted(daemon) as cost:
            outcome = _checked(generate(cold))
        costs["cold get"] = cost.per_operation(outcome)
        report.add("cold get: p99", case, unit="ms", ours=outcome.all.percentile(0.99))
        report.add("bytes on disk", case, unit="MiB", ours=weigh(daemon.data).data / 2**20)
    for measure, value in costs.items():
        report.add(f"{measure}: daemon CPU per operation", case, unit="us", ours=value)
    return costs


def _cost(daemon: DaemonProcess, plan: Plan, request: Request) -> tuple[float, float]:
    """Return the daemon's CPU for one operation in microseconds, and the 99th percentile in milliseconds: medians."""
    figures: list[tuple[float, float]] = []
    for turn in range(_TURNS):
        operations = _WRITES if request.write else _READS
        with _counted(daemon) as cost:
            outcome = _checked(generate(plan._replace(requests=[request], operations=operations, seed=turn)))
        figures.append((cost.per_operation(outcome), outcome.all.percentile(0.99)))
    cpu_us, p99_ms = zip(*figures, strict=True)
    return statistics.median(cpu_us), statistics.median(p99_ms)


def _depth(arguments: argparse.Namespace, report: Report, depth: int) -> dict[str, float]:
    """Return the costs of operations on keys with so many versions, and on logs with so many messages.

    Keys keep so many versions and no more: what is measured does not make them deeper. There are so many logs that it
    makes them at most twice as deep.
    """
    print(f"{depth:,} versions and messages", flush=True)
    costs: dict[str, float] = {}
    with throwaway_daemon(arguments.folder) as daemon:
        with Client(f"unix://{daemon.socket}", namespace=NAMESPACE) as client:
            client.configure_history(count=depth, age_s=None)
        logs = max(DEEP_KEYS, _TURNS * _WRITES // depth)
        for what, keys, loaded, tried in (
            ("versions", DEEP_KEYS, our_put(VALUE_BYTES), (our_get(), our_put(VALUE_BYTES))),
            ("messages", logs, our_append(VALUE_BYTES), (our_last(), our_append(VALUE_BYTES))),
        ):
            plan = _plan(daemon, loaded, keys)
            _checked(generate(plan._replace(depth=128, operations=depth * keys, distribution="sequential")))
            for request in tried:
                measure = f"{request.name} of a deep key"
                costs[measure], _ = _cost(daemon, plan, request)
                case = f"{depth:,} {what}, {keys:,} of them"
                report.add(f"{measure}: daemon CPU per operation", case, unit="us", ours=costs[measure])
    return costs


def _deep_growth(report: Report, costs: dict[int, dict[str, float]]) -> None:
    least, most = min(costs), max(costs)
    for measure, cost in costs[least].items():
        case = f"{most:,} versions or messages over {least:,}"
        report.add(f"{measure}: growth of cost", case, unit="x", ours=costs[most][measure] / cost, must=MUST)


def _growth(report: Report, costs: dict[int, dict[str, float]]) -> None:
    least, most = min(costs), max(costs)
    for measure in costs[least]:
        ratio = costs[most][measure] / costs[least][measure] if costs[least][measure] else None
        if most != DEMANDED_STATES:
            report.add(f"{measure}: growth of cost", f"{most:,} states over {least:,}", unit="x", ours=ratio)
        demanded = ratio if most == DEMANDED_STATES else None
        # The demand is on what is in memory; a cold read's figure is published beside it.
        must = None if measure.startswith("cold") else MUST
        case = f"{DEMANDED_STATES:,} states over {least:,}" + ("" if most == DEMANDED_STATES else "; not run")
        report.add(f"{measure}: growth of cost", case, unit="x", ours=demanded, must=must)


def _plan(daemon: DaemonProcess, request: Request, keys: int) -> Plan:
    return Plan(ours(daemon.socket), [request], _CONNECTIONS, _IN_FLIGHT, _SECONDS_MAX, keys)


def _warm(plan: Plan, count: int) -> None:
    _checked(generate(plan._replace(requests=[our_get()], operations=count, distribution="sequential")))


def _checked(outcome: Outcome) -> Outcome:
    """Return the outcome if everything was answered, and with something. Raises RuntimeError."""
    if outcome.errors or outcome.missing or outcome.issued != outcome.answered or not outcome.answered:
        raise RuntimeError(
            f"{outcome.errors} errors, {outcome.missing} answers with nothing, {outcome.answered} answered of "
            f"{outcome.issued}; the first error: {outcome.error!r}"
        )
    return outcome


class _Cost:
    """CPU seconds of a daemon between two moments at rest."""

    cpu_s = 0.0

    def per_operation(self, outcome: Outcome) -> float:
        return self.cpu_s / outcome.answered * 1e6


@contextmanager
def _counted(daemon: DaemonProcess) -> Iterator[_Cost]:
    cost = _Cost()
    before = settle(lambda: footprint(daemon.pid), _SETTLE_S)
    yield cost
    cost.cpu_s = settle(lambda: footprint(daemon.pid), _SETTLE_S).cpu_s - before.cpu_s


def _restart_cold(daemon: DaemonProcess) -> None:
    """Restart with the pages of its files dropped; needs no rights, as dropping the whole page cache would."""
    daemon.terminate()
    for path in (path for path in daemon.data.rglob("*") if path.is_file()):
        _drop(path)
    daemon.start()


def _drop(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
