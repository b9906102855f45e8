"""The short run: how many operations per second, how long they take, in under a minute.

Synced puts and reads, 16 connections with 16 requests in flight each, in a closed loop.
"""

from __future__ import annotations

import argparse
from typing import Final

from bench.latency import percentiles
from bench.load import CONNECTIONS, IN_FLIGHT, measure, throwaway_daemon
from bench.load_worker import Task
from bench.report import Report

SECONDS: Final = 6.0


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Measure puts, reads and a mix."""
    with throwaway_daemon(arguments.folder) as daemon:
        for case, read_share in (("synced puts", 0.0), ("half and half", 0.5), ("reads", 1.0)):
            task = Task(str(daemon.socket), CONNECTIONS, SECONDS, 1, in_flight=IN_FLIGHT, read_share=read_share)
            measured = measure(daemon, task)
            latency = percentiles(measured.write_us + measured.read_us)
            raw = percentiles(measured.raw_us)
            report.add("operations", case, unit="1/s", ours=measured.per_second)
            report.add("p99", case, unit="ms", ours=latency.p99, theirs=raw.p99, peer="raw fdatasync")
            report.add("daemon CPU per operation", case, unit="us", ours=measured.cpu_us)
