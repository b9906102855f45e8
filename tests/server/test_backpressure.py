"""Bounds: over them a request is answered BUSY and not executed, and who does not take replies gets no more of them."""

from __future__ import annotations

import pytest

from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import logs, state, transactions
from recollectd.protocol.messages.fields import Message, Reply
from recollectd.server import dispatch
from server.conftest import MakeDaemon
from support.daemon_process import DaemonProcess
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, plain, put, raw, refusal

BUSY = errors.Busy.row.code
KIB = 1024
MIB = 1024 * 1024


def is_busy(reply: Reply) -> bool:
    """Return whether it says BUSY, and when to come again."""
    if not isinstance(reply, messages.ErrorReply):
        return False
    assert reply.code == BUSY
    assert reply.retry_after_ms > 0
    return True


def test_writes_that_cannot_be_applied_fast_enough(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__unapplied_bytes_max=100 * KIB)
    peer = manual.connect()
    peer.ask(put("k"))
    manual.journal.held = True
    ids = [peer.send(put("k", bytes(10 * KIB))) for _ in range(20)]
    refused = [request_id for request_id in ids if request_id in peer.answered()]
    assert len(refused) == 10
    assert all(is_busy(peer.answer(request_id).reply) for request_id in refused)
    first_refused = ids.index(refused[0]) + 2  # its number: one write was before
    assert is_busy(peer.ask(put("k", bytes(10 * KIB)), number=first_refused)), "still the same"
    manual.journal.held = False
    manual.journal.sync()
    manual.loop.settle()
    stored = expect(state.StateStored, peer.ask(put("k", bytes(10 * KIB)), number=first_refused))
    assert stored.version == 12
    assert manual.daemon.committer.unapplied_bytes == 0


def test_a_retry_of_what_is_on_its_way_is_not_refused_for_want_of_room(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__unapplied_bytes_max=KIB)
    peer = manual.connect()
    done = put("done")
    peer.ask(done)
    manual.journal.held = True
    large = put("done", bytes(2 * KIB))
    peer.send(large)
    retry = peer.send(large, number=2)
    assert retry not in peer.answered()
    assert expect(state.StateStored, peer.ask(done, number=1)).version == 1


