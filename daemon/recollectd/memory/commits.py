"""Commits: what one journal entry holds. A commit is one atomic unit: its events become visible together.

Do not change the order of fields or the tags of events: they are in the journal.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, Final, get_type_hints

import msgspec

from recollectd.memory import conversations, logs, memories, message_vectors, settings, state
from recollectd.memory.kind import Apply, Description, Event, Follow, KindSpec
from recollectd.protocol import table

KINDS: Final[tuple[KindSpec, ...]] = (
    *(state.KIND, logs.KIND, conversations.KIND, message_vectors.KIND),
    *memories.KINDS,
    *settings.KINDS,
)


class SessionsForgotten(Event, frozen=True, tag=80):
    """Sessions without a write for longer than the retention were forgotten; `key` is empty."""

    session_ids: tuple[bytes, ...]

    @property
    def alters(self) -> bool:
        """No record changes."""
        return False


APPLY: Final[dict[type[Event], Apply]] = {
    event: functions[0] for kind in KINDS for event, functions in kind.events.items()
}
DESCRIBE: Final[dict[type[Event], Any]] = {
    event: functions[1] for kind in KINDS for event, functions in kind.events.items()
}
FOLLOWS: Final[dict[type[Event], Follow]] = {event: follow for kind in KINDS for event, follow in kind.follows.items()}
_EVENT_TYPES: Final[tuple[type[Event], ...]] = (*APPLY, SessionsForgotten)
assert len({table.tag_of(event) for event in _EVENT_TYPES}) == len(_EVENT_TYPES), "two events share a tag"


class Commit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One commit.

    time: journal time in microseconds; principal: who asked; operation: the request's tag, 0 for the daemon's own;
    session_id, number, floor, digest, reply: for exactly once (see sessions.py), empty for the daemon's own.
    A refusal that depends on what is stored is a commit too: without events, its reply an ErrorReply.
    """

    time: int
    principal: str
    operation: int
    session_id: bytes
    number: int
    floor: int
    digest: int
    reply: bytes
    events: tuple[Event, ...]


# The same with its events as a union made from the kinds' tables, for decoding.
_Stored: Final = msgspec.defstruct(
    "_Stored",
    [
        *((name, kind) for name, kind in get_type_hints(Commit).items() if name != "events"),
        ("events", tuple[reduce(or_, _EVENT_TYPES), ...]),  # type: ignore[misc]
    ],
    array_like=True,
    frozen=True,
    gc=False,
)
_DECODE: Final = msgspec.msgpack.Decoder(_Stored).decode


def decode(payload: bytes) -> Commit:
    """Return the commit in a journal entry. Raises msgspec.DecodeError for what is none."""
    return Commit(*msgspec.structs.astuple(_DECODE(payload)))


encode: Final = table.encode


def describe(event: Event) -> Description:
    """Say in plain words what an event did."""
    describer = DESCRIBE.get(type(event))
    description: Description = describer(event) if describer else Description("forget sessions", 0)
    return description
