"""Commits that are applied in one step: their rows come by record, and are those that each alone would have left."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from recollectd.config.environment import HOT_PATH, Way
from recollectd.protocol.messages import conversations, logs, state
from recollectd.protocol.messages.fields import Write as WriteRequest
from recollectd.protocol.messages.state import StateItem
from recollectd.storage.keyspace import PUT, Family, Write
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon
from support.wire import NAMESPACE, put, raw

NAMES = ("a", "a\0", "b", "c")
ROUNDS = 200


def one(noise: random.Random) -> WriteRequest:
    name, items = noise.choice(NAMES), tuple(raw(noise.randrange(100)) for _ in range(noise.randint(1, 3)))
    message = conversations.NewMessage("user", f"{noise.random()}")
    return noise.choice(
        (
            *(logs.LogAppend(NAMESPACE, name, items) for _ in range(4)),
            *(put(name, noise.random()) for _ in range(4)),
            *(conversations.ConversationAppend(NAMESPACE, name, (message,)) for _ in range(4)),
            state.StatePutMany(NAMESPACE, tuple(StateItem(each, items[0]) for each in NAMES[:2])),
            logs.LogTruncate(NAMESPACE, name, before=noise.randrange(20)),
            logs.LogDelete(NAMESPACE, name),
            state.StateDelete(NAMESPACE, name),
        )
    )


def play(manual: ManualDaemon, writes: Sequence[WriteRequest]) -> dict[Family, list[tuple[bytes, bytes]]]:
    """Send all in one piece, behind what makes their records known; return the rows they leave."""
    peer = manual.connect()
    for name in NAMES:
        peer.ask(logs.LogAppend(NAMESPACE, name, (raw(0),)))
        peer.ask(put(name, 0))
        peer.ask(conversations.ConversationCreate(NAMESPACE, name))
    for request_id in peer.pipeline(*writes):
        peer.answer(request_id)
    families = (Family.HEADS, Family.VALUES, Family.ENTRIES)
    return {each: manual.engine.walk(each, b"\0", b"\xff", keys_max=10_000) for each in families}


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_those_of_the_ordinary_way(
    make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    noise = random.Random(seed)
    writes = [one(noise) for _ in range(ROUNDS)]
    monkeypatch.setattr("os.urandom", lambda count: b"\x5a" * count)
    rows = []
    for way in Way.ON, Way.OFF:
        monkeypatch.setenv(HOT_PATH, way.value)
        rows.append(play(make_daemon(), writes))
    assert rows[0] == rows[1]


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
    play(manual, [logs.LogAppend(NAMESPACE, name, (raw(1),)) for name in NAMES[:2] * 50])
    longest = Counter((kind, family) for kind, family, _, _ in max(steps, key=len))
    assert longest == {(PUT, Family.HEADS): 2, (PUT, Family.ENTRIES): 100}
