"""The Python client beside redis-py with hiredis: what a program gets through one connection of one thread."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from typing import Final

from bench.generator.dialects import KEY, NAMESPACE
from bench.generator.plan import KEY_DIGITS, KEY_MARK
from bench.peers.servers import Ours, Redis
from bench.report import Report
from recollectd.client import Client

_ROUNDS: Final = 7
_SECONDS: Final = 0.5
_AT_ONCE: Final = 100
_MUST: Final = ">= 2"


def compare(report: Report, ours: Ours, redis: Redis | None, keys: int) -> None:
    """Compare pipelined gets and many gets at once, in turns."""
    case = f"{_AT_ONCE} at a time, one thread"
    titles = ("Python client: pipelined get", "Python client: get_many / MGET")
    try:
        library = importlib.import_module("redis")
        importlib.import_module("hiredis")
    except ImportError as error:
        for title in titles:
            report.add(f"{title}: ratio", f"{case}; not run: {error}", unit="x", peer="redis-py", must=_MUST)
        return
    if redis is None:
        return
    report.versions["redis-py"] = library.__version__
    prefix = KEY.removesuffix(KEY_MARK).decode()
    names = [f"{prefix}{number * 7919 % keys:0{KEY_DIGITS}}" for number in range(_AT_ONCE)]
    theirs = library.Redis(unix_socket_path=str(redis.target.socket))
    with Client(f"unix://{ours.daemon.socket}", namespace=NAMESPACE) as client:

        def our_pipeline() -> object:
            with client.pipeline() as pipeline:
                handles = [pipeline.state.get(name) for name in names]
            return [handle.result() for handle in handles]

        def their_pipeline() -> object:
            with theirs.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.get(name)
                return pipeline.execute()

        pairs: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
            (titles[0], our_pipeline, their_pipeline),
            (titles[1], lambda: client.state.get_many(names), lambda: theirs.mget(names)),
        ]
        for title, mine, other in pairs:
            rates = [(_rate(mine), _rate(other)) for _ in range(_ROUNDS)]
            report.add(
                title,
                case,
                unit="1/s",
                peer="redis-py",
                ours=statistics.median(a for a, _ in rates),
                theirs=statistics.median(b for _, b in rates),
            )
            ratio = statistics.median(a / b for a, b in rates)
            report.add(f"{title}: ratio", case, unit="x", ours=ratio, peer="redis-py", must=_MUST)
    theirs.close()


def _rate(call: Callable[[], object]) -> float:
    """Return the gets per second of a call that does `_AT_ONCE` of them."""
    call()
    started, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < _SECONDS:
        call()
        calls += 1
    return calls * _AT_ONCE / passed
