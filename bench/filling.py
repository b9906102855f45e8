"""Fills a daemon with state records, many in one commit and several of them in flight, with the generator's keys."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from msgspec import Raw

from bench.generator.dialects import KEY, NAMESPACE
from bench.generator.plan import KEY_DIGITS, KEY_MARK
from bench.process import DaemonProcess
from bench.wire import Connection, failure
from recollectd.protocol import table
from recollectd.protocol.frames import RequestHeader, pack_request
from recollectd.protocol.messages.state import StateItem, StatePutMany

_CHUNK: Final = 250  # with 200-byte values, what the short way of writes takes in one message
_IN_FLIGHT: Final = 16
_NOISE_BYTES: Final = 1 << 20
_PROGRESS_S: Final = 10.0
_PREFIX: Final = KEY.removesuffix(KEY_MARK).decode()


def fill(daemon: DaemonProcess, states: int, value_bytes: int) -> None:
    """Put so many records of random bytes, their keys numbered from 0; say how far it is when it takes long."""
    noise = random.Random(1).randbytes(_NOISE_BYTES)
    told = time.monotonic()
    unanswered: deque[int] = deque()
    with Connection(daemon.socket, timeout_s=600.0) as connection:
        for number, first in enumerate(range(0, states, _CHUNK), 1):
            items = tuple(_items(first, min(first + _CHUNK, states), noise, value_bytes))
            if len(unanswered) == _IN_FLIGHT:
                _expect_stored(connection, unanswered)
            unanswered.append(number)
            header = RequestHeader(number, number, span=number - unanswered[0])
            connection.send(pack_request(header, table.encode(StatePutMany(NAMESPACE, items))))
            if time.monotonic() - told > _PROGRESS_S:
                told = time.monotonic()
                print(f"  filled {first:,} of {states:,}", flush=True)
        while unanswered:
            _expect_stored(connection, unanswered)


def _expect_stored(connection: Connection, unanswered: deque[int]) -> None:
    reply = connection.receive()
    if reply.is_error and (refused := failure(reply.decode())):
        raise refused
    unanswered.remove(reply.request_id)


def _items(first: int, stop: int, noise: bytes, value_bytes: int) -> Iterator[StateItem]:
    for number in range(first, stop):
        at = number * 97 % (_NOISE_BYTES - value_bytes)
        value = Raw(table.encode(noise[at : at + value_bytes]))
        yield StateItem(f"{_PREFIX}{number:0{KEY_DIGITS}}", value)
