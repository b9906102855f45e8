"""Sessions of the OpenAI Agents SDK: ours beside its own SQLiteSession, in turns, with the same items.

Both are durable before they answer: SQLite syncs its write-ahead log with every commit (synchronous=FULL, its default),
the daemon its journal. Reads come from sessions of ITEMS items. A round is one measure of one side; sides alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from agents import SQLiteSession
from agents.memory import Session

from bench.latency import percentiles
from bench.load import throwaway_daemon
from bench.report import Report
from recollectd.adapters.openai_agents import RecollectdSession
from recollectd.client import Client

ITEMS: Final = 1_000
ROUNDS: Final = 5
CALLS: Final = 100
AT_ONCE: Final = 16
NEWEST: Final = 20
PEER: Final = "SQLiteSession"
Make = Callable[[str], Session]


class Work(NamedTuple):
    """A call that is measured, and how many of them run at once, each on a session of its own."""

    measure: str
    at_once: int
    call: Callable[[Session, int], Awaitable[object]]


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Measure appends and reads, one agent at a time and several at once."""
    with (
        throwaway_daemon(arguments.folder) as daemon,
        Client(f"unix://{daemon.socket}", connections_max=AT_ONCE) as client,
    ):
        file = Path(daemon.folder) / "sessions.db"
        sides: tuple[Make, Make] = (
            lambda name: RecollectdSession(name, client),
            lambda name: SQLiteSession(name, file),
        )
        for work in WORKS:
            times: tuple[list[float], list[float]] = ([], [])
            rates: tuple[list[float], list[float]] = ([], [])
            for number in range(ROUNDS):
                for side, make in enumerate(sides):
                    taken, rate = asyncio.run(_round(make, work, number))
                    times[side].extend(taken)
                    rates[side].append(rate)
            _tell(report, work, times, rates)


def _tell(
    report: Report, work: Work, times: tuple[list[float], list[float]], rates: tuple[list[float], list[float]]
) -> None:
    ours, theirs = percentiles(times[0]), percentiles(times[1])
    case = f"synced, {work.at_once} at once" if work.at_once > 1 else "synced, one after the other"
    report.add(f"{work.measure}: p50", case, unit="ms", ours=ours.p50, theirs=theirs.p50, peer=PEER)
    report.add(f"{work.measure}: p99", case, unit="ms", ours=ours.p99, theirs=theirs.p99, peer=PEER)
    median = [sorted(side)[len(side) // 2] for side in rates]
    report.add(f"{work.measure}: rate", case, unit="calls/s", ours=median[0], theirs=median[1], peer=PEER)


async def _round(make: Make, work: Work, number: int) -> tuple[list[float], float]:
    """Return how long each call took, in microseconds, and calls per second."""
    sessions = [make(f"{work.measure} {work.at_once} {number} {part}") for part in range(work.at_once)]
    if "read" in work.measure:
        for session in sessions:
            await session.add_items(items(ITEMS, number))
    taken: list[float] = []

    async def calls(session: Session) -> None:
        for turn in range(CALLS // work.at_once):
            began = time.perf_counter()
            await work.call(session, turn)
            taken.append((time.perf_counter() - began) * 1e6)

    began = time.perf_counter()
    await asyncio.gather(*map(calls, sessions))
    seconds = time.perf_counter() - began
    for session in sessions:
        if isinstance(session, (SQLiteSession, RecollectdSession)):
            session.close()
    return taken, len(taken) / seconds


def items(count: int, seed: int) -> list[Any]:
    """Return items as a conversation has them: some 200 characters of text each."""
    rng = random.Random(seed)
    words = ("ship", "the", "of", "whale", "agent", "and", "to", "memory", "answer", "a", "question", "in")
    return [
        {"role": ("user", "assistant")[index % 2], "content": " ".join(rng.choices(words, k=38))}
        for index in range(count)
    ]


def _append(count: int) -> Callable[[Session, int], Awaitable[object]]:
    return lambda session, turn: session.add_items(items(count, turn))


def _read(count: int | None) -> Callable[[Session, int], Awaitable[object]]:
    return lambda session, turn: session.get_items(count)


WORKS: Final = (
    Work("append a turn of 4 items", 1, _append(4)),
    Work("append a turn of 4 items", AT_ONCE, _append(4)),
    Work(f"read the newest {NEWEST} of {ITEMS:,}", 1, _read(NEWEST)),
    Work(f"read the newest {NEWEST} of {ITEMS:,}", AT_ONCE, _read(NEWEST)),
    Work(f"read all {ITEMS:,}", 1, _read(None)),
)
