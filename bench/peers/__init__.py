"""The same work against the daemon and its peers, in one interleaved run.

Every round visits every measure, shape and server, so that a slow minute of the machine hits all of them; a ratio is
taken within its round, and the median over the rounds counts. CPU is that of all the server's processes and threads
until it has come to rest after the window: compactions, log rewrites and checkpoints are in it.

The keys that are put have a hundred versions each before the windows begin; afterwards versions are read back, as many
as are demanded, in order and all different. At the end each server compacts what it has, and its files are weighed.

What leans which way: recollectd keeps and prunes a hundred versions of each record, the peers keep the last value only.
SQLite is called in its own process, without a network. The generator is the same program for every server, and its CPU
per operation is published. All share the machine's processors with it.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bench import client_speed
from bench.generator.plan import Outcome
from bench.peers.footprint import settle
from bench.peers.rows import Sample, Samples, add_rows
from bench.peers.servers import VALUE_BYTES, Ours, Peer, Postgres, Redis, Sqlite, Unavailable
from bench.report import Report
from recollectd.client import Client
from recollectd.client.results import Version

SHAPES: Final = ((50, 1), (50, 16), (8, 128))
KINDS: Final = ("get", "put", "append", "last")
VERSIONS: Final = 100
_KNOWN: Final = ("redis", "valkey", "postgres", "sqlite")
_HISTORY_SAMPLES: Final = 2_000
_CLIENT_ROUNDS: Final = 5
_CLIENT_SECONDS: Final = 0.2
_PASSES_ELSEWHERE: Final = 2
_EVERYSEC_KINDS: Final = ("put",)


class Size(NamedTuple):
    """How much work. deep: keys that are put, a hundred versions of each beforehand; settle_s: patience afterwards."""

    rounds: int
    read_seconds: float
    write_seconds: float
    keys: int
    deep: int
    logs: int
    settle_s: float


_SHORT: Final = Size(5, 0.6, 1.2, 100_000, 100_000, 1_000, 20.0)
_LONG: Final = Size(7, 5.0, 30.0, 100_000, 100_000, 10_000, 60.0)


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--peers", default=",".join(_KNOWN), help="with commas between (default %(default)s)")
    parser.add_argument("--rounds", type=int, help=f"default {_SHORT.rounds}, with --long {_LONG.rounds}")
    parser.add_argument("--deep", type=int, help=f"keys with {VERSIONS} versions (default {_SHORT.deep})")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which measures (default %(default)s)")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Start the servers, load them, work in rounds, compare."""
    names = arguments.peers.split(",")
    if unknown := set(names) - set(_KNOWN):
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(_KNOWN)}")
    size = _LONG if arguments.long else _SHORT
    size = size._replace(rounds=arguments.rounds or size.rounds, deep=arguments.deep or size.deep)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-", dir=arguments.folder)))
        folder.chmod(0o755)  # PostgreSQL runs as another user
        ours = Ours(_subfolder(folder, "recollectd"), {})
        servers = _start(stack, folder, names, ours, report)
        kinds = [kind for kind in KINDS if kind in arguments.kinds.split(",")]
        for server in servers:
            _load(server, kinds, size)
        flushes = _flushes(ours)
        samples, items = _rounds(servers, kinds, size)
        report.add("memtable flushes during the windows", "all rounds", ours=_flushes(ours) - flushes, must=">= 3")
        add_rows(report, samples, size.deep, [server.name for server in servers], names)
        if "put" in kinds:
            _read_back(ours, size, report)
        _memory(servers, report)
        redis = next((each for each in servers if isinstance(each, Redis)), None)
        if redis is not None:
            client_speed.compare(report, ours, redis, _CLIENT_ROUNDS, _CLIENT_SECONDS)
        _disk(servers, items, report)


def _subfolder(folder: Path, name: str) -> Path:
    path = folder / name.replace(" ", "-")
    path.mkdir()
    return path


def _start(stack: contextlib.ExitStack, folder: Path, names: list[str], ours: Ours, report: Report) -> list[Peer]:
    """Start what there is; a peer that is missing gets a row that says so."""
    servers: list[Peer] = []
    for name in ("recollectd", *names):
        try:
            for server in [ours] if name == "recollectd" else _make(name, folder):
                server.start()
                stack.callback(server.stop)
                servers.append(server)
                report.versions[name] = server.version()
                report.add("durability", server.durability, peer=server.name)
        except Unavailable as error:
            report.add("peer present", str(error), peer=name, must="== 1")
    return servers


def _make(name: str, folder: Path) -> Iterator[Peer]:
    if name == "postgres":
        yield Postgres(_subfolder(folder, name))
    elif name == "sqlite":
        yield Sqlite(_subfolder(folder, name))
    else:
        for fsync in ("always", "everysec"):
            yield Redis(_subfolder(folder, f"{name}-{fsync}"), f"{name}-server", fsync)


