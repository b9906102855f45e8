"""State records under concurrent guarded writes, deletes and reads, through SIGKILLs: every key behaves like a register
that is used by one client at a time."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

import msgspec
import pytest
from msgspec import Raw

from bench.process import DaemonProcess
from linearizability.checker import Operation, check
from linearizability.clients import Client, through_kills
from linearizability.register import Delete, Get, Put, Register, step
from recollectd.protocol import errors
from recollectd.protocol.messages import state
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import Reply, Request

NAMESPACE = ("register",)
KEYS = ("a", "b", "c")
CLIENTS = 6
OPERATIONS = 120


def message_of(key: str, request: object) -> Request:
    match request:
        case Put(value, if_version):
            return state.StatePut(NAMESPACE, key, Raw(msgspec.msgpack.encode(value)), if_version=if_version)
        case Delete(if_version):
            return state.StateDelete(NAMESPACE, key, if_version)
    return state.StateGet(NAMESPACE, key)


def answer_of(reply: Reply) -> object:
    match reply:
        case state.StateStored():
            return reply.version
        case state.StateRecord():
            return reply.version, msgspec.msgpack.decode(reply.value)
        case Deleted():
            return bool(reply.deleted)
    assert isinstance(reply, state.Absent)
    return None


class Recorder:
    """Clients' random operations and what came of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.history: list[Operation] = []
        self.seen: dict[str, int] = dict.fromkeys(KEYS, 0)

    def request(self, rng: random.Random, key: str, value: str) -> object:
        guess = rng.choice((None, None, self.seen[key], self.seen[key], 0))
        return rng.choice((Get(), Get(), Put(value, guess), Put(value, guess), Delete(guess)))

    async def work(self, index: int, client: Client) -> None:
        rng = random.Random(f"{self.seed} {index}")
        for number in range(OPERATIONS):
            key = rng.choice(KEYS)
            request = self.request(rng, key, f"{index}/{number}")
            called = time.monotonic()
            try:
                answer = answer_of(await client.call(message_of(key, request)))
            except errors.VersionConflict:
                answer = "conflict"
            self.history.append(Operation(index, key, request, answer, called, time.monotonic()))
            if isinstance(request, Get):
                self.seen[key] = answer[0] if isinstance(answer, tuple) else 0


@pytest.mark.parametrize("kills", [0, 3])
def test_records_are_linearizable(daemon: DaemonProcess, kills: int) -> None:
    recorder = Recorder(seed=random.randrange(1 << 32))
    every = CLIENTS * OPERATIONS // (kills + 1)
    works = [partial(recorder.work, index) for index in range(CLIENTS)]
    marks = [every * (kill + 1) for kill in range(kills)]
    asyncio.run(through_kills(daemon, works, lambda: len(recorder.history), marks))
    assert len(recorder.history) == CLIENTS * OPERATIONS
    assert check(recorder.history, step, Register()) is None, f"seed {recorder.seed}"
    assert any(operation.answer == "conflict" for operation in recorder.history), "nobody met anybody"
    assert_one_change_is_noticed(recorder.history)


def assert_one_change_is_noticed(history: list[Operation]) -> None:
    """The same history with one lost write, or one stale read, is not linearizable: the check had something to say."""
    put = next(at for at, each in enumerate(history) if isinstance(each.request, Put) and each.answer != "conflict")
    assert check(history[:put] + history[put + 1 :], step, Register()) is not None
    last = max(at for at, each in enumerate(history) if isinstance(each.request, Get))
    stale = history[last]._replace(answer=(1, "never written"))
    assert check([*history[:last], stale, *history[last + 1 :]], step, Register()) is not None
