"""Replies as the client reads them: by a decoder of their own types, values decoded in the same pass.

A message's declaration is that of the protocol; a reading of it differs in `value` alone, which holds what the daemon's
side leaves as bytes. A reply that its reading cannot take (a value that Python cannot hold, a message of another
request) is read by the decoder of all replies: who asked then finds out what is the matter with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any, Final, TypeAlias

import msgspec

from recollectd.protocol import table
from recollectd.protocol.messages import connection, state
from recollectd.protocol.messages.fields import Message, Reply

Decode: TypeAlias = Callable[[memoryview], Reply]
"""Decodes a message out of the receive buffer, and leaves nothing behind that refers to it."""


class StateRecord(state.StateRecord, frozen=True, tag=table.tag_of(state.StateRecord)):
    """A record with its value."""

    value: Any


class StateRecords(state.StateRecords, frozen=True, tag=table.tag_of(state.StateRecords)):
    """Records with their values."""

    records: tuple[StateRecord | None, ...]


class StatePage(state.StatePage, frozen=True, tag=table.tag_of(state.StatePage)):
    """Records with their values."""

    records: tuple[StateRecord, ...]


class StateValues(state.StateValues, frozen=True, tag=table.tag_of(state.StateValues)):
    """Values."""

    values: tuple[Any, ...]


_READINGS: Final[dict[type[Message], tuple[type[Reply], ...]]] = {
    state.StateGet: (StateRecord, state.Absent),
    state.StateGetMany: (StateRecords,),
    state.StateGetValues: (StateValues,),
    state.StateScan: (StatePage,),
    state.StatePut: (state.StateStored,),
    state.StatePutMany: (state.StateStoredMany,),
}

ANSWERS: Final[dict[type[Message], frozenset[type[Reply]]]] = {
    row.request: frozenset((*row.replies, *_READINGS.get(row.request, ()), connection.ErrorReply))
    for row in table.REQUESTS
}
"""The types that a reply to a request may have."""


def decode_any(body: memoryview) -> Reply:
    """Return any reply. Raises msgspec.DecodeError for what is none."""
    return table.decode_reply(bytes(body))  # values that stay encoded refer to what they were decoded from


def _decoder(replies: tuple[type[Reply], ...]) -> Decode:
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(reduce(or_, (*replies, connection.ErrorReply)))
    decode = decoder.decode

    def read(body: memoryview) -> Reply:
        try:
            reply: Reply = decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return decode_any(body)
        return reply

    return read


_DECODERS: Final[dict[type[Message], Decode]] = {request: _decoder(replies) for request, replies in _READINGS.items()}


def decoder_of(request: Message) -> Decode:
    """Return what decodes the replies to a request. It raises msgspec.DecodeError for what is no reply."""
    return _DECODERS.get(type(request), decode_any)
