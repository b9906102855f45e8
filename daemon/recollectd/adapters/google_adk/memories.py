"""A memory service of Google ADK: what was said in a user's sessions, found again by the daemon's search.

    state   event/<n>/<event id>/<session>    a remembered event; n: the characters of its id; session: a hash of its id
    memory  of the same id                    the event's text, if it has any, for the search
    log     session/<session id>              the ids of the events remembered of a session
    state   forgotten/<event id>              what was deleted, and is not to be remembered again

in a namespace of its own for each user of an app. Do not change: what is stored would not be found again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from google.adk.errors.input_validation_error import InputValidationError
from google.adk.events.event import Event
from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.sessions.session import Session
from google.genai import types
from pydantic_core import PydanticSerializationError

from recollectd.adapters.failures import translated
from recollectd.adapters.google_adk.layout import client_of, memories_of
from recollectd.adapters.waiting import read, write
from recollectd.client import Client, NewMemory, Transaction
from recollectd.protocol import errors, limits

FOUND_MAX: Final = 10
EVENTS_AT_ONCE: Final = 1_000
_UNKNOWN_SESSION: Final = "__unknown_session_id__"
_TEXT_CHARACTERS_MAX: Final = limits.TEXT_BYTES_MAX // 4
_RECENCY_HALF_LIFE_S: Final = 10 * 366 * 86_400.0
"""So long that it decides between equals alone: the newest come first."""


class Remembered(msgspec.Struct, frozen=True):
    """An event as it is remembered; text: what it is found by; content: as JSON. Fields are never renamed."""

    id: str
    author: str
    timestamp: float
    content: str
    text: str

    def memory(self, key: str) -> NewMemory:
        """Return what the search is to know."""
        said_at = self.timestamp if 0 <= self.timestamp <= limits.TIME_US_MAX / 1_000_000 else None
        return NewMemory(self.text, key, valid_at=said_at)


class RecollectdMemoryService(BaseMemoryService):
    """What was said in sessions, kept by a recollectd daemon, for the agent's later sessions with the same user.

        memories = RecollectdMemoryService(client)
        runner = Runner(agent=agent, app_name="app", session_service=sessions, memory_service=memories)

    A search returns the ten events that answer the query best by its words, compared by their stems, rare ones counting
    more; of the best, the newest first among equals. An event is known by its id, remembered once in each session, and
    not again after it was deleted. A thousand events at a time are remembered together or not at all. Errors are those
    of RecollectdSessionService.
    """

    def __init__(self, client: Client | None = None, *, uri: str | None = None, **options: Any) -> None:
        """See RecollectdSessionService."""
        with translated(InputValidationError, ConnectionError):
            self._client = client_of(client, uri, options)
        self._owned = client is None

    async def add_session_to_memory(self, session: Session) -> None:
        """Remember a session's events instead of those remembered of it before."""
        await self._remember(session.app_name, session.user_id, session.id, session.events, anew=True)

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Remember events beside those remembered before. No metadata are used."""
        await self._remember(app_name, user_id, session_id or _UNKNOWN_SESSION, events, anew=False)

    async def _remember(
        self, app_name: str, user_id: str, session_id: str, events: Sequence[Event], *, anew: bool
    ) -> None:
        with translated(InputValidationError, ConnectionError):
            user = memories_of(self._client, app_name, user_id)
            name = f"session/{session_id}"
            given = {
                _key(event.id, session_id): _packed(event) for event in events if event.content and event.content.parts
            }
            if anew:
                kept = {each.id for each in given.values()}
                await write(user.transact, lambda transaction: _keep_only(transaction, name, session_id, kept))
            wanted = list(given.items())
            for start in range(0, len(wanted), EVENTS_AT_ONCE):
                some = dict(wanted[start : start + EVENTS_AT_ONCE])
                await write(user.transact, lambda transaction, some=some: _add(transaction, name, some, anew=anew))

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        """Return the events that answer a query best, at most ten."""
        with translated(InputValidationError, ConnectionError):
            return SearchMemoryResponse(memories=await read(self._search, app_name, user_id, query))

    def _search(self, app_name: str, user_id: str, query: str) -> list[MemoryEntry]:
        user = memories_of(self._client, app_name, user_id)
        if not query.strip():
            return []
        hits = user.memories.search(
            query, mode="keyword", limit=FOUND_MAX, recency_half_life=_RECENCY_HALF_LIFE_S, speaker=0.0
        ).hits
        found = user.state.get_many([hit.memory.memory_id for hit in hits]) if hits else {}
        events = [_remembered(found[hit.memory.memory_id].value) for hit in hits if hit.memory.memory_id in found]
        return [
            MemoryEntry(
                id=event.id,
                content=types.Content.model_validate_json(event.content),
                author=event.author,
                timestamp=_iso(event.timestamp),
            )
            for event in events
        ]

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        """Delete an event from memory, for good: it is not remembered again."""
        if memory_id:
            with translated(InputValidationError, ConnectionError):
                user = memories_of(self._client, app_name, user_id)
                await write(user.transact, lambda transaction: _forget(transaction, memory_id))

    async def close(self) -> None:
        """Close the client if it is the service's own."""
        if self._owned:
            self._client.close()


