"""A write is carried out once, however often, whenever and over whichever connection it is sent."""

from __future__ import annotations

import signal

import pytest

from recollectd.protocol import errors, frames, limits
from recollectd.protocol.messages import connection, fields, logs, state, transactions
from server.conftest import StartDaemon
from support.executable_writes import NEEDED, WRITES, furnish
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, Answer, Wire, expect, get, plain, put, raw, refusal

NUMBER_REUSED = errors.NumberReused.row.code
OUTCOME_UNKNOWN = errors.OutcomeUnknown.row.code
VERSION_CONFLICT = errors.VersionConflict.row.code


def again(peer: Peer, request: fields.Message, number: int, **header: int) -> Answer:
    """Send a write that has a number once more, over this connection, and return the answer."""
    return peer.answer(peer.send(request, number=number, **header))


def test_a_retry_gets_the_first_reply_and_changes_nothing(manual: ManualDaemon) -> None:
    peer = manual.connect()
    request = put("k", 1, if_version=0)
    first = peer.answer(peer.send(request))
    second = again(peer, request, 1)
    assert (second.body, second.position) == (first.body, first.position)
    assert manual.journal.last_seq == 1


def test_a_retry_of_a_refusal_is_refused_alike(manual: ManualDaemon) -> None:
    """Also when it would succeed by now."""
    peer = manual.connect()
    request = put("k", 1, if_version=1)
    first = peer.answer(peer.send(request))
    assert refusal(first.reply) == (VERSION_CONFLICT, "if_version")
    peer.ask(put("k", 0))
    assert again(peer, request, 1).body == first.body


def test_a_retry_in_flight_joins_the_original(manual: ManualDaemon) -> None:
    peer = manual.connect()
    other = manual.connect(peer.welcome.session_id)
    manual.journal.held = True
    request = put("k", 1)
    ids = [peer.send(request), peer.send(request, number=1)]
    of_other = other.send(request, number=1)
    assert manual.journal.last_seq == 1
    assert not peer.answered()[1:]
    manual.journal.sync()
    manual.loop.settle()
    bodies = {peer.answer(request_id).body for request_id in ids} | {other.answer(of_other).body}
    assert len(bodies) == 1
    assert manual.journal.last_seq == 1


