"""What clients send: right requests, wrong ones and noise, as plain data that can be played to any daemon.

A script is a list of steps. Requests are drawn from few records, so that reads meet what was written; every message
of the protocol is among them.
"""

from __future__ import annotations

import random
from typing import Any, Final, NamedTuple

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from hot.spelling import spell
from recollectd.protocol import limits, table
from recollectd.protocol.messages import conversations, logs, state, transactions
from recollectd.protocol.messages.fields import Message, Write
from support.message_examples import REQUESTS, raw

PEERS: Final = 3
_SHOWN_BYTES: Final = 200

_NAMESPACES: Final = (*(("a",),) * 24, ("a", "b"), ("ab",), ("é" * 64, "b"), ("l" * 128,) * 16, ("l" * 129,), ())
_KEYS: Final = (*("k", "l", "m") * 9, "é世", "n" * 31, "o" * 32, "p" * 256, "q" * 1_024, "r" * 1_025, "", "\0", "*")
_VALUES: Final = (
    None,
    0,
    -1,
    2**64 - 1,
    "v",
    b"\0" * 200,
    [1, {"a": None}],
    "w" * 3_000,
    b"x" * 70_000,
    b"y" * 300_000,
)
_NUMBERS: Final = (0, 1, 2, 3, 10, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
_ODD: Final[tuple[object, ...]] = (
    *_NUMBERS,
    None,
    True,
    False,
    -1,
    0.0,
    1.5,
    "",
    "user",
    "x" * 1_025,
    b"",
    [],
    ["a"],
    {},
    {"a": 1},
)
_LIMITS: Final = (1, 2, 3, 10, 64, 65, limits.PAGE_ITEMS_DEFAULT, limits.PAGE_ITEMS_MAX)
_TTLS: Final = (None, None, 1, 1_000_000, 3_000_000, limits.TTL_US_MAX)


class Frame(NamedTuple):
    """One frame. number: of a write, "next" or how many writes back the one is that this repeats, or an exact one.

    after: added to the newest position the client has heard of; None: 0. claim: the length it announces, if it lies.
    """

    body: bytes
    write: bool
    number: int | str = "next"
    after: int | None = None
    deadline_ms: int = 0
    flags: int = 0
    zero: int = 0
    claim: int | None = None

    @property
    def is_far(self) -> bool:
        """Whether it takes the session's numbers so far ahead that all before are given up."""
        return self.write and self.number == "far"

    def __repr__(self) -> str:
        body = self.body if len(self.body) <= _SHOWN_BYTES else f"<{len(self.body)} bytes>"
        return f"Frame({body!r}, {', '.join(map(repr, self[1:]))})"


class Feed(NamedTuple):
    """Frames of one client, arriving in pieces cut at these places (modulo their bytes)."""

    peer: int
    frames: list[Frame]
    cuts: list[int]


class Happens(NamedTuple):
    """Something else happens: see `worlds.World`."""

    what: str
    amount: float = 0.0


Step = Feed | Happens

_namespaces = st.sampled_from(_NAMESPACES)
_keys = st.sampled_from(_KEYS)
_values = st.sampled_from(_VALUES).map(raw)
_numbers = st.sampled_from(_NUMBERS)
_limits = st.sampled_from(_LIMITS)
_ttls = st.sampled_from(_TTLS)
_maybe = st.one_of(st.none(), _numbers)
_roles = st.sampled_from(("user", "assistant"))
_metadata = st.one_of(st.none(), st.just(raw({"m": 1})))
_message_ids = st.one_of(st.none(), st.sampled_from(("i", "j", "h")))

_vectors = st.sampled_from((None, None, None, {}, {"s": b"\0\0\x80\x3f"}))

_new_messages = st.lists(
    st.builds(
        conversations.NewMessage,
        _roles,
        st.sampled_from(("c", "d" * 40, "é" * 3_000)),
        _message_ids,
        _maybe,
        _metadata,
        _vectors,
    ),
    min_size=1,
    max_size=9,
).map(tuple)
_items = st.lists(_values, min_size=1, max_size=9).map(tuple)
_key_lists = st.one_of(
    st.lists(_keys, min_size=1, max_size=20).map(tuple), st.sampled_from((("k",) * 17, ("k", "l") * 40, ()))
)
_puts = st.builds(state.StatePut, _namespaces, _keys, _values, _ttls, st.booleans())

# Those that the native route serves, or will; they are drawn more often than their share.
HOT: Final[tuple[SearchStrategy[Message], ...]] = (
    st.builds(state.StateGet, _namespaces, _keys),
    st.builds(state.StateGetMany, _namespaces, _key_lists),
    st.builds(state.StateGetValues, _namespaces, _key_lists),
    st.builds(logs.LogRead, _namespaces, _keys, last=_limits, limit=_limits),
    st.builds(conversations.ConversationHistory, _namespaces, _keys, last=_limits, limit=_limits),
    _puts,
    st.builds(
        state.StatePutMany,
        _namespaces,
        st.lists(st.builds(state.StateItem, _keys, _values), min_size=1, max_size=9).map(tuple),
        _ttls,
        st.booleans(),
    ),
    st.builds(
        state.StatePutMany,
        st.just(("a",)),
        st.lists(st.sampled_from(("k", "l", "m")), min_size=1, max_size=3, unique=True).flatmap(
            lambda keys: st.tuples(*(st.builds(state.StateItem, st.just(key), _values) for key in keys))
        ),
    ),
    st.builds(logs.LogAppend, _namespaces, _keys, _items),
    st.builds(conversations.ConversationAppend, _namespaces, _keys, _new_messages, st.booleans()),
)

_OTHERS: Final[tuple[SearchStrategy[Message], ...]] = (
    st.builds(state.StateGet, _namespaces, _keys, _maybe, _maybe),
    st.builds(state.StatePut, _namespaces, _keys, _values, _ttls, st.booleans(), _maybe, st.booleans()),
    st.builds(state.StateDelete, _namespaces, _keys),
    st.builds(state.StateTouch, _namespaces, _keys, _ttls),
    st.builds(state.StateScan, _namespaces, values=st.booleans(), limit=_limits),
    st.builds(state.StateDeletePrefix, _namespaces, st.sampled_from(("", "k"))),
    st.builds(logs.LogRead, _namespaces, _keys, start=_maybe, limit=_limits),
    st.builds(logs.LogPopLast, _namespaces, _keys, _limits),
    st.builds(logs.LogTruncate, _namespaces, _keys, _maybe, _maybe),
    st.builds(logs.LogCopy, _namespaces, _keys, _namespaces, _keys),
    st.builds(logs.LogDelete, _namespaces, _keys),
    st.builds(conversations.ConversationCreate, _namespaces, st.one_of(st.none(), _keys), _metadata),
    st.builds(conversations.ConversationDelete, _namespaces, _keys),
    st.builds(transactions.Transaction, st.just(()), st.lists(_puts, min_size=1, max_size=3).map(tuple)),
    st.builds(transactions.Watch, _namespaces, st.just(""), st.just(()), st.sampled_from((None, 0, 3)), st.booleans()),
    st.sampled_from(REQUESTS),
)

# Many records at once: more than a small cache holds, and frames that do not come in one piece.
_CROWDS: Final = tuple(tuple(f"{crowd} {index}" for index in range(300)) for crowd in range(4))
_crowds: Final[tuple[SearchStrategy[Message], ...]] = (
    st.sampled_from(
        [state.StatePutMany(("a",), tuple(state.StateItem(key, raw("w" * 3_000)) for key in keys)) for keys in _CROWDS]
    ),
    st.sampled_from([read(("a",), keys) for keys in _CROWDS for read in (state.StateGetMany, state.StateGetValues)]),
)

_messages = st.one_of(*HOT, *HOT, *_OTHERS, *_crowds)


@st.composite
def _altered(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A message with some fields set to something else, left out or added, in any spelling."""
    message = draw(_messages)
    fields: list[Any] = msgspec.msgpack.decode(table.encode(message))
    for _ in range(draw(st.integers(0, 2))):
        fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(_ODD))
    if draw(st.booleans()):
        del fields[draw(st.integers(1, len(fields))) :]
    fields += draw(st.lists(st.sampled_from(_ODD), max_size=2))
    noise = random.Random(draw(st.integers(0, 2**32)))
    return spell(fields, noise, draw(st.sampled_from((0.0, 0.3, 1.0)))), isinstance(message, Write)


@st.composite
def _broken(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A message cut off, lengthened, with bytes turned over or put in, or nothing but noise."""
    body, write = draw(st.one_of(_plain, _altered()))
    at = draw(st.integers(0, len(body)))
    noise = draw(st.one_of(st.binary(max_size=6), st.sampled_from((b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"))))
    how = draw(st.integers(0, 3))
    if how == 0:
        return body[:at], write
    if how == 1:
        return body + noise, write
    if how == 2:
        return body[:at] + noise + body[at:], write
    return body[:at] + noise + body[at + len(noise) :], write


_plain = _messages.map(lambda message: (table.encode(message), isinstance(message, Write)))
_hot = st.one_of(*HOT).map(lambda message: (table.encode(message), isinstance(message, Write)))
_bodies = st.one_of(_hot, _hot, _plain, _plain, _altered(), _broken())


@st.composite
def _frames(draw: st.DrawFn) -> Frame:
    body, write = draw(_bodies)
    if draw(st.integers(0, 3)):
        return Frame(body, write)
    numbers = st.one_of(st.just("next"), st.integers(1, 6), st.sampled_from(("zero", "far", "huge")))
    return Frame(
        body,
        write,
        draw(numbers),
        draw(st.sampled_from((None, 0, 0, 0, 2**40))),
        draw(st.sampled_from((0, 0, 1, 500, limits.DEADLINE_MS_MAX, limits.DEADLINE_MS_MAX + 1, 2**32 - 1))),
        draw(st.sampled_from((0, 1, 1, 2, 255))),
        draw(st.sampled_from((0,) * 60 + (1,))),
        draw(st.sampled_from((None,) * 200 + (0, 27, limits.FRAME_BYTES_MAX, 2**32 - 1))),
    )


_feeds = st.builds(
    Feed,
    st.integers(0, PEERS - 1),
    st.lists(_frames(), min_size=6, max_size=40),
    st.lists(st.integers(0, 2**20), max_size=6),
)
_events = st.one_of(
    st.builds(Happens, st.just("time"), st.sampled_from((0.000_001, 0.3, 1.0, 4.0, 61.0))),
    st.sampled_from([Happens(what) for what in ("forget", "hold", "write", "sync", "sync", "hang up")]),
)

# What there is before: conversations must be created before messages can be appended.
_BEFORE: Final = Feed(
    0, [Frame(table.encode(conversations.ConversationCreate(("a",), key)), True) for key in ("k", "l", "m")], []
)

scripts = st.lists(st.one_of(_feeds, _feeds, _feeds, _events), min_size=8, max_size=25).map(
    lambda steps: [_BEFORE, *steps]
)
