"""Fills a daemon with state records, many in one commit: as quick as the client allows, with the generator's keys."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bench.generator.dialects import KEY, NAMESPACE
from bench.generator.plan import KEY_DIGITS, KEY_MARK
from bench.process import DaemonProcess
from recollectd.client import Client

_CHUNK: Final = 2_000
_THREADS: Final = 3
_NOISE_BYTES: Final = 1 << 20
_PREFIX: Final = KEY.removesuffix(KEY_MARK).decode()


def fill(daemon: DaemonProcess, states: int, value_bytes: int) -> None:
    """Put so many records of random bytes, their keys numbered from 0."""
    noise = random.Random(1).randbytes(_NOISE_BYTES)

    def put(first: int) -> None:
        client.state.put_many(dict(_records(first, min(first + _CHUNK, states), noise, value_bytes)))

    with Client(f"unix://{daemon.socket}", namespace=NAMESPACE) as client, ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(put, range(0, states, _CHUNK)):
            pass


def _records(first: int, stop: int, noise: bytes, value_bytes: int) -> Iterator[tuple[str, bytes]]:
    for number in range(first, stop):
        at = number * 97 % (_NOISE_BYTES - value_bytes)
        yield f"{_PREFIX}{number:0{KEY_DIGITS}}", noise[at : at + value_bytes]