@pytest.fixture
def few_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may have 10 requests and 10,000 bytes in flight."""
    monkeypatch.setattr(dispatch, "IN_FLIGHT_LIMITS", (10, 10_000))


SLOW: tuple[tuple[Message, str], ...] = (
    (put("k"), "journal"),
    (get("k"), "reads"),
    (messages.StatusRequest(True), "reads"),
    (state.StateScan(NAMESPACE), "reads"),
)


@pytest.mark.usefixtures("few_in_flight")
@pytest.mark.parametrize(("request_", "waits_for"), SLOW, ids=[type(request).__name__ for request, _ in SLOW])
def test_so_many_requests_in_flight(manual: ManualDaemon, request_: Message, waits_for: str) -> None:
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("k"))
    manual.forget_values()
    manual.journal.held = waits_for == "journal"
    manual.read_pool.held = waits_for == "reads"
    ids = [peer.send(request_) for _ in range(13)]
    early = [request_id for request_id in ids if request_id in peer.answered()]
    assert early == ids[10:]
    assert all(is_busy(peer.answer(request_id).reply) for request_id in early)
    expect(messages.Pong, other.ask(messages.Ping()))
    manual.journal.held = manual.read_pool.held = False
    manual.journal.sync()
    while manual.read_pool.jobs:
        manual.read_pool.run()
    manual.loop.settle()
    assert set(ids) <= set(peer.answered())
    assert peer.connection.requests_in_flight == 0
    assert manual.daemon.dispatcher.bytes_in_flight == 0


@pytest.mark.usefixtures("few_in_flight")
def test_so_many_bytes_in_flight(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k"))
    manual.journal.held = True
    ids = [peer.send(put("k", bytes(3_000))) for _ in range(4)]
    assert peer.answered()[2:] == ids[3:]
    assert is_busy(peer.answer(ids[3]).reply)
    assert is_busy(manual.connect().ask(put("k", bytes(11_000))))


def test_so_many_bytes_in_flight_in_all(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__in_flight_bytes_max=10_000)
    peers = [manual.connect() for _ in range(4)]
    peers[0].ask(put("k"))
    manual.journal.held = True
    answered = []
    for peer in peers:
        request_id = peer.send(put("k", bytes(3_000)))
        answered += [is_busy(peer.answer(request_id).reply)] if request_id in peer.answered() else []
    assert answered == [True, True]
    manual.journal.held = False
    manual.journal.sync()
    manual.loop.settle()
    assert manual.daemon.dispatcher.bytes_in_flight == 0
    assert peers[3].send(put("k", bytes(3_000)), number=1)


def test_small_requests_without_end_are_bounded_in_all(make_daemon: MakeDaemon) -> None:
    """What a request costs beside its bytes counts too, or many connections could hold any number of requests."""
    manual = make_daemon(server__in_flight_bytes_max=1 * MIB)
    manual.read_pool.held = True
    refused = 0
    for _ in range(30):
        peer = manual.connect()
        peer.pipeline(*(get("k") for _ in range(100)))
        refused += len(peer.answered()) - 1
    assert refused > 1_000


def test_a_client_that_hangs_up_gives_its_room_back(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k"))
    manual.forget_values()
    manual.journal.held = manual.read_pool.held = True
    peer.pipeline(put("k", 2), get("other"), state.StateScan(NAMESPACE))
    peer.hang_up()
    manual.journal.sync()
    manual.loop.settle()
    while manual.read_pool.jobs:
        manual.read_pool.run()
        manual.loop.settle()
    assert manual.daemon.dispatcher.bytes_in_flight == 0
    assert peer.connection.requests_in_flight == 0


# -- clients that do not read -----------------------------------------------------------------------------------------


def test_who_does_not_take_replies_is_not_read_from(manual: ManualDaemon) -> None:
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("k", bytes(MIB)))
    peer.transport.stuck = True
    asked = []
    while not peer.transport.is_paused():
        asked.append(peer.send(get("k")))
        assert len(asked) < 20
    assert plain(expect(state.StateRecord, other.ask(get("k"))).value) == bytes(MIB)
    peer.transport.stuck = False
    peer.transport.take()
    assert not peer.transport.is_paused()
    assert peer.answered()[-len(asked) :] == asked
    expect(messages.Pong, peer.ask(messages.Ping()))


def test_replies_that_nobody_takes_are_bounded(manual: ManualDaemon) -> None:
    """All is asked for in one piece, before any reply could pile up: 75 MiB, of which little is held at a time."""
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("k", bytes(192 * KIB)))
    peer.transport.stuck = True
    ids = peer.pipeline(*(get("k") for _ in range(400)))
    assert peer.connection.unsent_bytes < 20 * MIB
    expect(messages.Pong, other.ask(messages.Ping()))
    peer.transport.stuck = False
    peer.transport.take()
    manual.loop.settle()
    assert peer.answered()[-400:] == ids


def test_a_write_behind_reads_that_nobody_takes_comes_after_them(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", bytes(192 * KIB)))
    peer.transport.stuck = True
    ids = peer.pipeline(*(get("k") for _ in range(200)), put("k", "new"))
    peer.transport.stuck = False
    peer.transport.take()
    manual.loop.settle()
    assert peer.answered()[-201:] == ids


def test_one_that_does_not_read_does_not_slow_the_others(served: DaemonProcess) -> None:
    with served.connect() as stuck, served.connect() as other:
        stuck.ask(put("large", bytes(MIB)))
        stuck.socket.sendall(b"".join(stuck.prepare(get("large"))[0] for _ in range(1_000)))
        for value in range(100):
            other.ask(put("k", value))
            assert plain(expect(state.StateRecord, other.ask(get("k"))).value) == value
        status = expect(messages.Status, other.ask(messages.StatusRequest())).status
        assert status["process"]["resident_bytes"] < 600 * MIB


def test_a_watcher_that_does_not_read_is_cut_off(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    watch = watcher.send(transactions.Watch(NAMESPACE, values=True))
    watcher.transport.stuck = True
    for _ in range(20):
        writer.ask(put("k", bytes(MIB)))
    assert watcher.connection.unsent_bytes < limits.WATCH_QUEUE_BYTES_MAX + 3 * MIB
    assert not len(manual.daemon.watches)
    watcher.transport.stuck = False
    watcher.transport.take()
    told = [answer.reply for answer in watcher.replies if answer.request_id == watch]
    assert refusal(told[-1])[0] == errors.Resync.row.code
    assert refusal(watcher.ask(transactions.Unwatch(watch))) == (errors.NotFound.row.code, "request_id")
    writer.ask(put("k", "later"))
    assert [answer.reply for answer in watcher.replies if answer.request_id == watch] == told
    watcher.send(transactions.Watch(NAMESPACE), request_id=watch)
    expect(transactions.Watching, watcher.replies[-1].reply)


def test_a_watcher_of_the_past_sets_its_own_pace(manual: ManualDaemon) -> None:
    """What lies in the journal waits there: a slow reader of it is not cut off."""
    watcher, writer = manual.connect(), manual.connect()
    for _ in range(30):
        writer.ask(put("k", bytes(MIB)))
    watcher.transport.stuck = True
    watch = watcher.send(transactions.Watch(NAMESPACE, position=0, values=True))
    manual.pass_time(1)
    assert watcher.connection.unsent_bytes < limits.WATCH_QUEUE_BYTES_MAX
    for _ in range(40):
        watcher.transport.take()
        manual.pass_time(0.1)
    assert positions(watcher, watch) == list(range(1, 31))


def positions(peer: Peer, watch: int) -> list[int]:
    told = [answer.reply for answer in peer.replies if answer.request_id == watch]
    changes = [reply.changes for reply in told if isinstance(reply, transactions.Changes)]
    return [change.position for each in changes for change in each]


def test_so_many_watches_on_a_connection(manual: ManualDaemon) -> None:
    peer = manual.connect()
    for _ in range(limits.WATCHES_PER_CONNECTION_MAX):
        expect(transactions.Watching, peer.ask(transactions.Watch(NAMESPACE)))
    assert is_busy(peer.ask(transactions.Watch(NAMESPACE)))
    peer.ask(transactions.Unwatch(2))
    expect(transactions.Watching, peer.ask(transactions.Watch(NAMESPACE)))


def test_a_pop_that_is_always_too_late_gives_up(manual: ManualDaemon) -> None:
    """Somebody else changes the log between each of its looks."""
    peer, other = manual.connect(), manual.connect()
    other.ask(logs.LogAppend(NAMESPACE, "l", (raw(0),)))
    manual.read_pool.held = True
    pop = peer.send(logs.LogPopLast(NAMESPACE, "l"))
    for _ in range(60):
        if not manual.read_pool.jobs:
            break
        manual.read_pool.run()
        other.send(logs.LogAppend(NAMESPACE, "l", (raw(1),)))
    assert is_busy(peer.answer(pop).reply)
