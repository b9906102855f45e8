"""Transactions are serializable: no write skew, no phantoms, no lost sums, also through SIGKILLs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from functools import partial

import msgspec
import pytest
from msgspec import Raw

from bench.process import DaemonProcess
from bench.wire import Connection
from linearizability.clients import Client, through_kills
from recollectd.protocol import errors
from recollectd.protocol.messages import logs, state
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.transactions import Operation, RangeGuard, RecordGuard, Results, Transaction

NAMESPACE = ("bank", "accounts")
LOG_NAMESPACE = ("bank", "log")


def put(key: str, value: object) -> state.StatePut:
    return state.StatePut(NAMESPACE, key, Raw(msgspec.msgpack.encode(value)))


class Session:
    """A session that counts its writes and reads with guards."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.connection = Connection(daemon.socket)
        self._number = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def write(self, message: state.StatePut | state.StateDelete | logs.LogAppend | Transaction) -> object:
        self._number += 1
        return self.connection.call(message, number=self._number, span=self._number - 1)

    def read(self, key: str) -> tuple[object, RecordGuard]:
        """Return the value (None: absent) and the guard that it has not changed."""
        record = self.connection.call(state.StateGet(NAMESPACE, key))
        if isinstance(record, state.StateRecord):
            guard = RecordGuard(Kind.STATE, NAMESPACE, key, record.revision)
            return msgspec.msgpack.decode(record.value), guard
        return None, RecordGuard(Kind.STATE, NAMESPACE, key, 0)

    def scan(self, prefix: str) -> tuple[list[str], RangeGuard]:
        """Return keys and the guard that nothing in the range has changed."""
        raw = self.connection.call_raw(msgspec.msgpack.encode(state.StateScan(NAMESPACE, prefix)))
        page = raw.decode()
        assert isinstance(page, state.StatePage)
        guard = RangeGuard(Kind.STATE, NAMESPACE, raw.position, page.valid_until)
        return [record.key for record in page.records], guard

    def commit(self, guards: tuple[RecordGuard | RangeGuard, ...], *operations: Operation) -> Results:
        results = self.write(Transaction(guards, operations))
        assert isinstance(results, Results)
        return results


@pytest.fixture
def one(daemon: DaemonProcess) -> Iterator[Session]:
    with Session(daemon) as session:
        yield session


@pytest.fixture
def two(daemon: DaemonProcess) -> Iterator[Session]:
    with Session(daemon) as session:
        yield session


def test_no_write_skew(one: Session, two: Session) -> None:
    """Two doctors are on call, each may go if the other stays: not both go."""
    one.write(put("alice", "on call"))
    one.write(put("bob", "on call"))
    guards_one = (one.read("alice")[1], one.read("bob")[1])
    guards_two = (two.read("alice")[1], two.read("bob")[1])
    one.commit(guards_one, put("alice", "gone"))
    with pytest.raises(errors.TransactionConflict):
        two.commit(guards_two, put("bob", "gone"))
    assert two.read("bob")[0] == "on call"


def test_what_was_absent_is_guarded(one: Session, two: Session) -> None:
    guard_one, guard_two = one.read("name")[1], two.read("name")[1]
    one.commit((guard_one,), put("name", "one"))
    with pytest.raises(errors.TransactionConflict):
        two.commit((guard_two,), put("name", "two"))
    assert two.read("name")[0] == "one"


def test_what_was_deleted_and_written_again_is_noticed(one: Session, two: Session) -> None:
    one.write(put("key", "same"))
    guard = two.read("key")[1]
    one.write(state.StateDelete(NAMESPACE, "key"))
    one.write(put("key", "same"))
    with pytest.raises(errors.TransactionConflict):
        two.commit((guard,), put("other", 1))
    assert two.read("other")[0] is None


