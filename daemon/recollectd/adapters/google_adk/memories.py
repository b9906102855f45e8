"""A memory service of Google ADK: what was said in a user's sessions, found again by the words it shares with a query.

    log    memory/<n>/<user_id><session id>     the remembered events of a session, in order
    state  forgotten/<n>/<user_id><memory id>   what was deleted, and is not to be remembered again

both in the app's namespace; n: the characters of the user id. Do not change: what is stored would not be found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from recollectd.adapters.google_adk.layout import app_of, client_of
from recollectd.adapters.google_adk.words import Text, words_of
from recollectd.adapters.waiting import read, write
from recollectd.client import Client, Transaction
from recollectd.protocol import errors, limits

FOUND_MAX: Final = 10
_UNKNOWN_SESSION: Final = "__unknown_session_id__"
_LOGS_AT_ONCE: Final = 64


class Remembered(msgspec.Struct, frozen=True):
    """An event as it is remembered; content: as JSON. Fields are never renamed."""

    id: str
    author: str
    timestamp: float
    content: str


class RecollectdMemoryService(BaseMemoryService):
    """What was said in sessions, kept by a recollectd daemon, for the agent's later sessions with the same user.

        memories = RecollectdMemoryService(client)
        runner = Runner(agent=agent, app_name="app", session_service=sessions, memory_service=memories)

    A search returns the ten events that share the most words with the query, the newest first among equals; it reads
    all that is remembered of the user. An event is known by its id, remembered once in each session, and not again
    after it was deleted. Errors are those of RecollectdSessionService.
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
        self, app_name: str, user_id: str, session_id: str, events: Iterable[Event], *, anew: bool
    ) -> None:
        with translated(InputValidationError, ConnectionError):
            app = app_of(self._client, app_name, user_id)
            given = list(
                {event.id: _packed(event) for event in events if event.content and event.content.parts}.values()
            )
            name = _memories(user_id) + session_id

            def remember(transaction: Transaction) -> None:
                keys = {_forgotten(user_id) + each.id: each.id for each in given}
                gone = {keys[key] for key in transaction.state.get_many(keys)} if keys else set()
                wanted = [each for each in given if each.id not in gone]
                known = [_remembered(item.value) for item in transaction.logs.iterate(name)]
                if anew and known != wanted[: len(known)]:
                    transaction.logs.delete(name)
                    known = []
                ids = {each.id for each in known}
                new = [each for each in wanted if each.id not in ids]
                if new:
                    transaction.logs.append(name, new)

            await write(app.transact, remember)

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        """Return the events that answer a query best, at most ten."""
        with translated(InputValidationError, ConnectionError):
            return SearchMemoryResponse(memories=await read(self._search, app_name, user_id, query))

    def _search(self, app_name: str, user_id: str, query: str) -> list[MemoryEntry]:
        app = app_of(self._client, app_name, user_id)
        words = words_of(query)
        scored: list[tuple[int, float, types.Content, Remembered]] = []
        for event in _all(app, _memories(user_id)) if words else ():
            content = types.Content.model_validate_json(event.content)
            score = Text(" ".join(part.text for part in content.parts or () if part.text)).shared(words)
            if score:
                scored.append((score, event.timestamp, content, event))
        scored.sort(key=lambda found: found[:2], reverse=True)
        return [
            MemoryEntry(id=event.id, content=content, author=event.author, timestamp=_iso(event.timestamp))
            for _, _, content, event in scored[:FOUND_MAX]
        ]

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        """Delete an event from memory, for good: it is not remembered again."""
        if memory_id:
            with translated(InputValidationError, ConnectionError):
                await write(app_of(self._client, app_name, user_id).transact, _deletion(user_id, memory_id))

    async def close(self) -> None:
        """Close the client if it is the service's own."""
        if self._owned:
            self._client.close()


def _deletion(user_id: str, memory_id: str) -> Any:
    def delete(transaction: Transaction) -> None:
        for info in transaction.logs.list(_memories(user_id)):
            known = [_remembered(item.value) for item in transaction.logs.iterate(info.log_id, info.first)]
            kept = [each for each in known if each.id != memory_id]
            if len(kept) < len(known):
                transaction.logs.delete(info.log_id)
                if kept:
                    transaction.logs.append(info.log_id, kept)
                transaction.state.put(_forgotten(user_id) + memory_id, None)

    return delete


def _all(app: Client, prefix: str) -> Iterator[Remembered]:
    """Walk everything remembered below a prefix; many logs a round trip, for most are short."""
    names = [info.log_id for info in app.logs.list(prefix)]
    for start in range(0, len(names), _LOGS_AT_ONCE):
        asked = names[start : start + _LOGS_AT_ONCE]
        with app.pipeline() as pipeline:
            pages = [pipeline.logs.read(name, limit=limits.PAGE_ITEMS_MAX) for name in asked]
        for name, handle in zip(asked, pages, strict=True):
            page = handle.result()
            yield from (_remembered(item.value) for item in page.items)
            if page.items and page.items[-1].position + 1 < page.next:
                yield from (_remembered(item.value) for item in app.logs.iterate(name, page.items[-1].position + 1))


def _memories(user_id: str) -> str:
    return f"memory/{len(user_id)}/{user_id}"


def _forgotten(user_id: str) -> str:
    return f"forgotten/{len(user_id)}/{user_id}"


def _packed(event: Event) -> Remembered:
    assert event.content is not None
    try:
        content = event.content.model_dump_json(exclude_none=True)
    except (PydanticSerializationError, ValueError) as error:
        raise errors.InvalidArgument(f"cannot be written as JSON: {error}", field="content") from error
    return Remembered(event.id, event.author, event.timestamp, content)


def _once(given: list[Remembered]) -> list[Remembered]:
    """Return the first event of each id."""
    first: dict[str, Remembered] = {}
    for each in given:
        first.setdefault(each.id, each)
    return list(first.values())


def _remembered(stored: Any) -> Remembered:
    return msgspec.convert(stored, Remembered)


def _iso(timestamp: float) -> str:
    """Return a time as ADK's own services give it: in the machine's zone, without naming it."""
    return datetime.fromtimestamp(timestamp).isoformat()