def _load(server: Peer, kinds: list[str], size: Size) -> None:
    print(f"loading {server.name}", flush=True)
    if "get" in kinds or size.deep < size.keys:
        _sound(server, server.load("put", size.keys, size.keys))
    if "put" in kinds:
        # The peers overwrite: only the daemon needs the passes, the others a few to have left their first state.
        passes = VERSIONS if isinstance(server, Ours) else _PASSES_ELSEWHERE
        _sound(server, server.load("put", size.deep, size.deep * passes))
    if "append" in kinds or "last" in kinds:
        _sound(server, server.load("append", size.logs, size.logs * 20))


def _sound(server: Peer, outcome: Outcome) -> Outcome:
    """Return the outcome if every request was answered, and with something. Raises RuntimeError."""
    lost = outcome.issued - outcome.answered
    if outcome.errors or outcome.missing or lost or not outcome.answered:
        raise RuntimeError(
            f"{server.name}: {outcome.errors} errors, {outcome.missing} answers with nothing, {lost} unanswered of "
            f"{outcome.issued}; the first error: {outcome.error!r}"
        )
    return outcome


def _rounds(servers: list[Peer], kinds: list[str], size: Size) -> tuple[Samples, Counter[str]]:
    """Return the samples, and how many items each server has in its logs by then: the quicker one has more to keep."""
    samples: Samples = defaultdict(list)
    items: Counter[str] = Counter()
    for turn in range(size.rounds):
        print(f"round {turn + 1} of {size.rounds}", flush=True)
        for kind in kinds:
            for shape in SHAPES:
                at = turn % len(servers)
                for server in servers[at:] + servers[:at]:
                    if server.name.endswith("everysec") and kind not in _EVERYSEC_KINDS:
                        continue
                    if isinstance(server, Sqlite) and shape != SHAPES[0]:
                        samples[server.name, kind, shape].append(samples[server.name, kind, SHAPES[0]][-1])
                        continue
                    sample, answered = _window(server, kind, shape, size, turn)
                    samples[server.name, kind, shape].append(sample)
                    items[server.name] += answered if kind == "append" else 0
    return samples, items


def _window(server: Peer, kind: str, shape: tuple[int, int], size: Size, turn: int) -> tuple[Sample, int]:
    """Return what one window showed, and how many operations were done in it."""
    seconds = size.write_seconds if kind in ("put", "append") else size.read_seconds
    keys = {"get": size.keys, "put": size.deep}.get(kind, size.logs)
    before = server.footprint()  # at rest since its last window
    outcome = _sound(server, server.work(kind, keys, *shape, seconds, turn * 100 + shape[0] + shape[1]))
    after = settle(server.footprint, size.settle_s, windows=server.rest_windows if kind in ("put", "append") else 1)
    sample = Sample(
        (after.cpu_s - before.cpu_s) / outcome.answered * 1e6,
        outcome.per_second,
        outcome.all.percentile(0.5),
        outcome.all.percentile(0.99),
        outcome.cpu_us,
    )
    return sample, outcome.answered


def _read_back(ours: Ours, size: Size, report: Report) -> None:
    """Read the versions kept of some keys, spread over all that were put, and look at every one."""
    from bench.generator.dialects import KEY, NAMESPACE
    from bench.generator.plan import KEY_DIGITS, KEY_MARK

    prefix = KEY.removesuffix(KEY_MARK).decode()
    with Client(f"unix://{ours.daemon.socket}", namespace=NAMESPACE) as client:
        numbers = range(0, size.deep, max(1, size.deep // _HISTORY_SAMPLES))
        kept = [_kept(client.state.history(f"{prefix}{number:0{KEY_DIGITS}}")) for number in numbers]
    case = f"fewest of {len(kept):,} keys, {size.deep:,} keys put"
    report.add("versions kept and read back", case, ours=min(kept), must=f">= {VERSIONS}")
    report.add("versions kept, median", case, ours=statistics.median(kept))


def _kept(history: list[Version]) -> int:
    """Return how many versions there are, newest first without a gap; 0 when one of them is not what was put."""
    newest = history[0].version if history else 0
    in_order = [each.version for each in history] == [*range(newest, newest - len(history), -1)]
    whole = all(isinstance(each.value, bytes) and len(each.value) == VALUE_BYTES for each in history)
    return len(history) if in_order and whole and len({each.value for each in history}) == len(history) else 0


def _memory(servers: list[Peer], report: Report) -> None:
    weights = [(each.name, each.footprint().memory_bytes / 2**20) for each in servers]
    _beside(report, "memory", "at the end of the windows", weights)


def _disk(servers: list[Peer], items: Counter[str], report: Report) -> None:
    weights = []
    for server in servers:
        print(f"compacting {server.name}", flush=True)
        server.compact()
        weights.append((server.name, server.disk_bytes() / 2**20))
        report.add("log items appended in the windows", peer=server.name, ours=items[server.name])
    _beside(report, "bytes on disk", "after sync and compaction; see how many log items each has", weights)


def _beside(report: Report, measure: str, case: str, weights: list[tuple[str, float]]) -> None:
    (_, ours), *others = weights
    for name, theirs in others:
        report.add(measure, case, unit="MiB", ours=ours, theirs=theirs, peer=name)
    if not others:
        report.add(measure, case, unit="MiB", ours=ours)


def _flushes(ours: Ours) -> int:
    with Client(f"unix://{ours.daemon.socket}") as client:
        return int(client.status()["queues"]["checkpoints"])
