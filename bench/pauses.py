"""How long the machine itself did not run anybody: what a hypervisor takes away shows in every latency.

`python -m bench.pauses INTERVAL_US` is the helper process behind `MachinePauses`: with real-time priority where that is
allowed, it wakes at an interval and tells how late it was. Nothing in the guest can keep it from running then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

from bench.machine import ROOT, environment

_INTERVAL_US: Final = 1_000
_PRIORITY: Final = 50


class MachinePauses:
    """Measures until the block ends.

    longest_ms: how late the latest wake-up was; real_time: whether nothing in the guest can have been the reason.
    """

    longest_ms = 0.0
    real_time = False

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
        longest_us, real_time = output.split()
        self.longest_ms, self.real_time = float(longest_us) / 1_000, bool(int(real_time))


def _measure(interval_us: int) -> None:
    """Wake over and over until a line comes on stdin; print how late the latest was, in microseconds."""
    import select

    real_time = False
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        real_time = True
    print("ready", flush=True)
    longest_ns = 0
    while True:
        began = time.perf_counter_ns()
        if select.select([sys.stdin], [], [], interval_us / 1e6)[0]:
            break
        longest_ns = max(longest_ns, time.perf_counter_ns() - began - interval_us * 1_000)
    print(longest_ns // 1_000, int(real_time))


if __name__ == "__main__":
    _measure(int(sys.argv[1]))
