"""Durable before reply, applied before reply: the sync ends when the test says, and nothing is told before it."""

from __future__ import annotations

import pytest

from recollectd.protocol import errors, frames
from recollectd.protocol.messages import state
from recollectd.storage.engine_errors import EngineFailed, EngineFull, EngineStalled
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, plain, put, refusal

ASYNC = frames.FLAG_ASYNC


def value_of(peer: Peer, key: str) -> object:
    return plain(expect(state.StateRecord, peer.ask(get(key))).value)


def test_a_sync_write_is_answered_when_it_is_durable_and_applied(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.held = True
    write = peer.send(put("k"))
    assert manual.engine.applied_seq == 0
    assert write not in peer.answered()
    manual.journal.write()
    manual.loop.settle()
    assert manual.engine.applied_seq == 0, "applied before the sync: a reader could see what a crash takes back"
    assert write not in peer.answered()
    manual.journal.sync()
    manual.loop.settle()
    assert manual.engine.applied_seq == 1
    assert peer.answer(write).position == 1


def test_what_is_durable_and_not_applied_is_not_answered(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.engine.refusals = [EngineStalled("Write stall")]
    write = peer.send(put("k"))
    assert manual.journal.synced_seq == 1
    assert write not in peer.answered()
    manual.pass_time(1)
    assert peer.answer(write).position == 1


def test_an_async_write_is_answered_when_it_is_written_and_not_before(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.held = True
    write = peer.send(put("k"), flags=ASYNC)
    assert write not in peer.answered()
    manual.journal.write()
    manual.loop.settle()
    assert peer.answer(write).position == 1
    assert manual.engine.applied_seq == 0
    manual.journal.sync()
    manual.loop.settle()
    assert len([answer for answer in peer.replies if answer.request_id == write]) == 1


def test_sync_and_async_writes_in_one_batch(manual: ManualDaemon) -> None:
    peer = manual.connect()
    for key in "abc":
        peer.ask(put(key))
    manual.journal.held = True
    frames_of = [peer.prepare(put("a"), flags=ASYNC), peer.prepare(put("b")), peer.prepare(put("c"), flags=ASYNC)]
    peer.feed(b"".join(whole for whole, _ in frames_of))
    hasty, patient, hasty_too = [request_id for _, request_id in frames_of]
    manual.journal.write()
    manual.loop.settle()
    assert {hasty, hasty_too} <= set(peer.answered())
    assert patient not in peer.answered()


def test_a_client_reads_its_own_async_writes_on_another_connection(manual: ManualDaemon) -> None:
    writer = manual.connect()
    reader = manual.connect(writer.welcome.session_id)
    manual.journal.held = True
    write = writer.send(put("k", "new"), flags=ASYNC)
    manual.journal.write()
    manual.loop.settle()
    position = writer.answer(write).position
    expect(state.Absent, reader.ask(get("k")))
    read = reader.send(get("k"), after=position)
    assert read not in reader.answered()
    manual.journal.sync()
    manual.loop.settle()
    answer = reader.answer(read)
    assert plain(expect(state.StateRecord, answer.reply).value) == "new"
    assert answer.position >= position


def test_a_position_beyond_the_journals_end_is_refused(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k"))
    assert refusal(peer.ask(get("k"), after=2)) == (errors.InvalidArgument.row.code, "after")
    assert value_of(peer, "k") == 1


def test_a_read_of_a_position_that_is_taken_back_is_refused(manual: ManualDaemon) -> None:
    """The commit was sequenced and did not reach the journal: nobody was told of its position, but one may guess."""
    peer, other = manual.connect(), manual.connect()
    peer.ask(put("k"))
    other.ask(put("x"))
    manual.journal.held = True
    peer.send(put("k", 2))
    refused = other.send(put("x", 2))
    read = other.send(get("k"), after=4)
    manual.journal.full = True
    manual.journal.sync()
    manual.pass_time(1)
    assert refusal(other.answer(refused).reply)[0] == errors.DiskFull.row.code
    assert refusal(other.answer(read).reply) == (errors.InvalidArgument.row.code, "after")


def test_a_read_says_what_it_includes(manual: ManualDaemon) -> None:
    peer = manual.connect()
    for expected in (1, 2, 3):
        peer.ask(put("k"))
        assert peer.answer(peer.send(get("k"))).position == expected


# -- when RocksDB or the journal fail ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EngineStalled, EngineFull])
def test_what_the_records_do_not_take_yet_is_tried_again_in_order(
    manual: ManualDaemon, kind: type[EngineStalled | EngineFull]
) -> None:
    peer = manual.connect()
    peer.ask(put("k", 0))
    manual.engine.refusals = [kind("not now") for _ in range(5)]
    writes = [peer.send(put("k", value)) for value in range(1, 20)]
    assert not set(writes) & set(peer.answered())
    assert value_of(manual.connect(), "k") == 0
    manual.pass_time(5)
    assert peer.answered()[-len(writes) :] == writes
    assert value_of(peer, "k") == 19
    assert manual.daemon.committer.stalls == 5


def test_a_stall_is_tried_again_at_its_own_pace(manual: ManualDaemon) -> None:
    """However many batches become durable meanwhile: each attempt costs time that the loop does not have."""
    peer = manual.connect()
    manual.engine.refusals = [EngineStalled("Write stall")] * 10_000
    for _ in range(200):
        peer.send(put("k"))
    attempts = manual.engine.attempts
    manual.pass_time(10)
    assert manual.engine.attempts - attempts < 200
    manual.engine.refusals.clear()
    manual.pass_time(1)
    assert len(peer.answered()) == 201


def test_a_failed_sync_ends_the_daemon_and_nothing_is_acknowledged(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.held = True
    hasty, patient = peer.send(put("a"), flags=ASYNC), peer.send(put("b"))
    manual.journal.fail()
    manual.loop.settle()
    assert manual.daemon.failures == [manual.journal.failure]
    assert not {hasty, patient} & set(peer.answered())
    assert manual.engine.applied_seq == 0


def test_a_failed_engine_ends_the_daemon_and_nothing_is_acknowledged(manual: ManualDaemon) -> None:
    peer = manual.connect()
    failure = EngineFailed("the test's engine is broken")
    manual.engine.refusals = [failure]
    write = peer.send(put("a"))
    assert manual.daemon.failures == [failure]
    assert write not in peer.answered()


def test_an_idle_journal_is_sealed_once(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("a"))
    peer.ask(put("b"))
    assert manual.journal.seals == 0
    manual.pass_time(60)
    assert manual.journal.seals == 1
    peer.ask(state.StateDelete(NAMESPACE, "a"))
    manual.pass_time(60)
    assert manual.journal.seals == 2
