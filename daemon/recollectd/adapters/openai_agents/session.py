"""A session of the OpenAI Agents SDK: one log for each session, one item of it for each item of the conversation."""

from __future__ import annotations

import json
from typing import Any, Final, Self, cast

from agents import AgentsException, SessionSettings, TResponseInputItem, UserError
from agents.memory import SessionABC
from agents.memory.session_settings import coerce_session_settings, resolve_session_limit

from recollectd.adapters.failures import translated
from recollectd.adapters.newest import newest
from recollectd.adapters.texts import json_text
from recollectd.adapters.waiting import read, write
from recollectd.client import Client, arguments
from recollectd.client.results import LogItem

LABEL: Final = "openai-agents"
"""The label below the client's namespace under which sessions lie. Do not change: they would not be found again."""


class RecollectdSession(SessionABC):
    """A conversation's items, kept by a recollectd daemon.

        with Client() as client:
            session = RecollectdSession("user-123", client)
            result = await Runner.run(agent, "Hello", session=session)

    Items are added all or none, once, however often the connection was lost. Sessions of the same id, in any number of
    processes and event loops, are one. Arguments that cannot be (an id over 1,024 bytes of UTF-8, more than 8,192 items
    or 24 MiB at once) raise UserError, items that are not JSON TypeError or ValueError, and a daemon that does not
    answer AgentsException; with the last, a call that adds, pops or clears may have taken effect.
    """

    def __init__(
        self,
        session_id: str,
        client: Client,
        *,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        """Use a client, which stays the caller's to close."""
        with translated(UserError, AgentsException):
            self.session_id = arguments.name(session_id, "session_id")
            self._client = client.with_namespace(*client.namespace, LABEL)
        self.session_settings = (
            SessionSettings() if session_settings is None else coerce_session_settings(session_settings)
        )
        self._owned = False
        self._closed = False

    @classmethod
    def from_url(
        cls,
        session_id: str,
        url: str | None = None,
        *,
        session_settings: SessionSettings | dict[str, Any] | None = None,
        **options: Any,
    ) -> Self:
        """Return a session with a client of its own, which `close` closes. url and options are Client's."""
        with translated(UserError, AgentsException):
            client = Client(url, **options)
        session = cls(session_id, client, session_settings=session_settings)
        session._owned = True
        return session

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items in order: the newest `limit`, or as many as the settings say, or all.

        A negative limit is none, as with the framework's own sessions.
        """
        self._check_open()
        count = resolve_session_limit(limit, self.session_settings)
        with translated(UserError, AgentsException):
            found = await read(newest, self._client.logs, self.session_id, None if (count or 0) < 0 else count)
        return [_unpacked(item) for item in found]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items behind the others, all or none."""
        self._check_open()
        if not items:
            return
        packed = [json_text(item) for item in items]
        with translated(UserError, AgentsException):
            await write(self._client.logs.append, self.session_id, packed)

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the newest item off and return it, None if there is none."""
        self._check_open()
        with translated(UserError, AgentsException):
            taken = await write(self._client.logs.pop_last, self.session_id)
        return _unpacked(taken[0]) if taken else None

    async def clear_session(self) -> None:
        """Delete all items."""
        self._check_open()
        with translated(UserError, AgentsException):
            await write(self._client.logs.delete, self.session_id)

    async def ping(self) -> bool:
        """Tell whether the daemon answers."""
        self._check_open()
        try:
            with translated(UserError, AgentsException):
                await read(self._client.ping)
        except AgentsException:
            return False
        return True

    def close(self) -> None:
        """End the session's use, and its client if it is its own; what is stored stays."""
        self._closed = True
        if self._owned:
            self._client.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"{type(self).__name__} is closed")


def _unpacked(item: LogItem) -> TResponseInputItem:
    """Return an item; what others have written into the log may be a map as well as its JSON text."""
    try:
        found = json.loads(item.value) if isinstance(item.value, str) else item.value
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AgentsException(f"what lies at position {item.position} of the session's log is no item")
    return cast("TResponseInputItem", found)
