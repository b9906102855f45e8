"""Commits that are applied in one step: their rows come by record, and are those that each alone would have left."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import pytest

from recollectd.config.environment import HOT_PATH, Way
from recollectd.memory import commits
from recollectd.memory.commits import Commit
from recollectd.protocol import table
from recollectd.protocol.messages import conversations, logs, state, transactions
from recollectd.protocol.messages.connection import NamespaceConfigure
from recollectd.protocol.messages.fields import Write as WriteRequest
from recollectd.protocol.messages.state import StateItem
from recollectd.storage.keyspace import PUT, Family, Write
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, put, raw

NAMES = ("a", "a\0", "b", "c")
ROUNDS = 6
PLAIN = (logs.LogAppend, state.StatePut, state.StatePutMany, conversations.ConversationAppend)
KEPT = (None, 2, 0, 5)


class Played(NamedTuple):
    replies: list[bytes]
    journal: list[Commit]
    rows: dict[Family, list[tuple[bytes, bytes]]]


def plain(noise: random.Random) -> WriteRequest:
    """Return a write for the short way."""
    name, items = noise.choice(NAMES), tuple(raw(noise.randrange(100)) for _ in range(noise.randint(1, 3)))
    return noise.choice(
        (
            logs.LogAppend(NAMESPACE, name, items),
            put(name, noise.random()),
            conversations.ConversationAppend(
                NAMESPACE, name, (conversations.NewMessage("user", f"{noise.random()}"),) * noise.randint(1, 2)
            ),
            state.StatePutMany(NAMESPACE, tuple(StateItem(each, items[0]) for each in noise.sample(NAMES, 2))),
        )
    )


def other(noise: random.Random) -> WriteRequest:
    """Return a write that goes the ordinary way."""
    name, beside = noise.choice(NAMES), noise.choice(NAMES)
    expiring = put(name, noise.random(), ttl_us=noise.choice((1, 300_000, 1_000_000_000)))
    return noise.choice(
        (
            expiring,
            state.StateTouch(NAMESPACE, name, noise.choice((None, 100_000))),
            state.StateDelete(NAMESPACE, name),
            state.StateDeletePrefix(NAMESPACE, name[:1]),
            logs.LogTruncate(NAMESPACE, name, before=noise.randrange(20)),
            logs.LogPopLast(NAMESPACE, name, noise.randint(1, 3)),
            logs.LogCopy(NAMESPACE, name, NAMESPACE, beside),
            logs.LogDelete(NAMESPACE, name),
            conversations.ConversationDelete(NAMESPACE, name),
            conversations.ConversationCreate(NAMESPACE, name),
            transactions.Transaction((), (put(name, 1), logs.LogAppend(NAMESPACE, beside, (raw(1),)), expiring)),
            transactions.Batch((logs.LogTruncate(NAMESPACE, name, before=9), put(beside, 2))),
        )
    )


def connect(manual: ManualDaemon) -> Peer:
    """Return a client that has made the records known."""
    peer = manual.connect()
    for name in NAMES:
        peer.ask(logs.LogAppend(NAMESPACE, name, (raw(0),)))
        peer.ask(put(name, 0))
        peer.ask(conversations.ConversationCreate(NAMESPACE, name))
    return peer


def play(manual: ManualDaemon, pieces: Sequence[Sequence[WriteRequest]]) -> Played:
    """Send plain writes over one connection, others over a second.

    Those of a piece become durable together. Time passes after each piece.
    """
    peers = connect(manual), manual.connect()
    replies: list[bytes] = []
    for writes, kept in zip(pieces, cycle(KEPT), strict=False):
        peers[1].ask(NamespaceConfigure(NAMESPACE, kept, None))
        manual.journal.held = True
        asked = [(peer, peer.send(write)) for write in writes for peer in (peers[not isinstance(write, PLAIN)],)]
        manual.journal.held = False
        manual.journal.sync()
        manual.loop.settle()
        replies += [table.encode(peer.answer(request_id).reply) for peer, request_id in asked]
        manual.pass_time(0.4)
    families = (Family.HEADS, Family.VALUES, Family.ENTRIES, Family.INDEX)
    rows = {each: manual.engine.walk(each, b"\0", b"\xff", keys_max=100_000) for each in families}
    entries = [commits.decode(entry) for batch in manual.journal.batches for entry in batch.entries]
    return Played(replies, entries, rows)


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_those_of_the_ordinary_way(
    make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    noise = random.Random(seed)
    pieces = [
        [other(noise) if noise.random() < 0.2 else plain(noise) for _ in range(noise.choice((3, 40, 120)))]
        for _ in range(ROUNDS)
    ]
    monkeypatch.setattr("os.urandom", lambda count: b"\x5a" * count)
    played = []
    for way in Way.ON, Way.OFF:
        monkeypatch.setenv(HOT_PATH, way.value)
        manual = make_daemon()
        played.append(play(manual, pieces))
        taken = sum(manual.daemon.hot.writes.taken().values()) if manual.daemon.hot.writes is not None else 0
        assert (taken > 50) is (way is Way.ON)
    for ours, theirs in zip(*played, strict=True):
        assert ours == theirs


def test_of_many_writes_to_a_record_the_last_brings_the_head(
    make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOT_PATH, Way.ON.value)
    manual = make_daemon()
    steps: list[list[Write]] = []
    through = manual.engine.write

    def note(rows: Sequence[Write], applied_seq: int) -> None:
        steps.append(list(rows))
        through(rows, applied_seq)

    monkeypatch.setattr(manual.engine, "write", note)
    connect(manual).pipeline(*(logs.LogAppend(NAMESPACE, name, (raw(1),)) for name in NAMES[:2] * 50))
    longest = Counter((kind, family) for kind, family, _, _ in max(steps, key=len))
    assert longest == {(PUT, Family.HEADS): 2, (PUT, Family.ENTRIES): 100}
