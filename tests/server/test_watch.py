"""Watches: every change once and in order, from any retained position on, whatever happens while one catches up."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from recollectd.journal.interface import JournalCorrupt
from recollectd.protocol import errors, frames, limits
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import conversations, fields, logs, state, transactions
from recollectd.protocol.messages.transactions import Change, Changes, Unwatch, Watch, Watching
from recollectd.storage.engine_errors import EngineStalled
from server.conftest import MakeDaemon
from support.daemon_process import DaemonProcess
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, Wire, expect, get, put, raw, refusal

RESYNC = errors.Resync.row.code
BELOW = (*NAMESPACE, "scratch")
BESIDE = ("acme", "assistant-77")
MIB = 1024 * 1024


def told(peer: Peer, watch: int) -> list[Change]:
    """Return every change told so far."""
    replies = [answer.reply for answer in peer.replies if answer.request_id == watch]
    expect(Watching, replies[0])
    return [change for reply in replies[1:] for change in expect(Changes, reply).changes]


def begin(peer: Peer, **fields_: object) -> int:
    """Begin a watch and return its request id."""
    return peer.send(Watch(fields_.pop("namespace", NAMESPACE), **fields_))  # type: ignore[arg-type]


def keys(changes: list[Change]) -> list[str]:
    return [change.key for change in changes]


def test_from_now_on(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    writer.ask(put("before"))
    watch = begin(watcher)
    assert expect(Watching, watcher.answer(watch).reply).position == 1
    writer.ask(put("after"))
    assert keys(told(watcher, watch)) == ["after"]


@pytest.mark.parametrize("position", [0, 1, 4, 5])
def test_from_a_position_on(manual: ManualDaemon, position: int) -> None:
    watcher, writer = manual.connect(), manual.connect()
    for index in range(1, 6):
        writer.ask(put(f"{index}"))
    watch = begin(watcher, position=position)
    writer.ask(put("6"))
    assert keys(told(watcher, watch)) == [str(index) for index in range(position + 1, 7)]
    assert [change.position for change in told(watcher, watch)] == list(range(position + 1, 7))


def test_a_trimmed_position_is_resync(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    for index in range(5):
        writer.ask(put(f"{index}"))
    manual.journal.trim(3)
    assert refusal(watcher.ask(Watch(NAMESPACE, position=2)))[0] == RESYNC
    assert keys(told(watcher, begin(watcher, position=3))) == ["3", "4"]


def test_a_watch_that_trimming_overtakes_is_resync(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    for index in range(5):
        writer.ask(put(f"{index}"))
    manual.watch_pool.held = True
    watch = begin(watcher, position=0)
    manual.journal.trim(3)
    manual.watch_pool.run()
    manual.loop.settle()
    replies = [answer.reply for answer in watcher.replies if answer.request_id == watch]
    assert refusal(replies[-1])[0] == RESYNC
    assert len(manual.daemon.watches) == 0


def test_what_is_selected(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    narrow = begin(watcher, prefix="a", kinds=(fields.Kind.STATE,))
    wide = begin(watcher, namespace=("acme",))
    below = begin(watcher, namespace=BELOW)
    everything = begin(watcher, namespace=())
    writer.ask(put("a1"))
    writer.ask(put("b1"))
    writer.ask(put("a2", namespace=BELOW))
    writer.ask(put("a3", namespace=BESIDE))
    writer.ask(put("a4", namespace=("other",)))
    writer.ask(logs.LogAppend(NAMESPACE, "a5", (raw(1),)))
    assert keys(told(watcher, narrow)) == ["a1", "a2"]
    assert keys(told(watcher, below)) == ["a2"]
    assert keys(told(watcher, wide)) == ["a1", "b1", "a2", "a3", "a5"]
    assert keys(told(watcher, everything)) == ["a1", "b1", "a2", "a3", "a4", "a5"]


def test_the_past_is_selected_as_the_present_is(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    for key in ("a1", "b1", "a2"):
        writer.ask(put(key))
        writer.ask(put(key, namespace=BESIDE))
    past = begin(watcher, prefix="a", position=0, values=True)
    assert [(change.key, change.namespace) for change in told(watcher, past)] == [("a1", NAMESPACE), ("a2", NAMESPACE)]


def test_what_a_change_says(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    watch, bare = begin(watcher, values=True), begin(watcher)
    message = conversations.NewMessage("user", "Hello", "m-1")
    for request in (
        put("k", {"a": 1}),
        state.StateTouch(NAMESPACE, "k", 5_000_000),
        state.StateDelete(NAMESPACE, "k"),
        logs.LogAppend(NAMESPACE, "l", (raw(1), raw(2))),
        logs.LogPopLast(NAMESPACE, "l"),
        logs.LogDelete(NAMESPACE, "l"),
        conversations.ConversationCreate(NAMESPACE, "c"),
        conversations.ConversationAppend(NAMESPACE, "c", (message,)),
        conversations.ConversationDelete(NAMESPACE, "c"),
        messages.NamespaceConfigure(NAMESPACE, 5, None),
    ):
        writer.ask(request)
    assert [(change.kind, change.operation, change.key, change.version) for change in told(watcher, watch)] == [
        (1, "put", "k", 1),
        (1, "touch", "k", 1),
        (1, "delete", "k", 2),
        (2, "append", "l", 2),
        (2, "truncate", "l", 1),
        (2, "delete", "l", 1),
        (3, "create", "c", 0),
        (3, "append", "c", 1),
        (3, "delete", "c", 1),
        (16, "configure", "", 0),
    ]
    assert [change.data is not None for change in told(watcher, watch)][:4] == [True, False, False, True]
    assert told(watcher, watch)[0].data == bytes(raw({"a": 1}))
    assert not any(change.data for change in told(watcher, bare))


def test_nothing_is_told_of_what_changes_nothing(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    watch = begin(watcher)
    writer.ask(put("k", if_version=7))
    writer.ask(state.StateDelete(NAMESPACE, "nowhere"))
    writer.ask(get("k"))
    assert told(watcher, watch) == []
    assert manual.journal.last_seq == 2


def test_changes_of_one_commit_are_told_together(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    watch, past = begin(watcher), 0
    writer.ask(transactions.Transaction((), (put("a"), put("b"), logs.LogAppend(NAMESPACE, "l", (raw(1),)))))
    past = begin(watcher, position=0)
    for each in (watch, past):
        changes = expect(Changes, [answer.reply for answer in watcher.replies if answer.request_id == each][1])
        assert keys(list(changes.changes)) == ["a", "b", "l"]
        assert {change.position for change in changes.changes} == {1} == {changes.position}


def test_writes_while_a_watch_catches_up(manual: ManualDaemon) -> None:
    """Each step reads a part of the past while the present goes on; the last one hands over without gap or double."""
    watcher, writer = manual.connect(), manual.connect()
    for index in range(1_500):
        writer.send(put("k", index))
    manual.watch_pool.held = True
    watch = begin(watcher, position=0)
    written = 1_500
    for _ in range(20):
        manual.watch_pool.run()
        writer.ask(put("k", written))  # before the loop hears of the step
        written += 1
    while manual.watch_pool.jobs:
        manual.watch_pool.run()
        manual.loop.settle()
    writer.ask(put("k", written))
    assert [change.position for change in told(watcher, watch)] == list(range(1, written + 2))


def test_a_watch_from_a_position_that_is_not_applied_yet(manual: ManualDaemon) -> None:
    """A client watches from the position of its own async write: that lies in the journal and not beyond its end."""
    peer, writer = manual.connect(), manual.connect()
    peer.ask(put("k"))
    manual.journal.held = True
    hasty = peer.send(put("k", 2), flags=frames.FLAG_ASYNC)
    manual.journal.write()
    manual.loop.settle()
    watch = begin(peer, position=peer.answer(hasty).position)
    expect(Watching, peer.answer(watch).reply)
    manual.journal.held = False
    manual.journal.sync()
    manual.loop.settle()
    writer.ask(put("later"))
    assert keys(told(peer, watch)) == ["later"]


def test_unwatch(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    watch, other = begin(watcher), begin(watcher)
    expect(messages.Done, watcher.ask(Unwatch(watch)))
    writer.ask(put("k"))
    assert told(watcher, watch) == []
    assert keys(told(watcher, other)) == ["k"]
    assert len(manual.daemon.watches) == 1


def test_unwatch_while_it_catches_up(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    writer.ask(put("k"))
    manual.watch_pool.held = True
    watch = begin(watcher, position=0)
    expect(messages.Done, watcher.ask(Unwatch(watch)))
    manual.watch_pool.run()
    manual.loop.settle()
    assert told(watcher, watch) == []
    assert len(manual.daemon.watches) == 0


def test_a_watch_ends_with_its_connection(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    begin(watcher)
    begin(watcher, position=0)
    watcher.hang_up()
    writer.ask(put("k"))
    assert len(manual.daemon.watches) == 0


def test_one_id_is_one_watch(manual: ManualDaemon) -> None:
    watcher = manual.connect()
    watch = begin(watcher)
    watcher.send(Watch(NAMESPACE), request_id=watch)
    assert refusal(watcher.replies[-1].reply) == (errors.InvalidArgument.row.code, "request_id")


def test_many_watches_of_many_connections(manual: ManualDaemon) -> None:
    peers = [manual.connect() for _ in range(20)]
    watches = [(peer, begin(peer, prefix=f"k{index}", position=0)) for peer in peers for index in range(10)]
    for index in range(10):
        peers[0].ask(put(f"k{index}"))
    assert all(len(told(peer, watch)) == 1 for peer, watch in watches)


def test_what_is_told_fits_a_frame(make_daemon: MakeDaemon) -> None:
    """However much becomes visible at once: here what piled up while RocksDB stalled."""
    manual = make_daemon(server__batch_bytes_max=40 * MIB)
    watcher, writer = manual.connect(), manual.connect()
    writer.ask(put("k"))
    watch = begin(watcher, values=True)
    manual.engine.refusals = [EngineStalled("Write stall")] * 3
    writer.pipeline(*(put("k", bytes(5 * MIB)) for _ in range(8)))
    manual.pass_time(3)
    assert len(told(watcher, watch)) == 8
    longest = max(len(answer.body) for answer in watcher.replies)
    assert longest + frames.REPLY_HEADER.size <= limits.FRAME_BYTES_MAX


def test_a_journal_that_cannot_be_read_is_no_silence(manual: ManualDaemon) -> None:
    watcher, writer = manual.connect(), manual.connect()
    writer.ask(put("k"))
    manual.journal.reading = JournalCorrupt("1.segment", 4096, "a flipped bit")
    watch = begin(watcher, position=0)
    replies = [answer.reply for answer in watcher.replies if answer.request_id == watch]
    assert refusal(replies[-1])[0] == errors.InternalError.row.code
    assert len(manual.daemon.watches) == 0


# -- with a real journal ----------------------------------------------------------------------------------------------


def follow(address: Wire, until: int) -> Iterator[Change]:
    """Yield changes until the commit is told."""
    while True:
        changes = expect(Changes, address.receive().reply)
        yield from changes.changes
        if changes.position >= until:
            return


def test_no_gap_and_no_double_while_many_write(served: DaemonProcess) -> None:
    """Watches begin all through a time of concurrent writes; each sees all of it, in the journal's order."""
    writers, writes = 4, 400
    begun = threading.Barrier(writers + 1)

    def write(name: int) -> None:
        with served.connect() as wire:
            begun.wait()
            ids = [wire.send(put(f"{name}", value)) for value in range(writes)]
            for request_id in ids:
                expect(state.StateStored, wire.wait(request_id).reply)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(writers)]
    with served.connect() as first:
        start = first.welcome.position
        for thread in threads:
            thread.start()
        begun.wait()
        watchers = []
        for _ in range(10):
            watchers.append(served.connect())
            expect(Watching, watchers[-1].ask(Watch(NAMESPACE, position=start)))
            first.ask(put("between"))
        for thread in threads:
            thread.join()
        first.ask(put("last"))
        end = first.wait(first.send(put("last"))).position
        for watcher in watchers:
            changes = list(follow(watcher, end))
            assert [change.position for change in changes] == list(range(start + 1, end + 1))
            for name in range(writers):
                versions = [change.version for change in changes if change.key == f"{name}"]
                assert versions == list(range(1, writes + 1))
            watcher.socket.close()


def test_nothing_is_told_to_a_connection_that_is_ending(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k"))
    broken = bytearray(peer.prepare(get("k"))[0])
    broken[29] = 1  # the reserved byte: another layout
    peer.feed(peer.prepare(Watch(NAMESPACE, position=0))[0] + broken)
    assert peer.transport.is_closing()
    assert not [answer for answer in peer.replies if isinstance(answer.reply, Changes)]
