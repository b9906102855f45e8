"""Adapters as one sees another's: each keeps texts in order under a name."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol

from agents import AgentsException, UserError
from google.adk.errors.input_validation_error import InputValidationError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.genai import types
from langchain_core.documents import Document
from langchain_core.exceptions import LangChainException
from langchain_core.messages import HumanMessage
from pydantic_ai.conversation import Conversation
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.exceptions import UserError as PydanticUserError
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolCallPart, UserPromptPart

from recollectd.adapters.google_adk import RecollectdSessionService
from recollectd.adapters.langchain import RecollectdChatMessageHistory, RecollectdDocumentIndex, RecollectdStore
from recollectd.adapters.openai_agents import RecollectdSession
from recollectd.adapters.pydantic_ai import RecollectdConversationStore
from recollectd.client import Client


class Subject(Protocol):
    """An adapter. refused: what bad input raises; failed: what a daemon that is away raises."""

    refused: type[Exception]
    failed: type[Exception]

    def __init__(self, client: Client) -> None: ...

    def add(self, name: str, text: str) -> None:
        """Keep a text behind the others of this name."""

    def texts(self, name: str) -> list[str]:
        """Return the texts of a name."""

    def spoil(self, name: str) -> None:
        """Try to keep what cannot be written."""


class OpenAIAgents:
    refused: type[Exception] = UserError
    failed: type[Exception] = AgentsException

    def __init__(self, client: Client) -> None:
        self.client = client

    def add(self, name: str, text: str) -> None:
        asyncio.run(RecollectdSession(name, self.client).add_items([{"role": "user", "content": text}]))

    def texts(self, name: str) -> list[str]:
        items: list[Any] = list(asyncio.run(RecollectdSession(name, self.client).get_items()))
        return [item["content"] for item in items]

    def spoil(self, name: str) -> None:
        items: list[Any] = [{"role": "user", "content": "fine"}, {"role": "user", "content": object()}]
        try:
            asyncio.run(RecollectdSession(name, self.client).add_items(items))
        except TypeError as error:  # as the framework's own sessions
            raise UserError(str(error)) from error


class GoogleAdk:
    refused: type[Exception] = InputValidationError
    failed: type[Exception] = ConnectionError

    def __init__(self, client: Client) -> None:
        self.service = RecollectdSessionService(client)

    async def _append(self, name: str, event: Event) -> None:
        where: dict[str, Any] = {"app_name": "app", "user_id": "ada", "session_id": name}
        session = await self.service.get_session(**where) or await self.service.create_session(**where)
        await self.service.append_event(session, event)

    def add(self, name: str, text: str) -> None:
        content = types.Content(role="user", parts=[types.Part(text=text)])
        delta = {"user:last": text, "last": text}
        asyncio.run(self._append(name, Event(author="user", content=content, actions=EventActions(state_delta=delta))))

    def texts(self, name: str) -> list[str]:
        session = asyncio.run(self.service.get_session(app_name="app", user_id="ada", session_id=name))
        found: list[str] = []
        for event in [] if session is None else session.events:
            assert event.content is not None
            assert event.content.parts is not None
            found.append(str(event.content.parts[0].text))
        return found

    def spoil(self, name: str) -> None:
        event = Event(author="user", actions=EventActions(state_delta={"app:fine": 1, "bad": object()}))
        asyncio.run(self._append(name, event))


class PydanticAI:
    refused: type[Exception] = PydanticUserError
    failed: type[Exception] = AgentRunError

    def __init__(self, client: Client) -> None:
        self.store = RecollectdConversationStore(client)

    async def _save(self, name: str, message: ModelRequest | ModelResponse) -> None:
        conversation = await self.store.load(name) or Conversation(conversation_id=name)
        conversation.messages.append(message)
        await self.store.save(conversation)

    def add(self, name: str, text: str) -> None:
        asyncio.run(self._save(name, ModelRequest(parts=[UserPromptPart(content=text)])))

    def texts(self, name: str) -> list[str]:
        conversation = asyncio.run(self.store.load(name))
        messages = [] if conversation is None else conversation.messages
        return [str(part.content) for message in messages for part in message.parts if isinstance(part, UserPromptPart)]

    def spoil(self, name: str) -> None:
        call = ToolCallPart(tool_name="tool", args={"bad": object()})
        asyncio.run(self._save(name, ModelResponse(parts=[call])))


class LangChainHistory:
    refused: type[Exception] = LangChainException
    failed: type[Exception] = LangChainException

    def __init__(self, client: Client) -> None:
        self.client = client

    def add(self, name: str, text: str) -> None:
        RecollectdChatMessageHistory(name, self.client).add_messages([HumanMessage(content=text)])

    def texts(self, name: str) -> list[str]:
        return [str(message.content) for message in RecollectdChatMessageHistory(name, self.client).messages]

    def spoil(self, name: str) -> None:
        bad = HumanMessage(content="bad", additional_kwargs={"bad": object()})
        RecollectdChatMessageHistory(name, self.client).add_messages([HumanMessage(content="fine"), bad])


class LangChainStore:
    refused: type[Exception] = LangChainException
    failed: type[Exception] = LangChainException

    def __init__(self, client: Client) -> None:
        self.store: RecollectdStore[Any] = RecollectdStore(client)

    def add(self, name: str, text: str) -> None:
        self.store.mset([(name, [*self.texts(name), text])])

    def texts(self, name: str) -> list[str]:
        (found,) = self.store.mget([name])
        return json.loads(json.dumps(found or []))  # type: ignore[no-any-return]

    def spoil(self, name: str) -> None:
        self.store.mset([(name, ["fine"]), (name + "2", ("a", "tuple"))])


class LangChainDocuments:
    refused: type[Exception] = LangChainException
    failed: type[Exception] = LangChainException

    def __init__(self, client: Client) -> None:
        self.index = RecollectdDocumentIndex(client=client)

    def add(self, name: str, text: str) -> None:
        lines = [*self.texts(name), text]
        self.index.upsert([Document(id=name, page_content="\n".join(lines), metadata={"lines": len(lines)})])

    def texts(self, name: str) -> list[str]:
        found = self.index.get([name])
        return found[0].page_content.splitlines() if found else []

    def spoil(self, name: str) -> None:
        bad = Document(id=name + "2", page_content="bad", metadata={"bad": object()})
        self.index.upsert([Document(id=name, page_content="fine"), bad])


SUBJECTS: dict[str, type[Subject]] = {
    "openai-agents": OpenAIAgents,
    "google-adk": GoogleAdk,
    "pydantic-ai": PydanticAI,
    "langchain-history": LangChainHistory,
    "langchain-store": LangChainStore,
    "langchain-documents": LangChainDocuments,
}