def _keep_only(transaction: Transaction, name: str, session_id: str, kept: set[str]) -> None:
    """Forget the events of a session that are not among those."""
    known: list[str] = [item.value for item in transaction.logs.iterate(name)]
    gone = [each for each in known if each not in kept]
    if not gone:
        return
    for each in gone:
        transaction.state.delete(_key(each, session_id))
        transaction.memories.delete(_key(each, session_id))
    transaction.logs.delete(name)
    if len(gone) < len(known):
        transaction.logs.append(name, [each for each in known if each in kept])


def _add(transaction: Transaction, name: str, events: dict[str, Remembered], *, anew: bool) -> None:
    """Remember events; anew: also those that are known, if they have changed."""
    gone = transaction.state.get_many([_forgotten(each.id) for each in events.values()])
    wanted = {key: each for key, each in events.items() if _forgotten(each.id) not in gone}
    if not wanted:
        return
    stored = transaction.state.get_many(wanted)
    known = {key: _remembered(record.value) for key, record in stored.items()}
    new = [key for key in wanted if key not in known]
    changed = [key for key, each in known.items() if anew and each != wanted[key]]
    for key in (*new, *changed):
        transaction.state.put(key, msgspec.to_builtins(wanted[key]))
    searched = [wanted[key].memory(key) for key in new if wanted[key].text]
    for key in changed:
        if known[key].text:
            transaction.memories.delete(key)
        if wanted[key].text:
            searched.append(wanted[key].memory(key))
    if searched:
        transaction.memories.add_many(searched)
    if new:
        transaction.logs.append(name, [wanted[key].id for key in new])


def _forget(transaction: Transaction, event_id: str) -> None:
    """Forget an event of all sessions; its id stays in their logs, where it is of no account."""
    keys = [record.key for record in transaction.state.scan(_prefix(event_id), values=False)]
    for key in keys:
        transaction.state.delete(key)
        transaction.memories.delete(key)
    if keys:
        transaction.state.put(_forgotten(event_id), None)


def _prefix(event_id: str) -> str:
    return f"event/{len(event_id)}/{event_id}/"


def _key(event_id: str, session_id: str) -> str:
    return _prefix(event_id) + hashlib.blake2b(session_id.encode(), digest_size=16).hexdigest()


def _forgotten(event_id: str) -> str:
    return f"forgotten/{event_id}"


def _packed(event: Event) -> Remembered:
    assert event.content is not None
    try:
        content = event.content.model_dump_json(exclude_none=True)
    except (PydanticSerializationError, ValueError) as error:
        raise errors.InvalidArgument(f"cannot be written as JSON: {error}", field="content") from error
    text = " ".join(part.text for part in event.content.parts or () if part.text)[:_TEXT_CHARACTERS_MAX]
    return Remembered(event.id, event.author, event.timestamp, content, text.strip() and text)


def _remembered(stored: Any) -> Remembered:
    return msgspec.convert(stored, Remembered)


def _iso(timestamp: float) -> str:
    """Return a time as ADK's own services give it: in the machine's zone, without naming it."""
    return datetime.fromtimestamp(timestamp).isoformat()