def test_a_retry_after_the_client_died_before_the_sync(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.held = True
    request = logs.LogAppend(NAMESPACE, "l", (raw(1),))
    peer.send(request)
    peer.hang_up()
    manual.journal.held = False
    manual.journal.sync()
    manual.loop.settle()
    returned = manual.connect(peer.welcome.session_id)
    assert expect(logs.LogAppended, again(returned, request, 1).reply).next == 1
    assert expect(logs.LogInfo, returned.ask(logs.LogHead(NAMESPACE, "l"))).next == 1


def test_a_retry_while_the_original_waits_for_its_rows(manual: ManualDaemon) -> None:
    peer = manual.connect()
    other = manual.connect(peer.welcome.session_id)
    manual.read_pool.held = True
    request = put("k", 1)
    first, second = peer.send(request), other.send(request, number=1)
    manual.read_pool.run()
    manual.read_pool.held = False
    manual.loop.settle()
    assert peer.answer(first).body == other.answer(second).body
    assert manual.journal.last_seq == 1


def test_what_is_sent_behind_a_retry_comes_behind_the_original(manual: ManualDaemon) -> None:
    """The original waits for a row on the connection that broke; what follows the retry could go on at once."""
    peer = manual.connect()
    peer.ask(put("warm", 0))
    manual.read_pool.held = True
    both = transactions.Transaction((), (put("cold", "first"), put("warm", "first")))
    peer.send(both)
    peer.hang_up()
    returned = manual.connect(peer.welcome.session_id)
    retry = returned.send(both, number=2)
    write = returned.send(put("warm", "second"), number=3)
    read = returned.send(get("warm"))
    manual.read_pool.held = False
    manual.read_pool.run()
    manual.loop.settle()
    assert returned.answered()[-3:] == [retry, write, read]
    assert plain(expect(state.StateRecord, returned.answer(read).reply).value) == "second"
    versions = expect(state.StateVersions, returned.ask(state.StateHistory(NAMESPACE, "warm"))).versions
    assert [plain(version.value) for version in versions if version.value is not None] == ["second", "first", 0]


def test_a_read_behind_a_retry_sees_it(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.held = True
    request = put("k", 1)
    peer.send(request)
    returned = manual.connect(peer.welcome.session_id)
    retry, read = returned.send(request, number=1), returned.send(get("k"))
    manual.journal.sync()
    manual.loop.settle()
    assert returned.answered()[-2:] == [retry, read]
    expect(state.StateRecord, returned.answer(read).reply)


def test_a_retry_that_wants_the_sync_waits_for_it_though_the_original_did_not(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.held = True
    request = put("k", 1)
    original = peer.send(request, flags=frames.FLAG_ASYNC)
    joined_before = peer.send(request, number=1)
    manual.journal.write()
    manual.loop.settle()
    joined_after = peer.send(request, number=1)
    hasty = peer.send(request, number=1, flags=frames.FLAG_ASYNC)
    assert set(peer.answered()[1:]) == {original, hasty}
    manual.journal.sync()
    manual.loop.settle()
    assert set(peer.answered()[1:]) == {original, hasty, joined_before, joined_after}
    assert len({answer.body for answer in peer.replies[1:]}) == 1


def test_another_request_under_a_number_is_refused(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", 1))
    assert refusal(again(peer, put("k", 2), 1).reply)[0] == NUMBER_REUSED
    manual.journal.held = True
    peer.send(put("k", 3))
    assert refusal(again(peer, put("k", 4), 2).reply)[0] == NUMBER_REUSED
    manual.journal.held = False
    manual.journal.sync()
    manual.loop.settle()
    assert plain(expect(state.StateRecord, peer.ask(get("k"))).value) == 3


def test_the_same_number_of_another_session_is_another_write(manual: ManualDaemon) -> None:
    one, two = manual.connect(), manual.connect()
    one.ask(put("k", 1))
    assert expect(state.StateStored, two.ask(put("k", 1))).version == 2


# -- the window -------------------------------------------------------------------------------------------------------


def test_span_forgets_what_is_answered(manual: ManualDaemon) -> None:
    peer = manual.connect()
    requests = [put(f"k{number}") for number in range(1, 6)]
    for number, request in enumerate(requests[:4], start=1):
        peer.ask(request, span=number - 1)
    peer.ask(requests[4], span=2)  # 1 and 2 are answered, 3 and 4 perhaps not
    for number in (1, 2):
        assert refusal(again(peer, requests[number - 1], number).reply)[0] == OUTCOME_UNKNOWN
    for number in (3, 4, 5):
        assert expect(state.StateStored, again(peer, requests[number - 1], number).reply).version == 1


def test_a_number_below_the_window_is_not_executed(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k"), number=10, span=0)
    assert refusal(again(peer, put("never"), 9).reply)[0] == OUTCOME_UNKNOWN
    expect(state.Absent, peer.ask(get("never")))


def test_numbers_may_arrive_out_of_order(manual: ManualDaemon) -> None:
    """Two connections of a client: the later number overtakes the earlier one, whose answer is still awaited."""
    peer = manual.connect()
    peer.ask(put("b"), number=2)
    for _ in range(2):
        assert expect(state.StateStored, again(peer, put("a"), 1).reply).version == 1


def test_the_window_has_an_end_without_any_span(manual: ManualDaemon) -> None:
    peer = manual.connect()
    last = limits.SESSION_WINDOW_NUMBERS + 1
    peer.ask(put("first"), number=1)
    peer.ask(put("second"), number=2)
    peer.ask(put("last"), number=last)
    assert refusal(again(peer, put("first"), 1).reply)[0] == OUTCOME_UNKNOWN
    expect(state.StateStored, again(peer, put("second"), 2).reply)


def test_a_write_given_up_does_not_take_effect_behind_the_next_one(manual: ManualDaemon) -> None:
    """A client gave up on 1 and says so with 2; then 1 arrives after all, before 2 is applied."""
    peer = manual.connect()
    late = manual.connect(peer.welcome.session_id)
    manual.journal.held = True
    peer.send(put("k", "second"), number=2, span=0)
    refused = late.send(put("k", "first"), number=1)
    manual.journal.held = False
    manual.journal.sync()
    manual.loop.settle()
    assert refusal(late.answer(refused).reply)[0] == OUTCOME_UNKNOWN
    assert plain(expect(state.StateRecord, peer.ask(get("k"))).value) == "second"


def test_a_write_given_up_while_it_waits_is_not_carried_out_behind_the_next_one(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k", "old"), number=1)
    slow = manual.connect(peer.welcome.session_id)
    manual.read_pool.held = True
    items = (state.StateItem("k", raw("first")), state.StateItem("cold", raw("first")))
    waiting = slow.send(state.StatePutMany(NAMESPACE, items), number=2)
    assert expect(state.StateStored, peer.ask(put("k", "second"), number=3, span=0)).version == 2
    manual.read_pool.held = False
    manual.read_pool.run()
    manual.loop.settle()
    assert refusal(slow.answer(waiting).reply)[0] == OUTCOME_UNKNOWN
    assert plain(expect(state.StateRecord, peer.ask(get("k"))).value) == "second"


@pytest.mark.parametrize("number", [0, 2**63, 2**64 - 1])
def test_a_write_needs_a_number(manual: ManualDaemon, number: int) -> None:
    peer = manual.connect()
    assert refusal(peer.ask(put("k"), number=number)) == (errors.InvalidArgument.row.code, "number")
    assert manual.journal.last_seq == 0


def test_what_was_not_executed_leaves_its_number_free(manual: ManualDaemon) -> None:
    peer = manual.connect()
    manual.journal.full = True
    assert refusal(peer.ask(put("k", 1)))[0] == errors.DiskFull.row.code
    manual.journal.full = False
    assert expect(state.StateStored, again(peer, put("k", 1), 1).reply).version == 1


# -- every kind of write, and restarts --------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", WRITES, ids=lambda request: type(request).__name__)
def test_a_retry_of_every_write(manual: ManualDaemon, request_: fields.Message) -> None:
    peer = manual.connect()
    furnish(peer.ask)
    first = peer.answer(peer.send(request_))
    assert not isinstance(first.reply, connection.ErrorReply)
    rows = {family: dict(kept) for family, kept in manual.engine.families.items()}
    assert again(peer, request_, peer.number).body == first.body
    assert manual.engine.families == rows


def test_outcomes_survive_restarts_of_every_kind(start_daemon: StartDaemon) -> None:
    """After a SIGKILL from the journal, after SIGTERM from the sessions' rows: each retry gets the same bytes."""
    daemon = start_daemon().ready()
    requests = (*NEEDED, *WRITES, put("profile", 9, if_version=77))
    with daemon.connect() as wire:
        session_id = wire.welcome.session_id
        answers = [wire.wait(wire.send(request)) for request in requests]
    for signal_ in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        daemon.end(signal_)
        daemon = start_daemon().ready()
        with Wire(daemon.socket, hello=connection.Hello(1, 1, "returned", session_id)) as wire:
            assert wire.welcome.session_id == session_id
            for number, (request, answer) in enumerate(zip(requests, answers, strict=True), start=1):
                assert wire.wait(wire.send(request, number=number)).body == answer.body
            assert refusal(wire.ask(put("profile", "another"), number=len(requests)))[0] == NUMBER_REUSED


def test_a_retry_behind_a_read_behind_the_original_is_answered(manual: ManualDaemon) -> None:
    """By the time it has its turn the original has ended, though it was under way when the retry arrived."""
    peer = manual.connect()
    peer.ask(put("k", 0))
    manual.read_pool.held = True
    first = peer.prepare(get("k"))[0]
    write, write_id = peer.prepare(put("k", 1))
    second = peer.prepare(get("k"))[0]
    retry, retry_id = peer.prepare(put("k", 1), number=2)
    peer.feed(first + write + second + retry)
    manual.read_pool.held = False
    while manual.read_pool.jobs:
        manual.read_pool.run()
    manual.loop.settle()
    assert peer.answer(retry_id).body == peer.answer(write_id).body
    assert manual.daemon.dispatcher.bytes_in_flight == 0
