"""Many ask for one record that is in no cache: one read is on its way at a time, and nobody is told of the past."""

from __future__ import annotations

import pytest

from recollectd.config.environment import HOT_PATH, Way
from recollectd.protocol import errors
from recollectd.protocol.messages import connection, state
from recollectd.server import reads, single_flight
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, put, refusal

PEERS = 20


@pytest.fixture(params=[Way.ON, Way.OFF])
def manual(request: pytest.FixtureRequest, make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch) -> ManualDaemon:
    """A daemon whose readers wait, with a record "k" that is in no cache of values."""
    monkeypatch.setenv(HOT_PATH, request.param.value)
    manual = make_daemon()
    manual.connect().ask(put("k", "old"))
    manual.forget_values()
    manual.read_pool.held = True
    return manual


def value(peer: Peer, request_id: int) -> bytes | None:
    record = expect(state.StateRecord, peer.answer(request_id).reply)
    return bytes(record.value)


def run(manual: ManualDaemon) -> None:
    """Let one job of the readers end."""
    manual.read_pool.run()
    manual.loop.settle()


def test_what_many_ask_for_is_read_once_or_twice(manual: ManualDaemon) -> None:
    peers = [manual.connect() for _ in range(PEERS)]
    asked = [peer.send(get("k")) for peer in peers]
    assert len(manual.read_pool.jobs) == 1
    run(manual)
    cached = manual.daemon.hot.cache is not None
    assert len(manual.read_pool.jobs) == (0 if cached else 1)
    while manual.read_pool.jobs:
        run(manual)
    assert [value(*pair) for pair in zip(peers, asked, strict=True)] == [b"\xa3old"] * PEERS


def test_what_is_absent_is_read_no_more_often(manual: ManualDaemon) -> None:
    peers = [manual.connect() for _ in range(PEERS)]
    asked = [peer.send(get("absent")) for peer in peers]
    for _ in range(1 if manual.daemon.hot.cache is not None else 2):  # the cache knows of absence, too
        assert len(manual.read_pool.jobs) == 1
        run(manual)
    assert not manual.read_pool.jobs
    replies = [peer.answer(request_id).reply for peer, request_id in zip(peers, asked, strict=True)]
    assert replies == [replies[0]] * PEERS
    assert not isinstance(replies[0], state.StateRecord)


def test_who_asks_after_a_write_is_told_of_it(manual: ManualDaemon) -> None:
    early, late, writer = (manual.connect() for _ in range(3))
    before = early.send(get("k"))
    written = writer.send(put("k", "new"))  # goes on while the read is under way
    expect(state.StateStored, writer.answer(written).reply)
    manual.forget_values()
    after = late.send(get("k"))
    while manual.read_pool.jobs:
        run(manual)
    assert value(early, before) in (b"\xa3old", b"\xa3new")
    assert value(late, after) == b"\xa3new"


def test_other_questions_about_the_record_have_a_flight_of_their_own(manual: ManualDaemon) -> None:
    peer, other = manual.connect(), manual.connect()
    ids = peer.send(get("k")), other.send(state.StateGetValues(NAMESPACE, ("k",)))
    assert len(manual.read_pool.jobs) == 2
    while manual.read_pool.jobs:
        run(manual)
    assert value(peer, ids[0]) == b"\xa3old"
    assert not isinstance(other.answer(ids[1]).reply, connection.ErrorReply)


def test_an_answer_that_cannot_be_encoded_is_an_error_to_all_who_wait(
    manual: ManualDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = [manual.connect() for _ in range(3)]
    asked = [peer.send(get("k")) for peer in peers]

    def fail(result: object) -> bytes:
        if isinstance(result, reads.Failed):
            return reads.reply_bytes(result)
        raise TypeError("cannot be encoded")

    monkeypatch.setattr(single_flight, "reply_bytes", fail)
    monkeypatch.setattr(manual.daemon.hot, "cache", None)  # what is read fills nothing: all share the next read
    while manual.read_pool.jobs:
        run(manual)
    for peer, request_id in zip(peers, asked, strict=True):
        assert refusal(peer.answer(request_id).reply)[0] == errors.InternalError.row.code
