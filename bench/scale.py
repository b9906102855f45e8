"""How the cost of an operation grows: with the number of states, of versions of a key, of messages of a log.

Each point is a daemon of its own. Warm: the records were read before; cold: after a restart, with the data folder's
pages dropped from the page cache. Costs are the daemon's CPU until it has come to rest, in microseconds an operation.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.generator.dialects import NAMESPACE, our_append, our_get, our_last, our_put, ours
from bench.generator.plan import Outcome, Plan, Request
from bench.generator.plan import run as generate
from bench.load import throwaway_daemon
from bench.peers.footprint import footprint, settle
from bench.process import DaemonProcess, weigh
from bench.report import Report
from recollectd.client import Client

VALUE_BYTES: Final = 200
STATES: Final = (10_000, 100_000, 300_000)
STATES_LONG: Final = (10_000, 100_000, 1_000_000, 5_000_000)
DEPTHS: Final = (10, 100, 1_000, 10_000)
DEPTHS_LONG: Final = (10, 100, 1_000, 10_000, 100_000)
DEEP_KEYS: Final = 4  # keys and logs that a depth is tried with
DEMANDED_STATES: Final = 5_000_000
MUST: Final = "<= 1.3"
_SETTLE_S: Final = 30.0
_CONNECTIONS: Final = 8
_IN_FLIGHT: Final = 16
_COLD_SHARE: Final = 5  # of the states one in so many is read cold
_COLD_READS_MAX: Final = 20_000


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument(
        "--states", help=f"counts with commas between (default {_joined(STATES)}, up to 5,000,000 long)"
    )
    parser.add_argument("--depths", help=f"versions and messages a key (default {_joined(DEPTHS)}, 100,000 long)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measure (default %(default)s)")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Measure each point, then compare the largest number of states with the smallest."""
    states = _numbers(arguments.states) or (STATES_LONG if arguments.long else STATES)
    depths = _numbers(arguments.depths) or (DEPTHS_LONG if arguments.long else DEPTHS)
    costs = {count: _states(arguments, report, count) for count in states}
    for depth in depths:
        _depth(arguments, report, depth)
    _growth(report, costs)


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
        plan = _plan(daemon, our_put(VALUE_BYTES), count, arguments.seconds)
        _checked(generate(plan._replace(depth=128, operations=count, seconds=36_000.0, distribution="sequential")))
        _warm(plan, count)
        for request in (our_get(), our_put(VALUE_BYTES), our_append(VALUE_BYTES)):
            with _counted(daemon) as cost:
                outcome = _checked(generate(plan._replace(requests=[request])))
            costs[f"warm {request.name}"] = cost.per_operation(outcome)
            report.add(f"warm {request.name}: p99", case, unit="ms", ours=outcome.all.percentile(0.99))
        report.add("memory", case, unit="MiB", ours=footprint(daemon.pid).memory_bytes / 2**20)
        _restart_cold(daemon)
        cold = plan._replace(requests=[our_get()], operations=min(count // _COLD_SHARE, _COLD_READS_MAX), seconds=600.0)
        with _counted(daemon) as cost:
            outcome = _checked(generate(cold))
        costs["cold get"] = cost.per_operation(outcome)
        report.add("cold get: p99", case, unit="ms", ours=outcome.all.percentile(0.99))
        report.add("bytes on disk", case, unit="MiB", ours=weigh(daemon.data).data / 2**20)
    for measure, value in costs.items():
        report.add(f"{measure}: daemon CPU per operation", case, unit="us", ours=value)
    return costs


def _depth(arguments: argparse.Namespace, report: Report, depth: int) -> None:
    """Measure keys with so many versions, and logs with so many messages."""
    print(f"{depth:,} versions and messages", flush=True)
    with throwaway_daemon(arguments.folder) as daemon:
        with Client(f"unix://{daemon.socket}", namespace=NAMESPACE) as client:
            client.configure_history(count=0, age_s=0)
        for what, loaded, tried in (
            ("versions", our_put(VALUE_BYTES), (our_get(), our_put(VALUE_BYTES))),
            ("messages", our_append(VALUE_BYTES), (our_last(), our_append(VALUE_BYTES))),
        ):
            plan = _plan(daemon, loaded, DEEP_KEYS, arguments.seconds)
            operations = depth * DEEP_KEYS
            _checked(generate(plan._replace(operations=operations, seconds=36_000.0, distribution="sequential")))
            for request in tried:
                with _counted(daemon) as cost:
                    outcome = _checked(generate(plan._replace(requests=[request])))
                title, case = f"{request.name} of a deep key", f"{depth:,} {what}"
                value = cost.per_operation(outcome)
                report.add(f"{title}: daemon CPU per operation", case, unit="us", ours=value)


def _growth(report: Report, costs: dict[int, dict[str, float]]) -> None:
    least, most = min(costs), max(costs)
    for measure in costs[least]:
        ratio = costs[most][measure] / costs[least][measure] if costs[least][measure] else None
        if most != DEMANDED_STATES:
            report.add(f"{measure}: growth of cost", f"{most:,} states over {least:,}", unit="x", ours=ratio)
        demanded = ratio if most == DEMANDED_STATES else None
        # The demand is on what is warm; a cold read's figure is published beside it.
        must = MUST if measure.startswith("warm") else None
        case = f"{DEMANDED_STATES:,} states over {least:,}" + ("" if most == DEMANDED_STATES else "; only with --long")
        report.add(f"{measure}: growth of cost", case, unit="x", ours=demanded, must=must)


def _plan(daemon: DaemonProcess, request: Request, keys: int, seconds: float) -> Plan:
    return Plan(ours(daemon.socket), [request], _CONNECTIONS, _IN_FLIGHT, seconds, keys)


def _warm(plan: Plan, count: int) -> None:
    _checked(
        generate(plan._replace(requests=[our_get()], operations=count, seconds=36_000.0, distribution="sequential"))
    )


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