@pytest.mark.parametrize("change", ["insert", "delete", "update"])
def test_no_phantoms(one: Session, two: Session, change: str) -> None:
    one.write(put("room/1", "taken"))
    rooms, guard = two.scan("room/")
    assert rooms == ["room/1"]
    if change == "insert":
        one.write(put("room/2", "taken"))
    elif change == "delete":
        one.write(state.StateDelete(NAMESPACE, "room/1"))
    else:
        one.write(put("room/1", "free"))
    with pytest.raises(errors.TransactionConflict):
        two.commit((guard,), put("count", len(rooms)))
    rooms, guard = two.scan("room/")
    two.commit((guard,), put("count", len(rooms)))
    assert two.read("count")[0] == len(rooms)


def test_a_transaction_that_only_reads_is_checked_too(one: Session, two: Session) -> None:
    one.write(put("key", 1))
    guard = two.read("key")[1]
    two.commit((guard,))
    one.write(put("key", 2))
    with pytest.raises(errors.TransactionConflict):
        two.commit((guard,))


def test_one_refusal_refuses_all(one: Session, two: Session) -> None:
    operations = (put("key", 1), logs.LogAppend(LOG_NAMESPACE, "log", (Raw(b"\x01"),), if_next=7))
    with pytest.raises(errors.VersionConflict, match="expected 7"):
        one.commit((), *operations)
    assert two.read("key")[0] is None


ACCOUNTS = 5
CLIENTS = 5
TRANSFERS = 40
START = 100


class Bank:
    """Money that moves between accounts in transactions: there is always the same amount of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.done = 0
        self.conflicts = 0

    async def work(self, index: int, client: Client) -> None:
        rng = random.Random(f"{self.seed} {index}")
        mine = 0
        while mine < TRANSFERS:
            first, second = rng.sample(range(ACCOUNTS), 2)
            reads = [await self._read(client, f"account/{number}") for number in range(ACCOUNTS)]
            amount = rng.randint(1, 20)
            moved = {first: reads[first][0] - amount, second: reads[second][0] + amount}
            entry = Raw(msgspec.msgpack.encode([index, mine]))
            operations = [put(f"account/{number}", money) for number, money in moved.items()]
            guards = tuple(guard for _, guard in reads)
            try:
                await client.call(Transaction(guards, (*operations, logs.LogAppend(LOG_NAMESPACE, "moves", (entry,)))))
            except errors.TransactionConflict:
                self.conflicts += 1
                continue
            # All guards held: what was read was there at one moment.
            assert sum(money for money, _ in reads) == ACCOUNTS * START, f"seed {self.seed}"
            mine += 1
            self.done += 1

    @staticmethod
    async def _read(client: Client, key: str) -> tuple[int, RecordGuard]:
        record = await client.call(state.StateGet(NAMESPACE, key))
        assert isinstance(record, state.StateRecord)
        return msgspec.msgpack.decode(record.value), RecordGuard(Kind.STATE, NAMESPACE, key, record.revision)


def test_money_is_neither_made_nor_lost(daemon: DaemonProcess) -> None:
    with Session(daemon) as session:
        session.commit((), *(put(f"account/{number}", START) for number in range(ACCOUNTS)))
    bank = Bank(seed=random.randrange(1 << 32))
    works = [partial(bank.work, index) for index in range(CLIENTS)]
    asyncio.run(through_kills(daemon, works, lambda: bank.done, [50, 120]))
    with Session(daemon) as session:
        balances = [session.read(f"account/{number}")[0] for number in range(ACCOUNTS)]
        page = session.connection.call(logs.LogRead(LOG_NAMESPACE, "moves", limit=1_000))
    assert sum(money for money in balances if isinstance(money, int)) == ACCOUNTS * START, f"seed {bank.seed}"
    assert isinstance(page, logs.LogPage)
    moves = [tuple(msgspec.msgpack.decode(item.value)) for item in page.items]
    assert sorted(moves) == [(client, number) for client in range(CLIENTS) for number in range(TRANSFERS)]
    assert bank.conflicts, "nobody met anybody"
