"""The Python client beside redis-py with hiredis: what one thread of a program gets through, and what it costs it.

Both faces of the client, blocking and asyncio, do the same work as those of redis-py, in turns within each round: gets
and puts of 200 bytes one at a time, through a pipeline, and many in one call; all rounds of reads come before those of
writes, so that no server still works on writes while its reads are measured. Redis syncs every write (`appendfsync
always`), as the daemon does. Every value that is read is looked at. Throughput is by the clock and has the server in
it; CPU is that of the client's thread alone. A ratio is taken within its round, and the median over the rounds counts.

MGET gives values and nothing else, so `get_values` stands beside it; `get_many`, whose records have versions and times,
does so for whoever wants those.

What leans which way: a put keeps its history here, and a value comes back with version and times; the client checks
names and sizes, numbers its writes and sends them again after a lost connection; redis-py does none of that. Gets of a
pipeline travel in one frame, which a server of single gets cannot offer. Redis' own pipelining is a plain list of
commands (`transaction=False`).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from bench.generator.dialects import NAMESPACE
from bench.peers.servers import VALUE_BYTES, Ours, Redis, Unavailable
from bench.report import Report
from recollectd.client import AsyncClient, Client

SIZES: Final = (100, 1_000)
_PEER: Final = "redis-py"
_MUST: Final = {"pipelined get": ">= 2", "get_values / MGET": ">= 2"}
_VALUE: Final = b"v" * VALUE_BYTES
_NAMES: Final = tuple(f"client:{number:06}" for number in range(max(SIZES)))

Work: TypeAlias = "Callable[[], object]"
AsyncWork: TypeAlias = "Callable[[], Awaitable[object]]"


class Pair(NamedTuple):
    """The same work by our client and by redis-py. operations: how many one call does."""

    measure: str
    operations: int
    ours: Callable[[], Any]
    theirs: Callable[[], Any]


class Speed(NamedTuple):
    """Operations per second by the clock, and microseconds of the client's CPU for each."""

    per_second: float
    cpu_us: float


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--rounds", type=int, help="default 7, with --long 21")
    parser.add_argument("--seconds", type=float, default=0.25, help="of each window (default %(default)s)")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Start both servers and compare."""
    with tempfile.TemporaryDirectory(prefix="client-", dir=arguments.folder) as folder:
        ours, redis = (
            Ours(_subfolder(folder, "recollectd"), {}),
            Redis(_subfolder(folder, "redis"), "redis-server", "always"),
        )
        try:
            ours.start()
            redis.start()
            report.versions["redis"] = redis.version()
            compare(report, ours, redis, arguments.rounds or (21 if arguments.long else 7), arguments.seconds)
        except Unavailable as error:
            _not_run(report, str(error))
        finally:
            ours.stop()
            redis.stop()


def _subfolder(folder: str, name: str) -> Path:
    path = Path(folder) / name
    path.mkdir()
    return path


def compare(report: Report, ours: Ours, redis: Redis, rounds: int, seconds: float) -> None:
    """Compare the clients on servers that run."""
    try:
        library = importlib.import_module("redis")
        report.versions[_PEER] = library.__version__
        report.versions["hiredis"] = importlib.import_module("hiredis").__version__
    except ImportError as error:
        _not_run(report, str(error))
        return
    url, path = f"unix://{ours.daemon.socket}", str(redis.target.socket)
    with Client(url, namespace=NAMESPACE) as client:
        theirs = library.Redis(unix_socket_path=path)
        client.state.put_many(dict.fromkeys(_NAMES, _VALUE))
        theirs.mset(dict.fromkeys(_NAMES, _VALUE))
        _rounds(report, "blocking", _blocking_pairs(client, theirs), rounds, lambda work: _speed(work, seconds))
        theirs.close()
    with asyncio.Runner() as runner:
        mine = AsyncClient(url, namespace=NAMESPACE)
        other = importlib.import_module("redis.asyncio").Redis(unix_socket_path=path)
        pairs = _asyncio_pairs(mine, other)
        _rounds(report, "asyncio", pairs, rounds, lambda work: runner.run(_async_speed(work, seconds)))
        runner.run(mine.close())
        runner.run(other.aclose())


def _not_run(report: Report, why: str) -> None:
    for measure, must in _MUST.items():
        report.add(f"blocking {measure}: throughput ratio", f"not run: {why}", unit="x", peer=_PEER, must=must)


def _blocking_pairs(client: Client, redis: Any) -> list[Pair]:
    name = _NAMES[0]
    pairs = [
        Pair("get", 1, lambda: client.state.get(name), lambda: redis.get(name)),
        Pair("put", 1, lambda: client.state.put(name, _VALUE), lambda: redis.set(name, _VALUE)),
    ]
    for size in SIZES:
        pairs += _blocking_many(client, redis, _NAMES[:size])
    return pairs


def _blocking_many(client: Client, redis: Any, names: tuple[str, ...]) -> list[Pair]:
    def get_pipelined() -> object:
        with client.pipeline() as pipeline:
            handles = [pipeline.state.get(name) for name in names]
        return [record.value for handle in handles if (record := handle.result()) is not None]

    def put_pipelined() -> object:
        with client.pipeline() as pipeline:
            handles = [pipeline.state.put(name, _VALUE) for name in names]
        return [handle.result() for handle in handles]

    def get_theirs() -> object:
        with redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.get(name)
            return pipeline.execute()

    def put_theirs() -> object:
        with redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.set(name, _VALUE)
            return pipeline.execute()

    records = dict.fromkeys(names, _VALUE)
    return [
        Pair("pipelined get", len(names), get_pipelined, get_theirs),
        Pair("pipelined put", len(names), put_pipelined, put_theirs),
        Pair("get_values / MGET", len(names), lambda: client.state.get_values(names), lambda: redis.mget(names)),
        Pair(
            "get_many / MGET",
            len(names),
            lambda: [record.value for record in client.state.get_many(names).values()],
            lambda: redis.mget(names),
        ),
        Pair("put_many / MSET", len(names), lambda: client.state.put_many(records), lambda: redis.mset(records)),
    ]


def _asyncio_pairs(client: AsyncClient, redis: Any) -> list[Pair]:
    name = _NAMES[0]
    pairs = [
        Pair("get", 1, lambda: client.state.get(name), lambda: redis.get(name)),
        Pair("put", 1, lambda: client.state.put(name, _VALUE), lambda: redis.set(name, _VALUE)),
    ]
    for size in SIZES:
        pairs += _asyncio_many(client, redis, _NAMES[:size])
    return pairs


def _asyncio_many(client: AsyncClient, redis: Any, names: tuple[str, ...]) -> list[Pair]:
    async def get_pipelined() -> object:
        async with client.pipeline() as pipeline:
            handles = [pipeline.state.get(name) for name in names]
        return [record.value for handle in handles if (record := await handle) is not None]

    async def put_pipelined() -> object:
        async with client.pipeline() as pipeline:
            handles = [pipeline.state.put(name, _VALUE) for name in names]
        return [await handle for handle in handles]

    async def get_theirs() -> object:
        async with redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.get(name)
            return await pipeline.execute()

    async def put_theirs() -> object:
        async with redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.set(name, _VALUE)
            return await pipeline.execute()

    async def get_many() -> object:
        return [record.value for record in (await client.state.get_many(names)).values()]

    records = dict.fromkeys(names, _VALUE)
    return [
        Pair("pipelined get", len(names), get_pipelined, get_theirs),
        Pair("pipelined put", len(names), put_pipelined, put_theirs),
        Pair("get_values / MGET", len(names), lambda: client.state.get_values(names), lambda: redis.mget(names)),
        Pair("get_many / MGET", len(names), get_many, lambda: redis.mget(names)),
        Pair("put_many / MSET", len(names), lambda: client.state.put_many(records), lambda: redis.mset(records)),
    ]


def _rounds(
    report: Report, face: str, pairs: list[Pair], rounds: int, measure: Callable[[Callable[[], Any]], Speed]
) -> None:
    samples: dict[Pair, list[tuple[Speed, Speed]]] = {pair: [] for pair in pairs}
    reads = [pair for pair in pairs if "get" in pair.measure]
    writes = [pair for pair in pairs if pair not in reads]
    for turn, some in (*enumerate([reads] * rounds), *enumerate([writes] * rounds)):
        print(f"{face} {'reads' if some is reads else 'writes'}: round {turn + 1} of {rounds}", flush=True)
        for pair in some:
            if turn % 2:
                theirs, ours = measure(pair.theirs), measure(pair.ours)
            else:
                ours, theirs = measure(pair.ours), measure(pair.theirs)
            samples[pair].append((_each(ours, pair), _each(theirs, pair)))
    for pair, speeds in samples.items():
        _add(report, f"{face} {pair.measure}", pair, speeds, _MUST.get(pair.measure) if face == "blocking" else None)


def _each(call: Speed, pair: Pair) -> Speed:
    return Speed(call.per_second * pair.operations, call.cpu_us / pair.operations)


def _add(report: Report, title: str, pair: Pair, speeds: list[tuple[Speed, Speed]], must: str | None) -> None:
    case = "one at a time" if pair.operations == 1 else f"{pair.operations:,} at a time"

    def row(name: str, unit: str, figure: Callable[[Speed], float]) -> None:
        ours, theirs = (statistics.median(map(figure, side)) for side in zip(*speeds, strict=True))
        report.add(f"{title}: {name}", case, unit=unit, ours=ours, theirs=theirs, peer=_PEER)

    row("throughput", "1/s", lambda speed: speed.per_second)
    row("client CPU", "us", lambda speed: speed.cpu_us)
    ratio = statistics.median(ours.per_second / theirs.per_second for ours, theirs in speeds)
    report.add(f"{title}: throughput ratio", case, unit="x", ours=ratio, peer=_PEER, must=must)
    ratio = statistics.median(theirs.cpu_us / ours.cpu_us for ours, theirs in speeds)
    report.add(f"{title}: operations per CPU second, ratio", case, unit="x", ours=ratio, peer=_PEER)


def _speed(work: Work, seconds: float) -> Speed:
    """Return calls per second and CPU per call."""
    work()
    calls, began, began_cpu = 0, time.perf_counter(), time.thread_time()
    while (passed := time.perf_counter() - began) < seconds:
        work()
        calls += 1
    return Speed(calls / passed, (time.thread_time() - began_cpu) / calls * 1e6)


async def _async_speed(work: AsyncWork, seconds: float) -> Speed:
    """Return calls per second and CPU per call."""
    await work()
    calls, began, began_cpu = 0, time.perf_counter(), time.thread_time()
    while (passed := time.perf_counter() - began) < seconds:
        await work()
        calls += 1
    return Speed(calls / passed, (time.thread_time() - began_cpu) / calls * 1e6)
