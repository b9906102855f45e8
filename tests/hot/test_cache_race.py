"""A cold read that is overtaken: what it found is old by the time it is delivered, and must not be kept.

The read runs on its worker before a write of the same record, from another connection, is applied; what it found is
held back until after. The reader may get what it found; whoever reads then gets what was written.
"""

from __future__ import annotations

import pytest

from recollectd.config.environment import HOT_PATH, Way
from recollectd.protocol.messages import conversations, logs, state
from recollectd.protocol.messages.fields import Message, Write
from server.conftest import MakeDaemon
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, get, put, raw

LOG = "l"
MESSAGE = conversations.NewMessage("user", "Hello")

READS: tuple[Message, ...] = (
    get("k"),
    state.StateGetMany(NAMESPACE, ("k", "other")),
    state.StateGetValues(NAMESPACE, ("k", "other")),
    logs.LogRead(NAMESPACE, LOG, last=10),
    conversations.ConversationHistory(NAMESPACE, "c", last=10),
)
BEFORE: tuple[Write, ...] = (
    put("k", 0),
    logs.LogAppend(NAMESPACE, LOG, (raw(0), raw(1))),
    conversations.ConversationCreate(NAMESPACE, "c"),
    conversations.ConversationAppend(NAMESPACE, "c", (MESSAGE,)),
)
CHANGES: tuple[tuple[Write, ...], ...] = (
    (
        put("k", 1),
        logs.LogAppend(NAMESPACE, LOG, (raw(2),)),
        conversations.ConversationAppend(NAMESPACE, "c", (MESSAGE,)),
    ),
    (
        state.StateDelete(NAMESPACE, "k"),
        logs.LogTruncate(NAMESPACE, LOG, after=1),
        conversations.ConversationDelete(NAMESPACE, "c"),
    ),
    (state.StateTouch(NAMESPACE, "k", 1_000_000), logs.LogPopLast(NAMESPACE, LOG), put("other", 1)),
    (put("k", 2, ttl_us=1_000_000), logs.LogDelete(NAMESPACE, LOG), put("other", 2)),
)


@pytest.fixture(params=[Way.CACHE, Way.ON], ids=str)
def manual(make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ManualDaemon:
    monkeypatch.setenv(HOT_PATH, request.param.value)
    return make_daemon()


def bodies(peer: Peer) -> list[bytes]:
    return [peer.answer(peer.send(read)).body for read in READS]


@pytest.mark.parametrize("changes", CHANGES, ids=["written", "removed", "altered", "replaced"])
@pytest.mark.parametrize("there", [True, False], ids=["there", "absent"])
def test_a_reader_delayed_past_an_apply_does_not_fill(
    manual: ManualDaemon, changes: tuple[Write, ...], there: bool
) -> None:
    reader, writer = manual.connect(), manual.connect()
    for request in BEFORE if there else ():
        writer.ask(request)
    manual.forget_values()
    manual.loop.held = []
    for read in READS:
        reader.send(read)
    assert len(manual.loop.held) == len(READS), "what they found is on its way"
    late, manual.loop.held = manual.loop.held, None
    for change in changes:
        writer.ask(change)
    manual.forget_values()  # what apply has put in, so that only a late fill can be there
    for callback, arguments in late:
        manual.loop.call_soon(callback, *arguments)
    manual.loop.settle()
    assert len(reader.replies) == 1 + len(READS)
    cached = bodies(reader)
    manual.forget_values()
    assert cached == bodies(reader)


def test_a_reader_that_is_not_overtaken_fills(manual: ManualDaemon) -> None:
    """Or the test above would hold for a cache that keeps nothing."""
    peer = manual.connect()
    for request in BEFORE:
        peer.ask(request)
    manual.forget_values()
    first, jobs = bodies(peer), manual.daemon._reads.jobs
    assert bodies(peer) == first
    assert manual.daemon._reads.jobs == jobs, "the second time no thread was asked"
