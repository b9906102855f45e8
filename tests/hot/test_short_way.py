"""Which writes go the short way: plain ones of records at hand, and nothing that asks for more."""

from __future__ import annotations

import pytest

from recollectd.config.environment import HOT_PATH, Way
from recollectd.protocol import frames, table
from recollectd.protocol.messages import conversations, logs, state
from recollectd.protocol.messages.fields import Write
from recollectd.protocol.messages.state import StateItem
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, get, put, raw

MESSAGE = conversations.NewMessage("user", "Hello")
KEYS = ("k", "l", "m")
BEFORE: tuple[Write, ...] = (
    *(put(key, 0) for key in KEYS),
    put("expires", 0, ttl_us=60_000_000),
    logs.LogAppend(NAMESPACE, "log", (raw(0),)),
    conversations.ConversationCreate(NAMESPACE, "chat"),
)


def many(*keys: str, value: object = 1, ttl_us: int | None = None) -> state.StatePutMany:
    return state.StatePutMany(NAMESPACE, tuple(StateItem(key, raw(value)) for key in keys), ttl_us)


PLAIN: dict[str, Write] = {
    "a put": put("k", 1),
    "a put of the version that is there": put("k", 1, if_version=1),
    "a put of the largest value": put("k", "x" * 65_000),
    "one of many": many("k"),
    "many": many(*KEYS),
    "many, 200 bytes each": many(*KEYS, value=b"v" * 200),
    "a record not at hand": put("unheard of", 1),
    "one among many not at hand": many("k", "unheard of"),
    "an append to a log": logs.LogAppend(NAMESPACE, "log", (raw(1), raw([2]))),
    "a message": conversations.ConversationAppend(NAMESPACE, "chat", (MESSAGE, MESSAGE)),
}
OTHERS: dict[str, Write] = {
    "a time to live": put("k", 1, ttl_us=1_000_000),
    "a time to live of many": many(*KEYS, ttl_us=1_000_000),
    "another version": put("k", 1, if_version=7),
    "only if absent": put("k", 1, if_absent=True),
    "one that expires": put("expires", 1),
    "one among many that expires": many("k", "expires"),
    "a key twice": many("k", "l", "k"),
    "none": many(),
    "a large value": put("k", "x" * 66_000),
    "large values": many(*KEYS, value=b"v" * 30_000),
    "an own message id": conversations.ConversationAppend(
        NAMESPACE, "chat", (conversations.NewMessage("user", "Hello", "own"),)
    ),
    "vectors": conversations.ConversationAppend(
        NAMESPACE, "chat", (conversations.NewMessage("user", "Hello", vectors={"mini": b"\0\0\x80\x3f"}),)
    ),
    "a conversation that is not there": conversations.ConversationAppend(NAMESPACE, "gone", (MESSAGE,)),
    "a deletion": state.StateDelete(NAMESPACE, "k"),
}


@pytest.fixture
def manual(make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch) -> ManualDaemon:
    monkeypatch.setenv(HOT_PATH, Way.ON.value)
    return make_daemon()


@pytest.fixture
def peer(manual: ManualDaemon) -> Peer:
    peer = manual.connect()
    for write in BEFORE:
        peer.ask(write)
    return peer


def taken(manual: ManualDaemon) -> int:
    assert manual.daemon.hot.writes is not None
    return sum(manual.daemon.hot.writes.taken().values())


@pytest.mark.parametrize("write", PLAIN.values(), ids=PLAIN)
def test_plain_writes_do(manual: ManualDaemon, peer: Peer, write: Write) -> None:
    before = taken(manual)
    peer.ask(write)
    assert taken(manual) == before + 1


@pytest.mark.parametrize("write", OTHERS.values(), ids=OTHERS)
def test_others_do_not(manual: ManualDaemon, peer: Peer, write: Write) -> None:
    before = taken(manual)
    peer.ask(write)
    assert taken(manual) == before


@pytest.mark.parametrize("write", [PLAIN["a put"], PLAIN["many"]], ids=["one", "many"])
def test_neither_does_what_is_answered_before_it_is_durable(manual: ManualDaemon, peer: Peer, write: Write) -> None:
    before = taken(manual)
    peer.ask(write, flags=frames.FLAG_ASYNC)
    assert taken(manual) == before


def test_many_are_there_for_the_next_write_and_read(manual: ManualDaemon, peer: Peer) -> None:
    """In one piece, behind each other: nothing is applied in between."""
    ids = peer.pipeline(many(*KEYS), put("l", "two"), get("l"), get("m"), many("m", "l", value="three"), get("l"))
    found = [peer.answer(request_id).reply for request_id in ids]
    assert isinstance(found[0], state.StateStoredMany)
    assert [each.version for each in found[0].stored] == [2, 2, 2]
    assert isinstance(found[1], state.StateStored)
    assert found[1].version == 3
    values = [(each.version, each.value) for each in found if isinstance(each, state.StateRecord)]
    assert values == [(3, raw("two")), (2, raw(1)), (4, raw("three"))]


def test_many_are_one_commit(manual: ManualDaemon, peer: Peer) -> None:
    before = manual.journal.last_seq
    peer.ask(many(*KEYS))
    assert manual.journal.last_seq == before + 1


def test_many_are_refused_whole(manual: ManualDaemon, peer: Peer) -> None:
    """When the journal has no room, nothing of it is known any more."""
    manual.journal.full = True
    request_id = peer.send(many(*KEYS))
    assert table.decode_reply(peer.answer(request_id).body) == peer.answer(request_id).reply
    assert not isinstance(peer.answer(request_id).reply, state.StateStoredMany)
    manual.journal.full = False
    reply = peer.ask(many(*KEYS))
    assert isinstance(reply, state.StateStoredMany)
    assert [each.version for each in reply.stored] == [2, 2, 2]


def test_many_keep_as_much_history_as_one(make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOT_PATH, Way.ON.value)
    manual = make_daemon(history__count=2)
    peer = manual.connect()
    for key in KEYS:
        peer.ask(put(key, 0))
    before = taken(manual)
    for _ in range(3):
        peer.ask(many(*KEYS))
    assert taken(manual) == before + 3
    versions = peer.ask(state.StateHistory(NAMESPACE, "k"))
    assert isinstance(versions, state.StateVersions)
    assert [each.version for each in versions.versions] == [4, 3]
