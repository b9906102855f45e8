"""No room: for the journal, and below the disk's watermark. Writes are refused whole, and go on when there is room."""

from __future__ import annotations

import asyncio

import pytest

from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import conversations, fields, logs, memories, state, transactions, vector_spaces
from recollectd.protocol.messages.fields import Kind
from recollectd.server.chores import Forget
from recollectd.storage.engine_errors import EngineStalled
from support.executable_writes import WRITES, furnish
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, plain, put, raw, refusal

DISK_FULL = errors.DiskFull.row.code


def value_of(peer: Peer, key: str) -> object:
    return plain(expect(state.StateRecord, peer.ask(get(key))).value)


def version_of(reply: fields.Reply) -> int:
    return expect(state.StateStored, reply).version


def make_room(manual: ManualDaemon) -> None:
    """Let the journal take batches again."""
    manual.journal.full = manual.journal.held = False
    manual.journal.sync()
    manual.pass_time(1)


def test_everything_sequenced_is_taken_back(manual: ManualDaemon) -> None:
    """What is in the file stays; all behind it is refused, in order, and the numbers of commits go on without a gap."""
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("a", 0))
    peer.ask(put("b", 0))
    manual.journal.held = True
    kept = peer.send(put("a", 1))
    manual.journal.full = True
    refused = [peer.send(put("a", 2)), peer.send(put("b", 2)), peer.send(put("a", 3))]
    of_other = other.send(put("b", 3))
    manual.journal.sync()
    manual.pass_time(1)
    assert peer.answered()[-4:] == [kept, *refused]
    for answer in (*peer.replies[-3:], other.answer(of_other)):
        assert refusal(answer.reply)[0] == DISK_FULL
        assert expect(messages.ErrorReply, answer.reply).retry_after_ms > 0
    assert (value_of(other, "a"), value_of(other, "b")) == (1, 0)
    make_room(manual)
    assert version_of(peer.ask(put("a", 9))) == 3
    assert version_of(other.ask(put("b", 9))) == 2
    assert manual.journal.last_seq == manual.engine.applied_seq == 5
    assert manual.daemon.committer.unapplied_bytes == 0


