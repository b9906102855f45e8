"""How long the machine itself did not run anybody: what a hypervisor takes away shows in every latency.

`python -m bench.pauses INTERVAL_US` is the helper process behind `MachinePauses`: with real-time priority where that is
allowed, a thread on each processor wakes at an interval and notes how late it was. Nothing in the guest can keep it
from running then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from bench.machine import ROOT, environment

_INTERVAL_US: Final = 2_000
_PRIORITY: Final = 50
NOTED_MS: Final = 2.0
"""Shorter pauses are not noted one by one."""


class Pause(NamedTuple):
    """From when until when a processor did not run, as `time.perf_counter_ns` tells it in any process."""

    start_ns: int
    end_ns: int


class _Told(msgspec.Struct):
    longest_ns: int
    real_time: bool
    pauses: list[Pause]


class MachinePauses:
    """Measures until the block ends.

    longest_ms: how late the latest wake-up was; pauses: those of NOTED_MS and more, of any processor; real_time:
    whether nothing in the guest can have been the reason.
    """

    longest_ms = 0.0
    real_time = False

    def __init__(self) -> None:
        self.pauses: list[Pause] = []

    def __enter__(self) -> MachinePauses:
        command = [sys.executable, "-m", "bench.pauses", str(_INTERVAL_US)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # ready
        return self

    def __exit__(self, *_: object) -> None:
        output, _error = self._process.communicate("\n")
        told = msgspec.json.decode(output, type=_Told)
        self.longest_ms, self.real_time, self.pauses = told.longest_ns / 1e6, told.real_time, told.pauses

    def met(self, start_ns: int, end_ns: int) -> bool:
        """Tell whether the machine paused within a span."""
        return any(pause.start_ns < end_ns and start_ns < pause.end_ns for pause in self.pauses)


class _Sleeper(threading.Thread):
    """Wakes on one processor until it is told to end."""

    def __init__(self, processor: int, interval_us: int, ended: threading.Event) -> None:
        super().__init__()
        self._processor = processor
        self._interval_s = interval_us / 1e6
        self._ended = ended
        self.told = _Told(0, False, [])
        self.ready = threading.Event()

    def run(self) -> None:
        """Note how late each wake-up is."""
        with suppress(OSError):
            os.sched_setaffinity(0, {self._processor})  # of this thread alone
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
            self.told.real_time = True
        self.ready.set()
        while not self._ended.is_set():
            due = time.perf_counter_ns() + int(self._interval_s * 1e9)
            time.sleep(self._interval_s)
            woke = time.perf_counter_ns()
            self.told.longest_ns = max(self.told.longest_ns, woke - due)
            if woke - due >= NOTED_MS * 1e6:
                self.told.pauses.append(Pause(due, woke))


def _measure(interval_us: int) -> None:
    """Let a thread on each processor wake over and over until a line comes on stdin; print what they noted."""
    ended = threading.Event()
    sleepers = [_Sleeper(processor, interval_us, ended) for processor in sorted(os.sched_getaffinity(0))]
    for sleeper in sleepers:
        sleeper.start()
        sleeper.ready.wait()
    print("ready", flush=True)
    sys.stdin.readline()
    ended.set()
    for sleeper in sleepers:
        sleeper.join()
    told = [sleeper.told for sleeper in sleepers]
    pauses = sorted(pause for each in told for pause in each.pauses)
    both = _Told(max(each.longest_ns for each in told), all(each.real_time for each in told), pauses)
    print(msgspec.json.encode(both).decode())


if __name__ == "__main__":
    _measure(int(sys.argv[1]))
