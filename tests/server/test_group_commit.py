"""Group commit: what is sequenced while one batch is synced is the next one, within its caps."""

from __future__ import annotations

from recollectd.protocol import errors
from recollectd.protocol.messages import state, transactions
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.fields import Write
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, put, refusal

KIB = 1024


def batches_of(manual: ManualDaemon) -> list[int]:
    """Return how many commits each batch has."""
    return [len(batch.entries) for batch in manual.journal.batches]


def learn(peer: Peer, *keys: str) -> None:
    """Let the daemon know the records' heads, so that writes need not wait for them."""
    for key in keys:
        peer.ask(put(key))


def test_the_next_batch_is_what_came_while_the_last_one_was_synced(manual: ManualDaemon) -> None:
    peers = [manual.connect() for _ in range(5)]
    learn(peers[0], "k")
    manual.journal.held = True
    for peer in peers:
        peer.send(put("k"))
    assert batches_of(manual) == [1, 1]
    manual.journal.sync()
    manual.loop.settle()
    assert batches_of(manual) == [1, 1, 4]


def test_writes_that_arrive_together_share_a_sync(manual: ManualDaemon) -> None:
    peer = manual.connect()
    learn(peer, "k")
    peer.pipeline(*(put("k", value) for value in range(100)))
    assert batches_of(manual) == [1, 100]


def test_a_batch_has_at_most_so_many_commits(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__batch_commits_max=7)
    peer = manual.connect()
    learn(peer, "k")
    peer.pipeline(*(put("k", value) for value in range(20)))
    assert batches_of(manual) == [1, 7, 7, 6]


def test_a_batch_has_at_most_so_many_bytes(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__batch_bytes_max=100 * KIB)
    peer = manual.connect()
    learn(peer, "k")
    peer.pipeline(*(put("k", bytes(30 * KIB)) for _ in range(7)))
    assert batches_of(manual) == [1, 3, 3, 1]
    sizes = [sum(map(len, batch.entries)) for batch in manual.journal.batches]
    assert max(sizes) <= 100 * KIB


def test_a_commit_larger_than_a_batch_goes_alone(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__batch_bytes_max=100 * KIB)
    peer = manual.connect()
    learn(peer, "k")
    ids = peer.pipeline(put("k", 1), put("k", bytes(300 * KIB)), put("k", 2))
    assert batches_of(manual) == [1, 1, 1, 1]
    assert peer.answered()[-3:] == ids


def test_a_small_first_write_is_not_delayed_by_large_ones(manual: ManualDaemon) -> None:
    peer = manual.connect()
    learn(peer, "k")
    peer.pipeline(put("k", 1), *(put("k", bytes(600 * KIB)) for _ in range(4)))
    assert batches_of(manual) == [1, 2, 3]


def test_one_bad_request_does_not_spoil_a_batch(manual: ManualDaemon) -> None:
    peer = manual.connect()
    learn(peer, "k")
    ids = peer.pipeline(put("k", 1), put("k", 2, if_version=99), put("k", 3, sliding=True), put("k", 4))
    assert batches_of(manual) == [1, 3]
    codes = [peer.answer(request_id).reply for request_id in ids]
    assert [type(reply) for reply in codes] == [state.StateStored, ErrorReply, ErrorReply, state.StateStored]
    assert expect(state.StateStored, codes[3]).version == 3


def test_a_batch_frame_carries_out_what_can_be(manual: ManualDaemon) -> None:
    peer = manual.connect()
    operations = (put("a"), put("a", if_version=5), put("b"))
    results = expect(transactions.Results, peer.ask(transactions.Batch(operations))).results
    assert refusal(results[1]) == (errors.VersionConflict.row.code, "operations[1].if_version")
    assert batches_of(manual) == [1]
    expect(state.StateRecord, peer.ask(get("b")))


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_a_write_past_its_deadline_is_not_executed(manual: ManualDaemon) -> None:
    """It waits for a row that comes too late."""
    peer = manual.connect()
    manual.read_pool.held = True
    late, patient = peer.send(put("k", 1), deadline_ms=500), peer.send(put("other", 1), deadline_ms=5_000)
    manual.pass_time(1)
    assert late not in peer.answered()
    while manual.read_pool.jobs:
        manual.read_pool.run()
        manual.loop.settle()
    manual.read_pool.held = False
    assert refusal(peer.answer(late).reply)[0] == errors.DeadlineExceeded.row.code
    expect(state.StateStored, peer.answer(patient).reply)
    expect(state.Absent, peer.ask(get("k")))
    assert expect(state.StateStored, peer.ask(put("k", 1), number=1)).version == 1, "its number is free"


def test_a_read_past_its_deadline_is_not_started(manual: ManualDaemon) -> None:
    peer = manual.connect()
    learn(peer, "k")
    manual.journal.held = True
    peer.send(put("k", 1))
    late, patient = peer.send(get("k"), deadline_ms=500), peer.send(get("k"))
    manual.pass_time(1)
    manual.journal.sync()
    manual.loop.settle()
    assert refusal(peer.answer(late).reply)[0] == errors.DeadlineExceeded.row.code
    expect(state.StateRecord, peer.answer(patient).reply)


def test_what_has_been_started_is_finished(manual: ManualDaemon) -> None:
    peer = manual.connect()
    learn(peer, "k")
    manual.journal.held = True
    write = peer.send(put("k", 1), deadline_ms=10)
    manual.pass_time(1)
    manual.journal.sync()
    manual.loop.settle()
    expect(state.StateStored, peer.answer(write).reply)


def test_a_request_without_a_deadline_has_the_default_one(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.read_pool.held = True
    early = peer.send(put("a"))
    manual.pass_time(59)
    manual.read_pool.run()
    manual.loop.settle()
    expect(state.StateStored, peer.answer(early).reply)
    late = peer.send(put("b"))
    manual.pass_time(61)
    manual.read_pool.run()
    manual.loop.settle()
    assert refusal(peer.answer(late).reply)[0] == errors.DeadlineExceeded.row.code


def test_operations_of_all_kinds_reach_one_journal(manual: ManualDaemon) -> None:
    peer = manual.connect()
    requests: list[Write] = [put("k"), state.StateDelete(NAMESPACE, "k"), state.StateDelete(NAMESPACE, "k")]
    for request in requests:
        peer.ask(request)
    assert manual.journal.last_seq == len(requests)
