"""The short run: one workload, two numbers, in under a minute.

YCSB A: half reads, half synced puts of 200 bytes, zipfian over 100,000 records, 16 connections with 16 requests in
flight each, in a closed loop of the native generator. `bench/mixes.py` has the other workloads and open loops.
"""

from __future__ import annotations

import argparse
from typing import Final

from bench import mixes
from bench.filling import fill
from bench.generator.dialects import ours
from bench.generator.plan import Plan
from bench.latency import percentiles
from bench.load import throwaway_daemon
from bench.report import Report

SECONDS: Final = 20.0
WARM_SECONDS: Final = 3.0
KEYS: Final = 100_000
VALUE_BYTES: Final = 200
CONNECTIONS: Final = 16
IN_FLIGHT: Final = 16


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Fill, warm up, measure."""
    kinds = mixes.requests("A", VALUE_BYTES)
    with throwaway_daemon(arguments.folder) as daemon:
        fill(daemon, KEYS, VALUE_BYTES)
        plan = Plan(ours(daemon.socket), kinds, CONNECTIONS, IN_FLIGHT, WARM_SECONDS, KEYS, distribution="zipfian")
        mixes.measure(daemon, kinds, plan, 1)
        measured = mixes.measure(daemon, kinds, plan._replace(seconds=SECONDS, seed=2), 1)
    outcome = measured.outcome
    lost = outcome.errors + outcome.issued - outcome.answered
    if lost:
        raise RuntimeError(f"{lost} requests were not answered as they should; the first error: {outcome.error!r}")
    case = f"half reads, half synced puts, {CONNECTIONS} x {IN_FLIGHT}"
    raw_p99 = percentiles(measured.raw_us).p99
    report.add("operations", case, unit="1/s", ours=outcome.per_second)
    report.add("p99", case, unit="ms", ours=outcome.all.percentile(0.99), theirs=raw_p99, peer="raw fdatasync")
