"""Random schedules: syncs, stalls, full disks, slow and reordered reads and broken connections in any order.

What must hold under all of them: every request is answered once; a read sees the last write sent before it; a write
happens once, however often it is sent; what is acknowledged is there in the end, and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import pytest

from recollectd.protocol.frames import FLAG_ASYNC
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import fields, logs, state, transactions
from recollectd.storage.engine_errors import EngineStalled
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon
from support.wire import NAMESPACE, Answer, expect, get, plain, put, raw

STEPS: Final = 250
KEYS: Final = ("a", "b", "c")


class Sent:
    """One request of a client, with what came of it. value: what it writes; keys: where to."""

    def __init__(self, request: fields.Message, keys: tuple[str, ...], number: int, value: int = 0) -> None:
        self.request = request
        self.keys = keys
        self.number = number
        self.value = value
        self.request_id = 0
        self.answer: Answer | None = None

    @property
    def stored(self) -> bool:
        """Whether it was carried out."""
        return self.answer is not None and not isinstance(self.answer.reply, messages.ErrorReply)


class Client:
    """A client with records of its own; it pipelines, breaks off, comes back and repeats what is unanswered."""

    def __init__(self, manual: ManualDaemon, name: str, noise: random.Random) -> None:
        self.manual = manual
        self.name = name
        self.noise = noise
        self.peer = manual.connect()
        self.session_id = self.peer.welcome.session_id
        self.sent: list[Sent] = []
        self.broken = False
        self.written = 0

    def key(self, key: str) -> str:
        return f"{self.name} {key}"

    def speak(self) -> None:
        """Send a few requests in one piece."""
        if self.peer.transport.is_paused():
            return
        burst = [self._any_request() for _ in range(self.noise.randrange(1, 5))]
        self._send(burst)
        self.sent += burst

    def _send(self, burst: list[Sent]) -> None:
        prepared = []
        for each in burst:
            header = {"number": each.number} if each.number else {}
            if each.number and self.noise.random() < 0.2:
                header["flags"] = FLAG_ASYNC
            whole, each.request_id = self.peer.prepare(each.request, **header)
            prepared.append(whole)
        self.peer.feed(b"".join(prepared))

    def _any_request(self) -> Sent:
        key = self.noise.choice(KEYS)
        choice = self.noise.random()
        if choice < 0.3:
            return Sent(get(self.key(key)), (key,), 0)
        if choice < 0.4:
            return Sent(state.StateGetMany(NAMESPACE, tuple(map(self.key, KEYS))), KEYS, 0)
        self.written += 1
        value = self.written
        if choice < 0.8:
            return Sent(put(self.key(key), value), (key,), value, value)
        if choice < 0.9:
            several = transactions.Transaction((), (put(self.key("a"), value), put(self.key("b"), value)))
            return Sent(several, ("a", "b"), value, value)
        return Sent(logs.LogAppend(NAMESPACE, self.name, (raw(value),)), ("log",), value, value)

    def break_off(self) -> None:
        """Lose the connection; come back and repeat every write that is not answered, in order."""
        self.collect()
        self.broken = True
        self.peer.hang_up()
        self.peer = self.manual.connect(self.session_id)
        self.sent = [each for each in self.sent if each.number or each.answer is not None]
        self._send([each for each in self.sent if each.answer is None])

    def collect(self) -> None:
        """Take replies; each request may have one."""
        answers = {answer.request_id: answer for answer in self.peer.replies}
        assert len(answers) == len(self.peer.replies), "a request was answered twice"
        for each in self.sent:
            if each.answer is None:
                each.answer = answers.get(each.request_id)

    def check(self) -> None:
        """Hold what came of it all against what was sent."""
        self.collect()
        assert all(each.answer is not None for each in self.sent), "a request was never answered"
        if not self.broken:
            self._check_reads()
        peer = self.manual.connect()
        writes = sorted((each for each in self.sent if each.number and each.stored), key=position_of)
        appended = [each.value for each in writes if each.keys == ("log",)]
        page = expect(logs.LogPage, peer.ask(logs.LogRead(NAMESPACE, self.name, limit=10_000)))
        assert [plain(item.value) for item in page.items] == appended
        for key in KEYS:
            values = [each.value for each in writes if key in each.keys]
            history = expect(state.StateVersions, peer.ask(state.StateHistory(NAMESPACE, self.key(key), 10_000)))
            found = [(version.version, plain(version.value)) for version in history.versions if version.value]
            assert found == list(enumerate(values, start=1))[::-1]

    def _check_reads(self) -> None:
        newest: dict[str, int | None] = dict.fromkeys(KEYS)
        for each in self.sent:
            assert each.answer is not None
            if each.number:
                newest.update(dict.fromkeys(each.keys, each.value) if each.stored else {})
            else:
                assert seen(each.answer.reply) == [newest[key] for key in each.keys], each.request


def position_of(sent: Sent) -> int:
    assert sent.answer is not None
    return sent.answer.position


def seen(reply: fields.Reply) -> list[object]:
    """Return the values in a read's reply."""
    if isinstance(reply, state.StateRecords):
        return [None if record is None else plain(record.value) for record in reply.records]
    if isinstance(reply, state.StateRecord):
        return [plain(reply.value)]
    expect(state.Absent, reply)
    return [None]


