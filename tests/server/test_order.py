"""The order of a connection's requests: a read sees every write sent before it and none sent after it.

The journal's sync and the worker threads are in the test's hands, so each order of events can be had on purpose.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recollectd.protocol import errors, frames
from recollectd.protocol.messages import conversations, fields, logs, state, transactions
from recollectd.protocol.messages.connection import Counted, Deleted, Status, StatusRequest
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, plain, put, raw, refusal

OTHER = ("acme", "assistant-8")


def value_in(reply: fields.Reply) -> object:
    return plain(expect(state.StateRecord, reply).value)


def value_at(peer: Peer, request_id: int) -> object:
    return value_in(peer.answer(request_id).reply)


def test_a_pipeline_on_one_key_is_carried_out_and_answered_in_order(manual: ManualDaemon) -> None:
    peer = manual.connect()
    requests = [request for value in range(6) for request in (put("k", value), get("k"))]
    ids = peer.pipeline(*requests)
    assert [value_at(peer, request_id) for request_id in ids[1::2]] == list(range(6))
    assert peer.answered()[-len(ids) :] == ids


def test_a_read_behind_a_write_waits_for_the_sync(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", "old"))
    manual.journal.held = True
    write, read = peer.pipeline(put("k", "new"), get("k"))
    assert not {write, read} & set(peer.answered())
    manual.journal.sync()
    manual.loop.settle()
    assert value_at(peer, read) == "new"
    assert peer.answered()[-2:] == [write, read]


def test_a_read_of_another_key_does_not_wait_for_the_sync(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("other", 1))
    manual.journal.held = True
    write, read, absent = peer.pipeline(put("k", 2), get("other"), get("nowhere"))
    assert value_at(peer, read) == 1
    expect(state.Absent, peer.answer(absent).reply)
    assert write not in peer.answered()


def test_another_connection_reads_what_is_applied_and_does_not_wait(manual: ManualDaemon) -> None:
    writer, reader = manual.connect(), manual.connect()
    writer.ask(put("k", "applied"))
    manual.journal.held = True
    writer.send(put("k", "on its way"))
    assert value_in(reader.ask(get("k"))) == "applied"


def test_a_read_of_many_keys_waits_for_all_writes_it_touches(manual: ManualDaemon) -> None:
    """The first of the writes is done a batch earlier than the second: the read waits for both."""
    peer = manual.connect()
    peer.ask(state.StatePutMany(NAMESPACE, (state.StateItem("a", raw(0)), state.StateItem("b", raw(0)))))
    manual.journal.held = True
    peer.send(put("a", 1))
    peer.send(put("b", 2))
    both = peer.send(state.StateGetMany(NAMESPACE, ("a", "b")))
    manual.journal.sync()
    manual.loop.settle()
    assert both not in peer.answered()
    manual.journal.sync()
    manual.loop.settle()
    records = expect(state.StateRecords, peer.answer(both).reply).records
    assert [plain(record.value) for record in records if record is not None] == [1, 2]


WALKS: tuple[fields.Request, ...] = (
    state.StateScan(NAMESPACE),
    state.StateCount(NAMESPACE),
    logs.LogList(NAMESPACE),
    conversations.ConversationList(NAMESPACE),
)


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: type(walk).__name__)
def test_a_walk_waits_for_every_write_before_it(manual: ManualDaemon, walk: fields.Request) -> None:
    peer = manual.connect()
    manual.journal.held = True
    peer.send(put("a", 1))
    peer.send(put("b", 2))
    walked = peer.send(walk)
    manual.journal.sync()
    manual.loop.settle()
    assert walked not in peer.answered()
    manual.journal.sync()
    manual.loop.settle()
    assert walked in peer.answered()


def test_a_write_that_does_not_say_what_it_touches_holds_reads_up(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k1", 1))
    manual.journal.held = True
    deletion, read = peer.pipeline(state.StateDeletePrefix(NAMESPACE, "k"), get("k1"))
    assert read not in peer.answered()
    manual.journal.sync()
    manual.loop.settle()
    assert expect(Deleted, peer.answer(deletion).reply).deleted == 1
    expect(state.Absent, peer.answer(read).reply)


READS: tuple[fields.Request, ...] = (
    get("k"),
    state.StateGetMany(NAMESPACE, ("j", "k")),
    state.StateGetValues(NAMESPACE, ("j", "k")),
    state.StateHistory(NAMESPACE, "k"),
    state.StateScan(NAMESPACE),
    state.StateCount(NAMESPACE),
)


def seen(reply: fields.Reply) -> object:
    match reply:
        case state.StateRecord():
            return plain(reply.value)
        case state.StateRecords():
            return [plain(record.value) for record in reply.records if record is not None]
        case state.StateValues():
            return [plain(value) for value in reply.values]
        case state.StateVersions():
            return [plain(version.value) for version in reply.versions if version.value is not None]
        case state.StatePage():
            return [plain(record.value) for record in reply.records]
        case Counted():
            return reply.count
    raise AssertionError(reply)


@pytest.mark.parametrize("read", READS, ids=lambda read: type(read).__name__)
def test_a_read_does_not_see_a_write_sent_after_it(manual: ManualDaemon, read: fields.Request) -> None:
    """The worker is slow: when it looks, the write behind the read could be applied long since."""
    peer = manual.connect()
    peer.ask(put("k", "before"))
    expected = seen(peer.ask(read))
    manual.forget_values()
    manual.read_pool.held = True
    ids = peer.pipeline(read, put("k", "after"), put("later", 1))
    while manual.read_pool.jobs:
        manual.read_pool.run()
        manual.loop.settle()
    assert seen(peer.answer(ids[0]).reply) == expected
    assert peer.answered()[-3:] == ids


def test_a_write_waits_for_reads_before_it_only_where_they_touch_it(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", 1))
    peer.ask(put("other", 1))
    manual.forget_values()
    manual.read_pool.held = True
    slow, write = peer.pipeline(get("k"), put("other", 2))
    assert write in peer.answered()
    assert slow not in peer.answered()


def test_a_read_that_waits_for_a_position_holds_back_the_write_behind_it(manual: ManualDaemon) -> None:
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("k", "before"))
    other.ask(put("x", 0))
    manual.journal.held = manual.read_pool.held = True
    pending = other.send(put("x", 1), flags=frames.FLAG_ASYNC)
    manual.journal.write()
    manual.loop.settle()
    manual.forget_values()
    position = other.answer(pending).position
    read = peer.send(get("k"), after=position)
    write = peer.send(put("k", "after"))
    manual.journal.held = False
    manual.journal.sync()
    manual.loop.settle()
    assert not {read, write} & set(peer.answered())
    manual.read_pool.run()
    manual.loop.settle()
    assert value_at(peer, read) == "before"
    assert peer.answered()[-2:] == [read, write]


def test_a_client_that_hangs_up_leaves_no_write_waiting_for_its_reads(manual: ManualDaemon) -> None:
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("k", 1))
    manual.forget_values()
    manual.read_pool.held = True
    peer.pipeline(get("k"), put("k", 2))
    peer.hang_up()
    manual.read_pool.held = False
    manual.read_pool.run()
    manual.loop.settle()
    assert value_in(other.ask(get("k"))) == 2


def test_a_refusal_comes_behind_the_reply_to_the_write_before_it(manual: ManualDaemon) -> None:
    """A refusal that is no commit need not wait for the disk, but its place is behind what was sent before it."""
    peer = manual.connect()
    peer.ask(put("k", 1))
    manual.journal.held = True
    first = peer.send(put("k", 2))
    manual.engine.reading = OSError("a damaged block")
    items = (state.StateItem("k", raw(3)), state.StateItem("unreadable", raw(3)))
    refused = peer.send(state.StatePutMany(NAMESPACE, items))
    assert refused not in peer.answered()
    manual.engine.reading = None
    manual.journal.sync()
    manual.loop.settle()
    assert peer.answered()[-2:] == [first, refused]
    assert refusal(peer.answer(refused).reply)[0] == errors.InternalError.row.code


# -- rows that must be fetched first ----------------------------------------------------------------------------------


def evict(manual: ManualDaemon, peer: Peer) -> None:
    """Make the daemon forget every row it keeps for deciding; `head_cache_count` is 8 here."""
    for index in range(16):
        peer.ask(put(f"evicting {index}"))


def test_writes_keep_their_order_while_the_first_waits_for_a_row(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__head_cache_count=8)
    peer = manual.connect()
    peer.ask(put("cold", "old"))
    evict(manual, peer)
    peer.ask(put("warm", 1))
    manual.read_pool.held = True
    cold, warm = peer.send(put("cold", "new")), peer.send(put("warm", 2))
    assert not {cold, warm} & set(peer.answered())
    manual.read_pool.run()
    manual.loop.settle()
    assert peer.answered()[-2:] == [cold, warm]
    stored = [expect(state.StateStored, peer.answer(request_id).reply).version for request_id in (cold, warm)]
    assert stored == [2, 2]
    assert peer.answer(cold).position < peer.answer(warm).position


def test_rows_of_a_pipeline_are_fetched_together(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.read_pool.held = True
    ids = peer.pipeline(*(put(f"new {index}") for index in range(50)))
    assert len(manual.read_pool.jobs) == 1
    manual.read_pool.run()
    manual.loop.settle()
    assert peer.answered()[-50:] == ids


def test_other_connections_go_on_while_one_waits_for_a_row(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__head_cache_count=8)
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("cold", 1))
    evict(manual, peer)
    other.ask(put("warm", 1))
    manual.read_pool.held = True
    waiting = peer.send(put("cold", 2))
    assert expect(state.StateStored, other.ask(put("warm", 2))).version == 2
    assert waiting not in peer.answered()


@pytest.mark.parametrize("late", [False, True], ids=["rows read early, told late", "rows read late"])
def test_rows_that_come_in_reverse_are_right(make_daemon: MakeDaemon, late: bool) -> None:
    """Two connections write two cold records each; what they fetch arrives in the reverse order."""
    manual = make_daemon(server__head_cache_count=8)
    first, second = manual.connect(), manual.connect()
    first.ask(put("a", 0))
    first.ask(put("b", 0))
    evict(manual, first)
    manual.read_pool.held = True
    of_a, of_both = first.send(put("a", 1)), first.send(transaction(put("a", 2), put("b", 2)))
    of_b, again = second.send(put("b", 1)), second.send(transaction(put("b", 3), put("a", 3)))
    if not late:
        manual.loop.held = []
    while manual.read_pool.jobs:
        manual.read_pool.run(-1)
        manual.loop.settle()
    while manual.loop.held:
        manual.loop.release(-1)
        while manual.read_pool.jobs:
            manual.read_pool.run(-1)
            manual.loop.settle()
    manual.loop.held = None
    manual.read_pool.held = False
    assert first.answered()[-2:] == [of_a, of_both]
    assert second.answered()[-2:] == [of_b, again]
    for key in ("a", "b"):
        history = expect(state.StateVersions, first.ask(state.StateHistory(NAMESPACE, key))).versions
        assert [version.version for version in history] == [4, 3, 2, 1]


def transaction(*operations: transactions.Operation) -> transactions.Transaction:
    return transactions.Transaction((), operations)


def test_a_row_changed_while_it_is_fetched_is_not_taken_back(make_daemon: MakeDaemon) -> None:
    """The fetch of a slow reader ends after a write to the same record was sequenced, applied and forgotten."""
    manual = make_daemon(server__head_cache_count=8)
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("k", "old"))
    evict(manual, peer)
    manual.read_pool.held = True
    manual.loop.held = []
    slow = peer.send(put("k", "newer"))
    manual.read_pool.run()
    beside = other.send(put("k", "newest"))
    assert not manual.read_pool.jobs, "one fetch of a row serves everybody who waits for it"
    manual.loop.release()
    manual.loop.held = None
    versions = [expect(state.StateStored, peer.answer(slow).reply).version]
    versions.append(expect(state.StateStored, other.answer(beside).reply).version)
    assert versions == [2, 3]


def test_a_write_whose_row_cannot_be_read_is_refused_and_the_next_goes_on(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__head_cache_count=8)
    peer = manual.connect()
    peer.ask(put("k", 1))
    evict(manual, peer)
    manual.engine.reading = OSError("a damaged block")
    assert refusal(peer.ask(put("k", 2)))[0] == errors.InternalError.row.code
    manual.engine.reading = None
    assert expect(state.StateStored, peer.ask(put("k", 3))).version == 2


def test_a_pop_waits_for_the_appends_before_it(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.held = True
    append, pop = peer.pipeline(logs.LogAppend(NAMESPACE, "l", (raw(1), raw(2))), logs.LogPopLast(NAMESPACE, "l", 2))
    assert not {append, pop} & set(peer.answered())
    for _ in range(2):
        manual.journal.sync()
        manual.loop.settle()
    page = expect(logs.LogPage, peer.answer(pop).reply)
    assert [plain(item.value) for item in page.items] == [1, 2]


def test_two_pops_at_once_take_each_item_once(manual: ManualDaemon) -> None:
    """Both read the same items; the one that is sequenced second finds them gone and reads again."""
    one, two = manual.connect(), manual.connect()
    one.ask(logs.LogAppend(NAMESPACE, "l", tuple(raw(index) for index in range(4))))
    manual.read_pool.held = True
    first, second = one.send(logs.LogPopLast(NAMESPACE, "l", 1)), two.send(logs.LogPopLast(NAMESPACE, "l", 2))
    while manual.read_pool.jobs:
        manual.read_pool.run()
    manual.read_pool.held = False
    manual.loop.settle()
    items = expect(logs.LogPage, one.answer(first).reply).items + expect(logs.LogPage, two.answer(second).reply).items
    assert sorted(plain(item.value) for item in items) == [1, 2, 3]


Requests = Callable[[], fields.Message]


def test_status_waits_for_nothing(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.held = True
    peer.send(put("k", 1))
    expect(Status, peer.ask(StatusRequest()))
