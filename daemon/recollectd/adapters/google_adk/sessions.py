"""A session service of Google ADK: each change of a session, its user's and its app's state is one transaction."""

from __future__ import annotations

from threading import Lock
from typing import Any, Final, TypeVar

import msgspec
from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.input_validation_error import InputValidationError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.platform.time import get_time
from google.adk.platform.uuid import new_uuid
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig, ListSessionsResponse
from google.adk.sessions.session import Session
from pydantic_core import PydanticSerializationError

from recollectd.adapters.failures import translated
from recollectd.adapters.google_adk.layout import (
    APP_KEY,
    SESSIONS,
    Head,
    Scopes,
    StateMap,
    app_of,
    client_of,
    scopes_of,
    session_key,
    session_of,
    user_key,
    user_prefix,
)
from recollectd.adapters.newest import Rewritten, backwards
from recollectd.adapters.waiting import read, write
from recollectd.client import Client, Transaction
from recollectd.client.results import Record

T = TypeVar("T")
_LOCKS: Final = 64
_TRIES: Final = 10
_EVENTS_PER_PAGE: Final = 1_000


class RecollectdSessionService(BaseSessionService):
    """Sessions, users' state and apps' state, kept by a recollectd daemon.

        runner = Runner(agent=agent, app_name="app", session_service=RecollectdSessionService(client))

    Names that cannot be (an app's over 128 bytes of UTF-8, a user's and a session's over some 1,000 together, none at
    all) and state or events that are not JSON raise InputValidationError. A daemon that does not answer raises
    ConnectionError; a call that changes something may then have taken effect. An event that is appended again right
    after it was appended is not doubled. A session object that somebody else's append has left behind raises
    StaleSessionError.
    """

    def __init__(self, client: Client | None = None, *, uri: str | None = None, **options: Any) -> None:
        """Use a client, which stays the caller's to close, or the daemon at a Client's url.

        uri: for ADK's `services.yaml`; `recollectd+unix:///run/recollectd/recollectd.sock` or `recollectd+tcp://…`,
        of which the first part is left out. options: Client's; what ADK gives beside them is not used.
        """
        with translated(InputValidationError, ConnectionError):
            self._client = client_of(client, uri, options)
        self._owned = client is None
        self._locks = [Lock() for _ in range(_LOCKS)]

    async def create_session(
        self, *, app_name: str, user_id: str, state: StateMap | None = None, session_id: str | None = None
    ) -> Session:
        """Begin a session. Raises AlreadyExistsError."""
        with translated(InputValidationError, ConnectionError):
            app = self._app(app_name, user_id)
            scopes = scopes_of(state or {})
            head = Head(user_id, (session_id or "").strip() or new_uuid(), scopes.session, get_time(), 0)

            def create(transaction: Transaction) -> tuple[StateMap, StateMap]:
                key = session_key(user_id, head.id)
                if transaction.state.get(key) is not None:
                    raise AlreadyExistsError(f"Session with id {head.id} already exists.")
                transaction.state.put(key, head.stored())
                return _shared(transaction, user_id, scopes, always=True)

            shared = await write(app.transact, create)
        session = session_of(app_name, head, *shared)
        session._storage_update_marker = _marker(head)
        return session

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Return a session with its events, those that the configuration asks for; None if there is none."""
        with translated(InputValidationError, ConnectionError):
            return await read(self._get, app_name, user_id, session_id.strip(), config or GetSessionConfig())

    def _get(self, app_name: str, user_id: str, session_id: str, config: GetSessionConfig) -> Session | None:
        app = self._app(app_name, user_id)
        key = session_key(user_id, session_id)
        for _ in range(_TRIES):
            records = app.state.get_many([key, APP_KEY, user_key(user_id)])
            if key not in records:
                return None
            head = _head(records[key])
            session = session_of(app_name, head, _map(records.get(APP_KEY)), _map(records.get(user_key(user_id))))
            session._storage_update_marker = _marker(head)
            try:
                session.events = _events(app, key, head.events, config)
            except Rewritten:  # deleted, and perhaps begun anew, since the head was read
                continue
            return session
        raise ConnectionError(f"session {session_id!r} changes faster than it can be read, or its events were deleted")

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Return sessions without their events, of a user or of all, the one used last at the end."""
        with translated(InputValidationError, ConnectionError):
            return ListSessionsResponse(sessions=await read(self._list, app_name, user_id))

    def _list(self, app_name: str, user_id: str | None) -> list[Session]:
        app = self._app(app_name, user_id)
        prefix = SESSIONS if user_id is None else user_prefix(user_id)
        heads = [_head(record) for record in app.state.scan(prefix)]
        users = {head.user_id for head in heads}
        records = app.state.get_many([APP_KEY, *map(user_key, users)])
        sessions = [
            session_of(app_name, head, _map(records.get(APP_KEY)), _map(records.get(user_key(head.user_id))))
            for head in heads
        ]
        return sorted(sessions, key=lambda session: (session.last_update_time, session.user_id, session.id))

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session and its events; the user's and the app's state stay."""
        with translated(InputValidationError, ConnectionError):
            app = self._app(app_name, user_id)
            key = session_key(user_id, session_id.strip())

            def delete(transaction: Transaction) -> None:
                transaction.state.delete(key)
                transaction.logs.delete(key)

            await write(app.transact, delete)

    async def get_user_state(self, *, app_name: str, user_id: str) -> StateMap:
        """Return the state all sessions of a user share, keys without `user:`."""
        with translated(InputValidationError, ConnectionError):
            return _map(await read(self._app(app_name, user_id).state.get, user_key(user_id)))

    async def append_event(self, session: Session, event: Event) -> Event:
        """Append an event, and what it changes of the state, in one transaction.

        Raises SessionNotFoundError, StaleSessionError.
        """
        if event.partial:
            return event
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        try:
            packed = event.model_dump_json(exclude_none=True)
        except (PydanticSerializationError, ValueError) as error:
            raise InputValidationError(f"the event cannot be written as JSON: {error}") from error
        with translated(InputValidationError, ConnectionError):
            await write(self._append, session, event, packed, scopes_of(event.actions.state_delta))
        return event if session.events[-1:] == [event] else self._commit_event_to_session(session, event)

    def _append(self, session: Session, event: Event, packed: str, scopes: Scopes) -> None:
        """Store an event, unless it is the session's newest already: a call whose outcome was not known is repeated."""
        app = self._app(session.app_name, session.user_id)
        key = session_key(session.user_id, session.id)

        def append(transaction: Transaction) -> Head:
            head = _head(transaction.state.get(key), session.id)
            if event.id == head.last_event_id and _newest_event(app, key, head) == event:
                return head
            if _is_stale(session, head):
                raise StaleSessionError("The session was changed in storage since it was loaded: get it again.")
            after = msgspec.structs.replace(
                head,
                state=head.state | scopes.session,
                updated_at=event.timestamp,
                events=head.events + 1,
                last_event_id=event.id,
            )
            _shared(transaction, session.user_id, scopes)
            transaction.state.put(key, after.stored())
            transaction.logs.append(key, [packed], if_next=head.events)
            return after

        # Coroutines that share a session object would find each other's marker before it is set.
        with self._locks[hash((session.app_name, key)) % _LOCKS]:
            head = app.transact(append)
            session._storage_update_marker = _marker(head)
            session.last_update_time = head.updated_at

    def _app(self, app_name: str, user_id: str | None) -> Client:
        return app_of(self._client, app_name, user_id)

    async def close(self) -> None:
        """Close the client if it is the service's own."""
        if self._owned:
            self._client.close()


