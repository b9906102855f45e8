"""A chat history of LangChain: a log for each session, an item for each message."""

from __future__ import annotations

import json
from collections.abc import Sequence

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.exceptions import LangChainException
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from recollectd.adapters.langchain.common import in_their_terms, place
from recollectd.adapters.newest import newest
from recollectd.adapters.texts import json_text
from recollectd.client import Client, arguments


class RecollectdChatMessageHistory(BaseChatMessageHistory):
    """The messages of one session, kept by a recollectd daemon.

        chain = RunnableWithMessageHistory(chain, lambda session_id: RecollectdChatMessageHistory(session_id, client))

    Messages are added all or none, once, however often the connection was lost. A session id that cannot be, messages
    that are not JSON, and a daemon that does not answer raise LangChainException.
    """

    def __init__(self, session_id: str, client: Client, name: str = "history") -> None:
        """Use a client, which stays the caller's to close. name: of these histories among others."""
        super().__init__()
        with in_their_terms():
            self.session_id = arguments.name(session_id, "session_id")
        self._client = place(client, "history", name)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # theirs is an attribute or a property
        """All messages in order."""
        return self.newest()

    def newest(self, count: int | None = None) -> list[BaseMessage]:
        """Return the newest messages in order, so many or all."""
        with in_their_terms():
            found = newest(self._client.logs, self.session_id, count)
        return messages_from_dict([json.loads(item.value) for item in found])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages behind the others."""
        packed = [_packed(message) for message in messages]
        if packed:
            with in_their_terms():
                self._client.logs.append(self.session_id, packed)

    def clear(self) -> None:
        """Delete all messages."""
        with in_their_terms():
            self._client.logs.delete(self.session_id)


def _packed(message: BaseMessage) -> str:
    try:
        return json_text(message_to_dict(message))
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        raise LangChainException(f"a message cannot be written as JSON: {error}") from error
