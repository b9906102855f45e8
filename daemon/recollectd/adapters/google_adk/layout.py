"""Where sessions of Google ADK lie: a namespace for each app, in it keys for its state, its users and their sessions.

    app                          the state all users of the app share
    user/<user_id>               the state all sessions of a user share
    session/<n>/<user_id><id>    a session's own state, times and number of events; n: the characters of the user id
    session/<n>/<user_id><id>    and the log of this name: its events as JSON, in order

What is remembered of a user lies below, in `memory` and a label of the user: `=` and the id, or `#` and its hash.

Do not change: what is stored would not be found again. The number keeps ("a", "bc") and ("ab", "c") apart.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from google.adk.errors.input_validation_error import InputValidationError
from google.adk.sessions.session import Session
from google.adk.sessions.state import State
from msgspec import Struct, to_builtins
from pydantic_core import PydanticSerializationError, to_jsonable_python

from recollectd.client import Client, arguments
from recollectd.protocol import limits

LABEL: Final = "google-adk"
APP_KEY: Final = "app"
USERS: Final = "user/"
SESSIONS: Final = "session/"

StateMap = dict[str, Any]


def client_of(client: Client | None, uri: str | None, options: dict[str, Any]) -> Client:
    """Return the client given, or one of the daemon at a URI as ADK gives it, with Client's options."""
    # Where ADK looks for agents it tells every service.
    options = {option: value for option, value in options.items() if option != "agents_dir"}
    return Client(None if uri is None else uri.removeprefix("recollectd+"), **options) if client is None else client


def app_of(client: Client, app_name: str, user_id: str | None) -> Client:
    """Return a view of a client on an app's namespace. Raises InvalidArgument, also for a user that cannot be."""
    arguments.name(app_name, "app_name", limits.LABEL_BYTES_MAX)
    if user_id is not None:
        arguments.name(user_id, "user_id")
    return client.with_namespace(*client.namespace, LABEL, app_name)


def memories_of(client: Client, app_name: str, user_id: str) -> Client:
    """Return a view of a client on what is remembered of an app's user. Raises InvalidArgument."""
    app = app_of(client, app_name, user_id)
    whole = f"={user_id}"
    short = len(whole.encode()) <= limits.LABEL_BYTES_MAX
    label = whole if short else "#" + hashlib.blake2b(user_id.encode(), digest_size=32).hexdigest()
    return app.with_namespace(*app.namespace, "memory", label)


class Head(Struct, frozen=True):
    """What is stored of a session beside its events. Fields are never renamed."""

    user_id: str
    id: str
    state: StateMap
    updated_at: float
    events: int
    last_event_id: str = ""

    def stored(self) -> dict[str, Any]:
        """Return it as a state record's value."""
        return to_builtins(self)  # type: ignore[no-any-return]


def user_key(user_id: str) -> str:
    """Return the key of a user's state."""
    return USERS + user_id


def user_prefix(user_id: str) -> str:
    """Return what all session keys of a user begin with, and no other's."""
    return f"{SESSIONS}{len(user_id)}/{user_id}"


def session_key(user_id: str, session_id: str) -> str:
    """Return the key of a session, which is the name of its log, too."""
    return user_prefix(user_id) + session_id


class Scopes(Struct, frozen=True):
    """A change of state by whom it is for; keys without their prefixes."""

    app: StateMap
    user: StateMap
    session: StateMap


def scopes_of(state: StateMap) -> Scopes:
    """Split state by the prefixes of its keys; what is temporary is left out.

    Raises InputValidationError for what is not JSON, InvalidArgument for what a daemon cannot keep.
    """
    scopes = Scopes({}, {}, {})
    for key, content in state.items():
        if not isinstance(key, str):
            raise InputValidationError(f"state: a key must be text, not {type(key).__name__}")
        if key.startswith(State.TEMP_PREFIX):
            continue
        if key.startswith(State.APP_PREFIX):
            scopes.app[key.removeprefix(State.APP_PREFIX)] = _json(key, content)
        elif key.startswith(State.USER_PREFIX):
            scopes.user[key.removeprefix(State.USER_PREFIX)] = _json(key, content)
        else:
            scopes.session[key] = _json(key, content)
    return scopes


def _json(key: str, content: object) -> Any:
    try:
        plain = to_jsonable_python(content)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise InputValidationError(f"state[{key!r}]: cannot be written as JSON: {error}") from error
    arguments.packed(plain, f"state[{key!r}]")
    return plain


def merged(app: StateMap, user: StateMap, session: StateMap) -> StateMap:
    """Return the state that agents see."""
    return (
        session
        | {State.APP_PREFIX + key: content for key, content in app.items()}
        | {State.USER_PREFIX + key: content for key, content in user.items()}
    )


def session_of(app_name: str, head: Head, app: StateMap, user: StateMap) -> Session:
    """Return a session without its events."""
    return Session(
        id=head.id,
        app_name=app_name,
        user_id=head.user_id,
        state=merged(app, user, head.state),
        last_update_time=head.updated_at,
    )