def _shared(
    transaction: Transaction, user_id: str, scopes: Scopes, *, always: bool = False
) -> tuple[StateMap, StateMap]:
    """Change the app's and the user's state, and return both; read only what is changed, unless `always`."""
    states: list[StateMap] = []
    for key, change in ((APP_KEY, scopes.app), (user_key(user_id), scopes.user)):
        state = _map(transaction.state.get(key)) if change or always else {}
        if change:
            state |= change
            transaction.state.put(key, state)
        states.append(state)
    return states[0], states[1]


def _events(app: Client, key: str, count: int, config: GetSessionConfig) -> list[Event]:
    """Return the events that the configuration asks for of the first `count` of a session."""
    wanted = count if config.num_recent_events is None else min(config.num_recent_events, count)
    found: list[Event] = []
    if wanted == 0:
        return found
    expected = count - 1
    for item in backwards(app.logs, key, before=count, page_items=min(wanted, _EVENTS_PER_PAGE)):
        if item.position != expected:
            break
        expected -= 1
        event = Event.model_validate_json(item.value)
        if config.after_timestamp is not None and event.timestamp < config.after_timestamp:
            return found[::-1]
        found.append(event)
        if len(found) == wanted:
            return found[::-1]
    raise Rewritten(key)


def _newest_event(app: Client, key: str, head: Head) -> Event | None:
    items = app.logs.read(key, before=head.events, limit=1).items
    return Event.model_validate_json(items[0].value) if items else None


def _head(record: Record | None, session_id: str = "") -> Head:
    if record is None:
        raise SessionNotFoundError(f"Session {session_id} not found.")
    return msgspec.convert(record.value, Head)


def _map(record: Record | None) -> StateMap:
    return {} if record is None else dict(record.value)


def _marker(head: Head) -> str:
    """Return what changes with every event: their number, and the newest one's id, in case a session begins anew."""
    return f"{head.events} {head.last_event_id}"


def _is_stale(session: Session, head: Head) -> bool:
    """Tell whether others have appended since the object was made; one that came from elsewhere has its time only."""
    marker = session._storage_update_marker
    return head.updated_at > session.last_update_time if marker is None else marker != _marker(head)
