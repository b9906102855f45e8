"""Transactions: what reads guard, what writes hide, and what is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from client.conftest import Drive
from client.fake import DROP_AFTER, FakeDaemon, each_once, refuse
from recollectd.client import AsyncClient, Client
from recollectd.client.arguments import packed
from recollectd.client.calls import ask
from recollectd.client.transaction import Recorder
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection, conversations, logs, state, transactions
from recollectd.protocol.messages.fields import Kind, Message, Reply
from recollectd.protocol.messages.transactions import RangeGuard, RecordGuard, Transaction

N = ("a",)
RECORD = state.StateRecord("k", packed(1), 3, 1, 1, 500, 77)
INFO = logs.LogInfo("l", 0, 1, 1, 1, 78)
CONVERSATION = conversations.ConversationInfo("c", 1, 1, 0, None, 79)
PAGE = state.StatePage((RECORD,), b"", 400)
FOREVER = limits.TIME_US_MAX


def versions(*expiries: tuple[int, int]) -> state.StateVersions:
    found = (state.StateVersion(number, packed(1), 1, expires_at, False) for number, expires_at in expiries)
    return state.StateVersions(tuple(found), 0, 1)


@pytest.mark.parametrize(
    ("request_", "reply", "guard"),
    [
        (state.StateGet(N, "k"), RECORD, RecordGuard(1, N, "k", 77)),
        (state.StateGet(N, "k"), state.Absent(), RecordGuard(1, N, "k", 0)),
        (state.StateGet(N, "k", version=3), RECORD, RangeGuard(1, N, 90, FOREVER)),
        (state.StateGet(N, "k", as_of=400), RECORD, RangeGuard(1, N, 90, FOREVER)),
        (state.StateGet(N, "k", as_of=600), RECORD, RangeGuard(1, N, 90, 500)),
        (state.StateHistory(N, "k"), versions((2, 600), (1, 5)), RangeGuard(1, N, 90, 600)),
        (state.StateHistory(N, "k"), versions(), RangeGuard(1, N, 90, FOREVER)),
        (state.StateHistory(N, "k", before_version=2), versions((1, 5)), RangeGuard(1, N, 90, FOREVER)),
        (state.StateScan(N), PAGE, RangeGuard(1, N, 90, 400)),
        (state.StateCount(N), connection.Counted(1, b"", 300), RangeGuard(1, N, 90, 300)),
        (logs.LogRead(N, "l"), logs.LogPage((), 0, 0, 0), RecordGuard(2, N, "l", 0)),
        (logs.LogHead(N, "l"), INFO, RecordGuard(2, N, "l", 78)),
        (logs.LogHead(N, "l"), state.Absent(), RecordGuard(2, N, "l", 0)),
        (logs.LogList(N), logs.LogInfos((INFO,), b""), RangeGuard(2, N, 90, FOREVER)),
        (conversations.ConversationHistory(N, "c"), conversations.History("c", (), 0, 79), RecordGuard(3, N, "c", 79)),
        (conversations.ConversationHead(N, "c"), CONVERSATION, RecordGuard(3, N, "c", 79)),
        (conversations.ConversationList(N), conversations.ConversationPage((), b""), RangeGuard(3, N, 90, FOREVER)),
    ],
)  # fmt: skip
def test_what_a_read_saw_is_guarded(request_: Message, reply: Reply, guard: transactions.Guard) -> None:
    recorder = Recorder()
    assert recorder.before_read(request_) is None
    assert recorder.after_read(request_, 90, reply) == reply
    assert recorder.request() == Transaction((guard,), ())


def test_many_records_are_guarded_one_by_one() -> None:
    recorder = Recorder()
    request = state.StateGetMany(N, ("k", "x", "late"))
    recorder.after_read(request, 90, state.StateRecords((RECORD, None)))
    assert recorder.request() == Transaction((RecordGuard(1, N, "k", 77), RecordGuard(1, N, "x", 0)), ())


def test_a_range_is_guarded_from_its_first_read_and_its_earliest_expiry() -> None:
    recorder = Recorder()
    recorder.after_read(state.StateScan(N), 90, state.StatePage((), b"", 400))
    recorder.after_read(state.StateCount(N), 80, connection.Counted(0, b"", 900))
    recorder.after_read(state.StateScan(N), 95, state.StatePage((), b"", 300))
    recorder.after_read(state.StateScan(("b",)), 96, state.StatePage((), b"", 200))
    assert recorder.request() == Transaction((RangeGuard(1, N, 80, 300), RangeGuard(1, ("b",), 96, 200)), ())


def test_the_same_record_at_another_revision_is_a_conflict_at_once() -> None:
    recorder = Recorder()
    recorder.after_read(state.StateGet(N, "k"), 90, RECORD)
    with pytest.raises(errors.TransactionConflict):
        recorder.after_read(state.StateGet(N, "k"), 91, state.Absent())
    with pytest.raises(errors.TransactionConflict):
        recorder.request()


def test_a_missing_conversation_is_something_that_was_seen() -> None:
    recorder = Recorder()
    request = conversations.ConversationHistory(N, "c")
    recorder.after_refusal(request, errors.NotFound("none", field="conversation_id"))
    assert recorder.request() == Transaction((RecordGuard(Kind.CONVERSATION, N, "c", 0),), ())


@pytest.mark.parametrize(
    "error", [errors.NotFound("no such message", field="before_id"), errors.RequestTimeout(), errors.HistoryPruned()]
)
def test_what_cannot_be_guarded_allows_no_commit(error: errors.RecollectdError) -> None:
    recorder = Recorder()
    recorder.after_refusal(conversations.ConversationHistory(N, "c"), error)
    with pytest.raises(type(error)):
        recorder.request()


def write(recorder: Recorder, request: Message) -> None:
    recorder.write(ask(request, lambda reply: reply))


PUT = state.StatePut(N, "k", packed("new"))
UNANSWERABLE: list[tuple[Message, Message]] = [
    (PUT, state.StateGet(N, "k", version=1)),
    (PUT, state.StateGet(N, "k", as_of=1)),
    (PUT, state.StateHistory(N, "k")),
    (PUT, state.StateScan(N)),
    (PUT, state.StateCount(N)),
    (state.StatePutMany(N, (state.StateItem("k", packed(1)),)), state.StateCount(N)),
    (state.StateTouch(N, "k", 5), state.StateGet(N, "k")),
    (state.StateTouch(N, "k", 5), state.StateGetMany(N, ("x", "k"))),
    (logs.LogAppend(N, "l", (packed(1),)), logs.LogRead(N, "l")),
    (logs.LogTruncate(N, "l"), logs.LogHead(N, "l")),
    (logs.LogDelete(N, "l"), logs.LogList(N)),
    (conversations.ConversationAppend(N, "c", ()), conversations.ConversationHistory(N, "c")),
    (conversations.ConversationDelete(N, "c"), conversations.ConversationHead(N, "c")),
    (conversations.ConversationCreate(N), conversations.ConversationList(N)),
]


@pytest.mark.parametrize(("written", "read"), UNANSWERABLE)
def test_what_a_pending_write_would_change_cannot_be_read(written: Message, read: Message) -> None:
    recorder = Recorder()
    assert recorder.before_read(read) is None
    write(recorder, written)
    with pytest.raises(errors.InvalidArgument, match="read before you write"):
        recorder.before_read(read)


@pytest.mark.parametrize(
    "read",
    [
        state.StateGet(N, "other"),
        state.StateGet(("b",), "k"),
        state.StateScan(("b",)),
        logs.LogRead(N, "k"),
        conversations.ConversationList(N),
        connection.Ping(),
    ],
)
def test_what_a_pending_write_leaves_alone_can_be_read(read: Message) -> None:
    recorder = Recorder()
    write(recorder, PUT)
    assert recorder.before_read(read) is None


def test_state_written_before_reads_as_pending_and_guards_nothing() -> None:
    recorder = Recorder()
    write(recorder, PUT)
    write(recorder, state.StateDelete(N, "gone"))
    pending = recorder.before_read(state.StateGet(N, "k"))
    assert isinstance(pending, state.StateRecord)
    assert (pending.value, pending.version) == (packed("new"), 0)
    assert isinstance(recorder.before_read(state.StateGet(N, "gone")), state.Absent)
    many = state.StateGetMany(N, ("k", "gone", "other"))
    assert recorder.before_read(many) is None
    answer = recorder.after_read(many, 90, state.StateRecords((RECORD, RECORD, None)))
    assert answer == state.StateRecords((pending, None, None))
    request = recorder.request()
    assert request is not None
    assert request.guards == (RecordGuard(1, N, "other", 0),)


def test_nothing_read_and_nothing_written_is_no_commit() -> None:
    assert Recorder().request() is None


@pytest.mark.parametrize("request_", [connection.StatusRequest(), connection.NamespaceList()])
def test_what_is_about_no_record_is_no_part_of_a_transaction(request_: Message) -> None:
    with pytest.raises(errors.InvalidArgument, match="cannot be part"):
        Recorder().before_read(request_)


# Through a client.


def transact(driver: Any, function: Callable[..., Any], **options: Any) -> Any:
    """Run a function, given as a generator that yields what would be awaited, as a transaction of either face."""

    def blocking(transaction: Any) -> Any:
        steps = function(transaction)
        result = None
        while True:
            try:
                result = steps.send(result)
            except StopIteration as done:
                return done.value

    async def awaiting(transaction: Any) -> Any:
        steps = function(transaction)
        try:
            step = next(steps)
            while True:
                try:
                    result = await step
                except errors.NotFound as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value

    chosen = blocking if driver.face == "blocking" else awaiting
    return driver.do(lambda: driver.client.transact(chosen, **options))


def increment(transaction: Any) -> Any:
    record = yield transaction.state.get("counter")
    value = record.value + 1 if record else 1
    assert transaction.state.put("counter", value) is None
    transaction.logs.append("audit", [value])
    again = yield transaction.state.get("counter")
    assert (again.value, again.version) == (value, 0)
    return value


def test_a_transaction_is_one_request_with_its_guards(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        assert [transact(driver, increment) for _ in range(3)] == [1, 2, 3]
    commits = [received.request for received in daemon.of_type(Transaction)]
    guards = [guard for commit in commits if isinstance(commit, Transaction) for guard in commit.guards]
    assert [guard.revision for guard in guards if isinstance(guard, RecordGuard)] == [0, 1, 3]
    assert len(daemon.of_type(state.StatePut)) == 0


def test_results_are_there_after_the_commit(daemon: FakeDaemon, drive: Drive) -> None:
    kept: list[Any] = []

    def function(transaction: Any) -> Any:
        kept.append(transaction)
        transaction.state.put("k", 1)
        transaction.with_namespace("default", "x").conversations.create("c")
        assert transaction.results == []
        yield transaction.ping()
        return "done"

    with drive(daemon) as driver:
        assert transact(driver, function) == "done"
    assert kept[0].results[0] == 1
    assert kept[0].results[1].conversation_id == "c"


def test_a_conflict_runs_the_function_again(daemon: FakeDaemon, drive: Drive) -> None:
    runs: list[int | None] = []
    with drive(daemon) as driver, Client(daemon.url) as rival:

        def function(transaction: Any) -> Any:
            record = yield transaction.state.get("counter")
            if len(runs) < 3:
                rival.state.put("counter", 10 * (len(runs) + 1))
            runs.append(record.value if record else None)
            transaction.state.put("counter", (record.value if record else 0) + 1)

        transact(driver, function)
        assert driver.do(lambda: driver.client.state.get("counter")).value == 31
    assert runs == [None, 10, 20, 30]


def test_attempts_are_bounded_and_the_end_is_clear(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.script = lambda received: (
        refuse(errors.TransactionConflict("changed")) if isinstance(received.request, Transaction) else None
    )
    with drive(daemon) as driver, pytest.raises(errors.TransactionConflict, match="after 3 attempts: changed"):
        transact(driver, increment, attempts=3)
    assert len(daemon.of_type(Transaction)) == 3


def test_values_read_in_a_transaction_are_guarded(daemon: FakeDaemon, drive: Drive) -> None:
    """Values alone would not say what to guard: the records are read."""
    seen: list[Any] = []

    def function(transaction: Any) -> Any:
        transaction.state.put("pending", "new")
        values = yield transaction.state.get_values(["a", "absent", "pending"], default=0)
        seen.append(values)
        if len(seen) == 1:
            rival.state.put("a", 2)

    with drive(daemon) as driver, Client(daemon.url) as rival:
        rival.state.put("a", 1)
        transact(driver, function)
    assert seen == [[1, 0, "new"], [2, 0, "new"]]


def test_an_exception_writes_nothing(daemon: FakeDaemon, drive: Drive) -> None:
    def function(transaction: Any) -> Any:
        transaction.state.put("k", 1)
        yield transaction.state.get("other")
        raise ZeroDivisionError

    with drive(daemon) as driver, pytest.raises(ZeroDivisionError):
        transact(driver, function)
    assert daemon.executed == []


def test_a_commit_cut_off_happens_once(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.script = each_once(DROP_AFTER, Transaction)
    with drive(daemon) as driver:
        assert transact(driver, increment) == 1
        assert driver.do(lambda: driver.client.state.get("counter")).version == 1


def test_reading_alone_is_validated_too(daemon: FakeDaemon, drive: Drive) -> None:
    def function(transaction: Any) -> Any:
        first = yield transaction.state.get("a")
        count = yield transaction.state.count()
        return first, count

    with drive(daemon) as driver:
        assert transact(driver, function) == (None, 0)
    (commit,) = daemon.of_type(Transaction)
    assert isinstance(commit.request, Transaction)
    assert len(commit.request.guards) == 2
    assert commit.request.operations == ()


def test_walks_are_guarded_page_by_page(daemon: FakeDaemon) -> None:
    daemon.store.page_items = 2
    with Client(daemon.url) as client:
        client.state.put_many({f"k{index}": index for index in range(5)})
        assert client.transact(lambda tx: [each.value for each in tx.state.scan()]) == [0, 1, 2, 3, 4]

    async def main() -> list[int]:
        async with AsyncClient(daemon.url) as client:

            async def function(transaction: Any) -> list[int]:
                return [each.value async for each in transaction.state.scan()]

            return await client.transact(function)

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]
    for commit in daemon.of_type(Transaction):
        assert isinstance(commit.request, Transaction)
        assert commit.request.guards == (RangeGuard(1, ("default",), 5, FOREVER),)


def test_creating_a_conversation_that_was_missing(daemon: FakeDaemon, drive: Drive) -> None:
    def function(transaction: Any) -> Any:
        try:
            yield transaction.conversations.history("c")
        except errors.NotFound:
            transaction.conversations.create("c")

    with drive(daemon) as driver:
        transact(driver, function)
        assert driver.do(lambda: driver.client.conversations.info("c")) is not None


@pytest.mark.parametrize("call", [lambda tx: tx.state.delete_prefix(""), lambda tx: tx.logs.pop_last("l")])
def test_commands_are_refused(daemon: FakeDaemon, drive: Drive, call: Any) -> None:
    def function(transaction: Any) -> Any:
        yield call(transaction)

    with drive(daemon) as driver, pytest.raises(errors.InvalidArgument, match="cannot be part of a transaction"):
        transact(driver, function)