def test_what_was_taken_back_may_be_sent_again(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", 0))
    manual.journal.full = True
    request = logs.LogAppend(NAMESPACE, "l", (raw(1),))
    assert refusal(peer.ask(request))[0] == DISK_FULL
    assert refusal(peer.ask(request, number=2))[0] == DISK_FULL
    make_room(manual)
    assert expect(logs.LogAppended, peer.ask(request, number=2)).next == 1
    assert expect(logs.LogAppended, peer.ask(request, number=2)).next == 1


def test_facts_of_what_was_taken_back_are_forgotten(manual: ManualDaemon) -> None:
    """Records that would have come into being, or ended, by refused commits."""
    peer = manual.connect()
    peer.ask(put("there", 0))
    peer.ask(conversations.ConversationCreate(NAMESPACE, "chat"))
    for request in (
        state.StateDelete(NAMESPACE, "there"),
        put("new"),
        conversations.ConversationDelete(NAMESPACE, "chat"),
    ):
        manual.journal.full = True
        assert refusal(peer.ask(request))[0] == DISK_FULL
        make_room(manual)
    append = conversations.ConversationAppend(NAMESPACE, "chat", (conversations.NewMessage("user", "x", "m"),))
    manual.journal.full = True
    assert refusal(peer.ask(append))[0] == DISK_FULL
    make_room(manual)
    assert not expect(conversations.MessagesStored, peer.ask(append)).messages[0].duplicate
    assert version_of(peer.ask(put("there", 1, if_version=1))) == 2
    assert version_of(peer.ask(put("new", if_absent=True))) == 1


def test_guards_hold_after_commits_were_taken_back(manual: ManualDaemon) -> None:
    """The numbers of refused commits are given again: a guard must not take the new ones for the old."""
    peer = manual.connect()
    peer.ask(put("k", 0))
    manual.journal.full = True
    assert refusal(peer.ask(put("k", 1)))[0] == DISK_FULL
    make_room(manual)
    read = peer.answer(peer.send(state.StateScan(NAMESPACE)))
    guard = transactions.RangeGuard(Kind.STATE, NAMESPACE, read.position)
    peer.ask(put("phantom"))
    conflict = peer.ask(transactions.Transaction((guard,), (put("k", 2),)))
    assert refusal(conflict) == (errors.TransactionConflict.row.code, "guards[0]")
    read = peer.answer(peer.send(state.StateScan(NAMESPACE)))
    guard = transactions.RangeGuard(Kind.STATE, NAMESPACE, read.position)
    expect(transactions.Results, peer.ask(transactions.Transaction((guard,), (put("k", 3),))))


def test_reads_behind_what_was_taken_back_go_on(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", "kept"))
    manual.journal.held = True
    peer.send(put("other"))
    manual.journal.full = True
    refused = peer.send(put("k", "refused"))
    read, scan = peer.send(get("k")), peer.send(state.StateScan(NAMESPACE))
    manual.journal.sync()
    manual.pass_time(1)
    assert set(peer.answered()[-2:]) == {read, scan}
    assert peer.answered()[-3] == refused
    assert plain(expect(state.StateRecord, peer.answer(read).reply).value) == "kept"


def test_a_pop_behind_what_was_taken_back_sees_what_is_there(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(logs.LogAppend(NAMESPACE, "l", (raw(0),)))
    manual.journal.held = True
    peer.send(put("other"))
    manual.journal.full = True
    refused = peer.send(logs.LogAppend(NAMESPACE, "l", (raw(1),)))
    pop = peer.send(logs.LogPopLast(NAMESPACE, "l"))
    manual.journal.sync()
    manual.pass_time(1)
    assert refusal(peer.answer(refused).reply)[0] == DISK_FULL
    assert refusal(peer.answer(pop).reply)[0] == DISK_FULL
    make_room(manual)
    items = expect(logs.LogPage, peer.ask(logs.LogPopLast(NAMESPACE, "l"), number=4)).items
    assert [plain(item.value) for item in items] == [0]


def test_a_retry_that_joined_is_refused_with_its_original(manual: ManualDaemon) -> None:
    peer = manual.connect()
    returned = manual.connect(peer.welcome.session_id)
    peer.ask(put("k"))
    manual.journal.held = True
    peer.send(put("other"))
    manual.journal.full = True
    request = put("k", 2)
    refused, joined = peer.send(request, number=3), returned.send(request, number=3)
    behind = returned.send(get("k"))
    manual.journal.sync()
    manual.pass_time(1)
    assert refusal(peer.answer(refused).reply)[0] == refusal(returned.answer(joined).reply)[0] == DISK_FULL
    assert returned.answered()[-2:] == [joined, behind]
    make_room(manual)
    assert version_of(returned.ask(request, number=3)) == 2


def test_nothing_is_taken_back_before_what_is_durable_is_applied(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", 0))
    manual.journal.held = True
    durable = peer.send(put("k", 1))
    manual.journal.full = True
    refused = peer.send(put("k", 2))
    manual.engine.refusals = [EngineStalled("Write stall")] * 3
    manual.journal.sync()
    manual.loop.settle()
    assert not {durable, refused} & set(peer.answered())
    manual.pass_time(2)
    assert peer.answered()[-2:] == [durable, refused]
    make_room(manual)
    assert version_of(peer.ask(put("k", 3))) == 3


def test_a_daemon_with_a_full_disk_comes_to_rest(manual: ManualDaemon) -> None:
    """Or SIGTERM would wait for writes that were refused long since."""
    peer = manual.connect()
    peer.ask(put("k", 0))
    manual.journal.held = True
    peer.send(put("k", 1))
    manual.journal.full = True
    peer.send(put("k", 2))
    rested = asyncio.ensure_future(manual.daemon.committer.drained(), loop=manual.loop)
    manual.loop.settle()
    assert not rested.done()
    manual.journal.sync()
    manual.pass_time(1)
    assert rested.done()


def test_retries_against_a_full_journal_do_not_pile_up(manual: ManualDaemon) -> None:
    """While a stall keeps refused writes from being taken back, each new one must not add an attempt of its own."""
    peer = manual.connect()
    peer.ask(put("k"))
    manual.engine.refusals = [EngineStalled("Write stall")] * 1_000
    peer.send(put("k"))
    manual.journal.full = True
    for _ in range(100):
        peer.send(put("k"))
    before = manual.journal.appends_refused
    manual.pass_time(10)
    assert manual.journal.appends_refused - before <= 200 + 5
    manual.engine.refusals.clear()
    make_room(manual)


# -- below the watermark ----------------------------------------------------------------------------------------------

FREES = (
    state.StateDelete,
    state.StateDeletePrefix,
    logs.LogPopLast,
    logs.LogTruncate,
    logs.LogDelete,
    conversations.ConversationDelete,
    memories.MemoryDelete,
    vector_spaces.SpaceDrop,
)


@pytest.mark.parametrize("request_", WRITES, ids=lambda request: type(request).__name__)
def test_only_what_gives_room_back_is_accepted_when_the_disk_is_low(
    manual: ManualDaemon, request_: fields.Message
) -> None:
    peer = manual.connect()
    furnish(peer.ask)
    manual.free_bytes = 1
    reply = peer.ask(request_)
    if isinstance(request_, FREES):
        assert not isinstance(reply, messages.ErrorReply), reply
    else:
        assert refusal(reply)[0] == DISK_FULL


def test_writes_go_on_when_the_disk_has_room_again(manual: ManualDaemon) -> None:
    peer = manual.connect()
    request = put("k")
    peer.ask(request)
    manual.free_bytes = 1
    assert refusal(peer.ask(put("k", 2)))[0] == DISK_FULL
    assert version_of(peer.ask(request, number=1)) == 1, "what is done is answered"
    assert value_of(peer, "k") == 1
    manual.free_bytes = limits.FRAME_BYTES_MAX * 100
    assert version_of(peer.ask(put("k", 2), number=2)) == 2


def test_the_daemons_own_writes_go_on_when_the_disk_is_low(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", ttl_us=1_000_000))
    manual.free_bytes = 1
    manual.daemon.chores.start()
    manual.pass_time(3)
    versions = expect(state.StateVersions, peer.ask(state.StateHistory(NAMESPACE, "k"))).versions
    assert [version.deleted for version in versions] == [True, False]
    assert Forget.frees
