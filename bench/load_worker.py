"""One load generator: a process with some connections, told what to do in JSON, telling what it saw in JSON.

Closed loop: each connection keeps so many requests in flight. Open loop: requests have intended start times drawn
beforehand (Poisson), latency counts from there, and nothing the daemon does changes when the next one is due: no
coordinated omission. A generator that falls behind its own schedule makes the figures worse, never better; by how much
is reported as lag.

`python -m bench.load_worker FILE` reads a `Task` from stdin, connects, prints a line, waits for a line, runs, and
leaves a `Result` in the file.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from msgspec import Raw

from bench.wire import AsyncConnection
from recollectd.protocol import table
from recollectd.protocol.frames import REPLY_HEADER, REQUEST_HEADER
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.state import StateGet, StatePut

NAMESPACE: Final = ("bench", "load")
_ERROR_TAG: Final = table.tag_of(ErrorReply)
_BODIES: Final = 4_096
_TICK_S: Final = 0.001  # the event loop's timers are no finer
_DRAIN_S: Final = 10.0


class Task(msgspec.Struct, frozen=True):
    """What a generator has to do. rate: requests per second over its connections, 0 for a closed loop."""

    socket: str
    connections: int
    seconds: float
    seed: int
    in_flight: int = 16
    rate: float = 0.0
    read_share: float = 0.0
    keys: int = 100_000
    value_bytes: int = 200


class Result(msgspec.Struct):
    """What a generator saw: latencies in microseconds, errors, its own CPU seconds and how late it sent (us)."""

    write_us: list[float]
    read_us: list[float]
    lag_us: list[float]
    errors: int
    unanswered: int
    seconds: float
    cpu_s: float


class Stream:
    """One connection under load. It takes over the transport of an `AsyncConnection` that has said hello."""

    def __init__(self, task: Task, index: int, connection: AsyncConnection, result: Result) -> None:
        rng = random.Random(task.seed * 1_000 + index)
        names = [f"agent-{rng.randrange(task.keys):09}" for _ in range(_BODIES)]
        self._puts = [
            table.encode(StatePut(NAMESPACE, name, Raw(table.encode(rng.randbytes(task.value_bytes)))))
            for name in names
        ]
        self._gets = [table.encode(StateGet(NAMESPACE, name)) for name in names]
        self._task = task
        self._rng = rng
        self._result = result
        self._connection = connection
        self._number = 0
        self._request_id = 1 << 16
        self._writes: dict[int, None] = {}  # numbers not answered, in the order of sending
        self._started: dict[int, tuple[float, int]] = {}  # request id: intended start, number (0: a read)
        self._pending = bytearray()
        self.running = True
        connection.take_over(self._received)

    # Requests.

    def _frame(self, intended: float) -> bytes:
        self._request_id += 1
        is_read = self._rng.random() < self._task.read_share
        bodies = self._gets if is_read else self._puts
        body = bodies[self._request_id % _BODIES]
        number = span = 0
        if not is_read:
            self._number = number = self._number + 1
            self._writes[number] = None
            span = number - next(iter(self._writes))
        self._started[self._request_id] = intended, number
        length = REQUEST_HEADER.size - 4 + len(body)
        return REQUEST_HEADER.pack(length, self._request_id, number, 0, 0, 0, 0, span) + body

    def begin(self, now: float) -> None:
        """Start the closed loop."""
        self._connection.write(b"".join(self._frame(now) for _ in range(self._task.in_flight)))

    def send(self, intended: float, now: float) -> None:
        """Open loop: send a request that is due."""
        self._result.lag_us.append((now - intended) * 1e6)
        self._connection.write(self._frame(intended))

    @property
    def unanswered(self) -> int:
        """How many requests have no reply."""
        return len(self._started)

    # Replies.

    def _received(self, data: bytes) -> None:
        now = time.perf_counter()
        pending = self._pending
        pending += data
        at, end, answered = 0, len(pending), 0
        while end - at >= REPLY_HEADER.size:
            length, request_id, _ = REPLY_HEADER.unpack_from(pending, at)
            if at + 4 + length > end:
                break
            intended, number = self._started.pop(request_id)
            if pending[at + REPLY_HEADER.size + 1] == _ERROR_TAG:
                self._result.errors += 1
            (self._result.write_us if number else self._result.read_us).append((now - intended) * 1e6)
            if number:
                del self._writes[number]
            at += 4 + length
            answered += 1
        del pending[:at]
        if not self._task.rate and self.running and answered:
            self._connection.write(b"".join(self._frame(now) for _ in range(answered)))


async def _open_loop(task: Task, streams: list[Stream], started: float) -> None:
    """Send requests at moments drawn as they come: exponential distances, the connections at random."""
    rng = random.Random(task.seed)
    due = started + rng.expovariate(task.rate)
    while due < started + task.seconds:
        now = time.perf_counter()
        while due <= now:
            rng.choice(streams).send(due, now)
            due += rng.expovariate(task.rate)
        await asyncio.sleep(max(due - now, _TICK_S))


async def _run(task: Task) -> Result:
    result = Result([], [], [], 0, 0, 0.0, 0.0)
    streams = [
        Stream(task, index, await AsyncConnection.open(Path(task.socket)), result) for index in range(task.connections)
    ]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    cpu, started = time.process_time(), time.perf_counter()
    if task.rate:
        await _open_loop(task, streams, started)
    else:
        for stream in streams:
            stream.begin(started)
        await asyncio.sleep(task.seconds)
    for stream in streams:
        stream.running = False
    result.seconds = time.perf_counter() - started
    give_up = time.perf_counter() + _DRAIN_S
    while any(stream.unanswered for stream in streams) and time.perf_counter() < give_up:
        await asyncio.sleep(0.01)
    result.unanswered = sum(stream.unanswered for stream in streams)
    result.cpu_s = time.process_time() - cpu
    return result


if __name__ == "__main__":
    given = msgspec.json.decode(sys.stdin.readline(), type=Task)
    Path(sys.argv[1]).write_bytes(msgspec.json.encode(uvloop.run(_run(given))))