class World:
    """The daemon's surroundings, changing at random."""

    def __init__(self, manual: ManualDaemon, noise: random.Random) -> None:
        self.manual = manual
        self.noise = noise
        manual.journal.held = manual.read_pool.held = True
        self.changes: list[Callable[[], object]] = [
            manual.journal.write,
            manual.journal.sync,
            manual.journal.sync,
            self.toggle_full,
            self.stall,
            self.run_read,
            self.run_read,
            self.run_read,
            self.hold_deliveries,
            self.deliver,
            lambda: manual.pass_time(noise.choice((0.0, 0.001, 0.1))),
        ]

    def change(self) -> None:
        """Let something happen."""
        self.noise.choice(self.changes)()
        self.manual.loop.settle()

    def toggle_full(self) -> None:
        self.manual.journal.full = self.noise.random() < 0.3

    def stall(self) -> None:
        self.manual.engine.refusals += [EngineStalled("Write stall")] * self.noise.randrange(3)

    def run_read(self) -> None:
        if self.manual.read_pool.jobs:
            self.manual.read_pool.run(self.noise.randrange(len(self.manual.read_pool.jobs)))

    def hold_deliveries(self) -> None:
        if self.manual.loop.held is None and self.noise.random() < 0.3:
            self.manual.loop.held = []

    def deliver(self) -> None:
        held = self.manual.loop.held
        if held:
            self.manual.loop.release(self.noise.randrange(len(held)))
        elif held is not None:
            self.manual.loop.held = None

    def calm_down(self) -> None:
        """Let everything that waits come."""
        manual = self.manual
        while manual.loop.held:
            manual.loop.release()
        manual.loop.held = None
        manual.engine.refusals.clear()
        manual.journal.full = manual.journal.held = manual.read_pool.held = False
        for _ in range(100):
            manual.journal.sync()
            while manual.read_pool.jobs:
                manual.read_pool.run()
            manual.pass_time(0.2)


@pytest.mark.parametrize("seed", range(60))
def test_random_schedules(make_daemon: MakeDaemon, seed: int) -> None:
    noise = random.Random(seed)
    manual = make_daemon(server__head_cache_count=noise.choice((4, 1_000)), history__count=0)
    clients = [Client(manual, name, noise) for name in ("ada", "bob", "eve")]
    world = World(manual, noise)
    for _ in range(STEPS):
        if noise.random() < 0.3:
            noise.choice(clients).speak()
        elif seed % 2 and noise.random() < 0.03:
            noise.choice(clients).break_off()
        else:
            world.change()
    world.calm_down()
    for client in clients:
        client.check()
    assert manual.daemon.dispatcher.bytes_in_flight == 0
    assert manual.daemon.committer.unapplied_bytes == 0
    assert manual.daemon.committer.idle
    assert not manual.daemon.failures
