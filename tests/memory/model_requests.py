"""Random requests: few names, so that they meet."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from memory.asking import raw
from memory.harness import SECOND, START
from memory.model import DAY, Namespace
from recollectd.protocol.messages import connection, conversations, logs, state

NAMESPACES: Final[list[Namespace]] = [
    ("acme", "a"),
    ("acme", "a"),
    ("acme", "a", "b"),
    ("acme", "ab"),
    ("acme",),
    ("x",),
]
KEYS: Final = ["a", "a", "a\0", "a:1", "b", "é"]
SESSION: Final = START.to_bytes(8, "big") + b"sessions"

ns = st.sampled_from(NAMESPACES)
key = st.sampled_from(KEYS)
value = st.one_of(st.integers(0, 9), st.binary(max_size=3), st.none()).map(raw)
ttl = st.sampled_from([None, None, 1, 10, SECOND, 10 * SECOND, 2 * DAY])
version = st.one_of(st.none(), st.none(), st.integers(0, 4))
position = st.one_of(st.none(), st.integers(0, 8))
message_id = st.sampled_from([None, None, "m", "m\0", "n", "0000000001-0123456789ab"])
messages = st.builds(
    lambda *fields: conversations.NewMessage(*fields),
    st.sampled_from(["user", "assistant"]),
    st.sampled_from(["Hello", "x"]),
    message_id,
    st.sampled_from([None, START]),
    st.sampled_from([None, raw({"n": 1})]),
)


@st.composite
def puts(draw: st.DrawFn) -> state.StatePut:
    ttl_us = draw(ttl)
    if_absent = draw(st.sampled_from([False, False, False, True]))
    if_version = None if if_absent else draw(version)
    sliding = ttl_us is not None and draw(st.booleans())
    return state.StatePut(draw(ns), draw(key), draw(value), ttl_us, sliding, if_version, if_absent)


items = st.dictionaries(key, value, min_size=1, max_size=3).map(
    lambda chosen: tuple(state.StateItem(each, chosen[each]) for each in chosen)
)
truncates = st.builds(
    lambda where, log_id, bounds: logs.LogTruncate(where, log_id, min(bounds), max(bounds)),
    ns,
    key,
    st.tuples(st.integers(0, 8), st.integers(0, 8)),
)
appended = st.lists(value, min_size=1, max_size=4).map(tuple)
said = st.lists(messages, min_size=1, max_size=3).map(tuple)
operations = st.one_of(
    puts(),
    puts(),
    st.builds(state.StatePutMany, ns, items, ttl),
    st.builds(state.StateDelete, ns, key, version),
    st.builds(state.StateTouch, ns, key, ttl),
    st.builds(logs.LogAppend, ns, key, appended, st.none() | st.integers(0, 4)),
    truncates,
    st.builds(logs.LogTruncate, ns, key, st.integers(0, 8), st.none()),
    st.builds(logs.LogTruncate, ns, key, st.none(), st.integers(0, 8)),
    st.builds(logs.LogDelete, ns, key),
    st.builds(conversations.ConversationCreate, ns, st.none() | key, st.sampled_from([None, raw({"topic": "x"})])),
    st.builds(conversations.ConversationAppend, ns, key, said, st.booleans()),
    st.builds(conversations.ConversationAppend, ns, key, said, st.just(True)),
    st.builds(conversations.ConversationDelete, ns, key),
    st.builds(connection.NamespaceConfigure, ns, st.none() | st.integers(1, 3), st.sampled_from([None, 5 * SECOND])),
)
alone = st.one_of(
    st.builds(logs.LogPopLast, ns, key, st.integers(1, 3)),
    st.builds(logs.LogCopy, ns, key, ns, key),
    st.builds(state.StateDeletePrefix, ns, st.sampled_from(["", "a", "a:"])),
)
steps = st.sampled_from([0, 1, 5, 10, SECOND, 7 * SECOND, DAY + 1])
