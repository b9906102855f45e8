"""`python -m bench [NAME] [--json FILE] [--long] [options of the bench]`.

Without NAME: the canonical short run, operations per second and p99 in under a minute. Every bench is a module (or a
package) with `run(arguments, report)` and, where it has options of its own, `options(parser)`.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench import machine
from bench.process import DaemonProcess
from bench.report import Report

BENCHES: Final = {
    "adapters": "adapters against what their frameworks come with, turn about",
    "canonical": "operations per second and p99, in under a minute",
    "crash": "random operations, kills and power cuts against an independent model",
    "mutations": "whether the tests notice when a promise is broken on purpose",
    "load": "synced puts per second; latencies beside the raw disk's; mixes; the highest rate carried",
    "peers": "the same work against Redis, Valkey, PostgreSQL and SQLite, interleaved",
    "client": "the Python client beside redis-py with hiredis, both faces, interleaved",
    "scale": "how costs grow with the number of states, versions and messages",
    "freeze": "the longest freeze of the event loop with pages dropped and compactions running",
    "cache": "memory per cached value above its bytes; hit ratios beside LRU",
    "profile": "where the microseconds of an operation go, by function",
    "report": "a page of tables and plots from the rows of other benches",
    "states": "1,000,000 agent states: load, memory, disk, recovery, cold reads, scans",
    "vectors": "vector search in process beside hnswlib and faiss: CPU at equal recall, memory, filters, bursts",
    "large": "a daemon with a million vectors: fill, memory, SIGKILL, start, searches from a cold page cache",
    "buffer": "a thousand agents' buffers: reads, persists, and bytes saved on disk",
    "fuzz": "hostile frames against the parser and the daemon",
    "locomo": "recall of evidence turns: one search over words and vectors",
    "keywords": "keyword search beside tantivy: time per query, exactness, adding",
    "locomo-import": "an import killed at random moments and run again",
}

_MODULES: Final = {
    "report": "page",  # bench.report is the rows themselves
    "client": "client_speed",
    "large": "vectors.large",
}


def main() -> int:
    """Run one bench; the exit code is 1 when a demand was not met."""
    name = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "canonical"
    if name not in BENCHES:
        print(f"no bench is called {name!r}; there are:", file=sys.stderr)
        for known, purpose in BENCHES.items():
            print(f"  {known:<14} {purpose}", file=sys.stderr)
        return 64
    module = importlib.import_module(f"bench.{_MODULES.get(name, name.replace('-', '_'))}")
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=BENCHES[name])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--long", action="store_true", help="the variant that may take hours")
    parser.add_argument("--folder", type=Path, help="where data folders are made (default: the temporary folder)")
    parser.add_argument("--daemon", metavar="COMMAND", help="what runs recollectd (default: this checkout)")
    if hasattr(module, "options"):
        module.options(parser)
    arguments = parser.parse_args(sys.argv[2:] if name in sys.argv[1:2] else sys.argv[1:])
    arguments.folder = (arguments.folder or Path(tempfile.gettempdir())).resolve()
    if hasattr(module, "render"):
        return int(module.render(arguments))
    DaemonProcess.command = shlex.split(arguments.daemon or "")
    report = Report(name)
    report.machine, report.versions = machine.facts(arguments.folder), machine.versions()
    report.machine["command"] = f"python -m bench {shlex.join(sys.argv[1:])}"
    print(_heading(report))
    module.run(arguments, report)
    report.show()
    if arguments.json:
        report.write(arguments.json)
    return 1 if report.failed else 0


def _heading(report: Report) -> str:
    facts = report.machine
    raw = facts["raw_fdatasync_ms"]
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_bytes'] / 2**30:.0f} GiB, Linux {facts['kernel']}, "
        f"{facts['file_system']}; raw fdatasync p50 {raw['p50']:.2f} p99 {raw['p99']:.2f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
