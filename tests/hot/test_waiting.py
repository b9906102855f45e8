"""Writes for the short way whose heads are not at hand: fetched together, in order, and nothing overtakes them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from recollectd.config.environment import HOT_PATH, Way
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection, logs, state, transactions
from recollectd.protocol.messages.fields import Message
from recollectd.storage.keyspace import Family
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, put, raw, refusal

COUNT = 8  # of heads that the daemon keeps


@pytest.fixture
def manual(make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch) -> ManualDaemon:
    """A daemon that has records "a" to "d", none of whose heads is at hand, and whose readers wait."""
    monkeypatch.setenv(HOT_PATH, Way.ON.value)
    manual = make_daemon(server__head_cache_count=COUNT)
    peer = manual.connect()
    for key in "abcd":
        peer.ask(put(key, "old"))
    peer.ask(logs.LogAppend(NAMESPACE, "log", (raw("old"),)))
    for index in range(2 * COUNT):
        peer.ask(put(f"evicting {index}"))
    manual.read_pool.held = True
    return manual


def connect(manual: ManualDaemon) -> Peer:
    """Return a client whose session is known: its first write is behind it."""
    peer = manual.connect()
    peer.ask(put("evicting 14", 1))
    return peer


def taken(manual: ManualDaemon) -> int:
    assert manual.daemon.hot.writes is not None
    return sum(manual.daemon.hot.writes.taken().values())


def let_read(manual: ManualDaemon) -> None:
    """Let all readers go on, the last one first."""
    while manual.read_pool.jobs:
        manual.read_pool.run(-1)
        manual.loop.settle()


def arrive(peer: Peer, *requests: Message) -> list[int]:
    """Let requests arrive; the turn of the loop goes on."""
    prepared = [peer.prepare(request) for request in requests]
    data = b"".join(whole for whole, _ in prepared)
    memoryview(peer.connection.get_buffer(-1))[: len(data)] = data
    peer.connection.buffer_updated(len(data))
    return [request_id for _, request_id in prepared]


def versions(peer: Peer, ids: list[int]) -> list[int]:
    return [expect(state.StateStored, peer.answer(request_id).reply).version for request_id in ids]


def test_all_that_arrive_in_a_turn_are_fetched_by_one_list_get(
    manual: ManualDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = [connect(manual) for _ in range(3)]
    before = taken(manual)
    ids = [arrive(peer, put("a", 1), put("b", 1), put("new", 1)) for peer in peers]
    many = arrive(peers[0], state.StatePutMany(NAMESPACE, (state.StateItem("c", raw(1)), state.StateItem("a", raw(2)))))
    appended = arrive(peers[1], logs.LogAppend(NAMESPACE, "log", (raw(1),)))
    manual.loop.settle()
    assert len(manual.read_pool.jobs) == 1
    gets: list[int] = []
    get_many = manual.engine.get_many

    def counted(family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        gets.append(len(keys))
        return get_many(family, keys)

    monkeypatch.setattr(manual.engine, "get_many", counted)
    let_read(manual)
    assert gets == [5]
    assert taken(manual) == before + 3 * 3 + 2, "they went on in native code"
    assert [versions(peer, each) for peer, each in zip(peers, ids, strict=True)] == [[2, 2, 1], [4, 3, 2], [5, 4, 3]]
    assert [each.version for each in expect(state.StateStoredMany, peers[0].answer(many[0]).reply).stored] == [2, 3]
    assert expect(logs.LogAppended, peers[1].answer(appended[0]).reply).first == 1
    assert manual.daemon.dispatcher.bytes_in_flight == 0


def test_a_second_turn_joins_the_fetch_of_the_first(manual: ManualDaemon) -> None:
    peer, other = connect(manual), connect(manual)
    first = peer.send(put("a", 1))
    second = other.send(put("a", 2))
    assert len(manual.read_pool.jobs) == 1, "one fetch of a row serves everybody who waits for it"
    third = other.send(put("b", 1))
    assert len(manual.read_pool.jobs) == 2
    let_read(manual)
    assert versions(peer, [first]) + versions(other, [second, third]) == [2, 3, 2]
    assert other.answer(second).position < other.answer(third).position


def test_what_arrives_behind_keeps_its_place(manual: ManualDaemon) -> None:
    peer = connect(manual)
    ids = peer.pipeline(
        put("a", 1),
        put("evicting 15", 1),  # at hand
        transactions.Transaction((), (put("b", 1), put("evicting 15", 2))),
        get("b"),
        put("c", 1, ttl_us=1_000_000),
        get("c"),
        put("evicting 15", 3),
        get("evicting 15"),
    )
    assert not set(ids) & set(peer.answered())
    let_read(manual)
    found = [peer.answer(request_id) for request_id in ids]
    writes = [found[index].position for index in (0, 1, 2, 4, 6)]
    assert writes == sorted(set(writes))
    assert [expect(state.StateRecord, found[index].reply).value for index in (3, 5, 7)] == [raw(1), raw(1), raw(3)]
    assert expect(state.StateStored, found[6].reply).version == 4


def test_reads_of_other_records_pass_by(manual: ManualDaemon) -> None:
    peer = connect(manual)
    put_id, same, other = peer.pipeline(put("a", 1), get("a"), get("evicting 15"))
    assert peer.answered()[-1:] == [other], "it is in the value cache"
    manual.forget_values()
    cold = peer.send(get("b"))
    manual.read_pool.run(-1)
    manual.loop.settle()
    assert peer.answered()[-1:] == [cold]
    assert not {put_id, same} & set(peer.answered())
    let_read(manual)
    assert expect(state.StateRecord, peer.answer(same).reply).value == raw(1)


def test_a_write_behind_a_read_that_waits_is_not_seen_by_it(manual: ManualDaemon) -> None:
    peer = connect(manual)
    manual.forget_values()
    _, seen, _ = peer.pipeline(put("a", 1), get("a"), put("a", 2))
    let_read(manual)
    assert expect(state.StateRecord, peer.answer(seen).reply).value == raw(1)
    manual.read_pool.held = False
    assert expect(state.StateRecord, peer.ask(get("a"))).value == raw(2)


def test_a_fetch_that_is_told_late_changes_nothing(manual: ManualDaemon) -> None:
    """A transaction of another connection waits for the same row; both go on from what is true then."""
    peer, other = connect(manual), connect(manual)
    manual.loop.held = []
    slow = peer.send(put("a", 1))
    manual.read_pool.run()
    beside = other.send(transactions.Transaction((), (put("a", 2), put("b", 2))))
    manual.read_pool.run()
    while manual.loop.held:
        manual.loop.release(-1)
        let_read(manual)
    manual.loop.held = None
    manual.read_pool.held = False
    assert versions(peer, [slow]) == [2]
    expect(transactions.Results, other.answer(beside).reply)
    history = expect(state.StateVersions, peer.ask(state.StateHistory(NAMESPACE, "a"))).versions
    assert [each.version for each in history] == [3, 2, 1]


def test_a_row_that_cannot_be_read_refuses_its_writes_and_the_next_go_on(manual: ManualDaemon) -> None:
    peer = connect(manual)
    ids = peer.pipeline(put("a", 1), put("evicting 15", 1))
    manual.engine.reading = OSError("a damaged block")
    let_read(manual)
    assert refusal(peer.answer(ids[0]).reply)[0] == errors.InternalError.row.code
    manual.engine.reading = None
    let_read(manual)
    assert versions(peer, ids[1:]) == [2]


def test_one_that_waited_too_long_is_not_begun(manual: ManualDaemon) -> None:
    peer = connect(manual)
    late, whole = peer.send(put("a", 1), deadline_ms=100), peer.send(put("a", 2))
    manual.pass_time(1.0)
    let_read(manual)
    assert refusal(peer.answer(late).reply)[0] == errors.DeadlineExceeded.row.code
    assert versions(peer, [whole]) == [2]


def test_who_hangs_up_has_written_all_the_same(manual: ManualDaemon) -> None:
    peer, other = connect(manual), connect(manual)
    peer.pipeline(put("a", 1), put("b", 1))
    peer.hang_up()
    let_read(manual)
    manual.read_pool.held = False
    assert [expect(state.StateRecord, other.ask(get(key))).value for key in "ab"] == [raw(1), raw(1)]
    assert manual.daemon.dispatcher.bytes_in_flight == 0


def test_who_sends_nothing_more_is_answered_first(manual: ManualDaemon) -> None:
    peer = connect(manual)
    stored, pong = peer.pipeline(put("a", 1), connection.Ping())
    assert peer.connection.eof_received()
    let_read(manual)
    assert {stored, pong} <= set(peer.answered())
    assert peer.transport.is_closing()


def test_a_broken_frame_ends_the_connection_at_once(manual: ManualDaemon) -> None:
    peer, other = connect(manual), connect(manual)
    peer.send(put("a", 1))
    broken = bytearray(peer.prepare(put("a", 2))[0])
    broken[29] = 1
    peer.feed(bytes(broken))
    assert peer.transport.is_closing()
    let_read(manual)
    manual.read_pool.held = False
    assert expect(state.StateRecord, other.ask(get("a"))).value == raw(1)


def test_no_more_wait_than_may_be_in_flight(manual: ManualDaemon) -> None:
    peer = connect(manual)
    most = limits.REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
    ids = peer.pipeline(*(put(f"new {index}") for index in range(most + 1)))
    assert peer.answered()[-1:] == [ids[-1]]
    assert refusal(peer.answer(ids[-1]).reply)[0] == errors.Busy.row.code
    let_read(manual)
    assert versions(peer, ids[:-1]) == [1] * most


def test_a_retry_on_another_connection_is_carried_out_once(manual: ManualDaemon) -> None:
    peer = connect(manual)
    again = manual.connect(peer.welcome.session_id)
    first = peer.send(put("a", 1), number=2)
    retry = again.send(put("a", 1), number=2)
    let_read(manual)
    assert versions(peer, [first]) + versions(again, [retry]) == [2, 2]
    assert peer.answer(first).position == again.answer(retry).position


def test_a_session_that_begins_with_missing_heads_is_soon_on_the_short_way(manual: ManualDaemon) -> None:
    """Its first write goes the ordinary way; those behind it must not have to wait there."""
    peer = manual.connect()
    before = taken(manual)
    first = peer.pipeline(put("a", 1), put("b", 1), get("b"))
    let_read(manual)
    second = peer.pipeline(put("c", 1), put("d", 1), put("c", 2))
    let_read(manual)
    assert versions(peer, [*first[:2], *second]) == [2, 2, 2, 2, 3]
    assert expect(state.StateRecord, peer.answer(first[2]).reply).value == raw(1)
    assert taken(manual) == before + 3


@pytest.mark.parametrize("behind", [False, True])
def test_a_key_that_is_no_text_is_refused(manual: ManualDaemon, behind: bool) -> None:
    peer = connect(manual)
    first = arrive(peer, *([put("a", 1)] if behind else []))
    for request in (put("mark"), state.StatePutMany(NAMESPACE, (state.StateItem("mark", raw(1)),))):
        whole, request_id = peer.prepare(request)
        data = bytes(whole).replace(b"mark", b"ma\xffk")
        memoryview(peer.connection.get_buffer(-1))[: len(data)] = data
        peer.connection.buffer_updated(len(data))
        assert refusal(peer.answer(request_id).reply)[0] == errors.InvalidMessage.row.code
    manual.loop.settle()
    let_read(manual)
    assert versions(peer, first) == [2] * behind
