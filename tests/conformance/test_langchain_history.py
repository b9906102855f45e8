"""Random lives of a chat history, in ours and in LangChain's history in memory: what is read is the same."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any, Final

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from recollectd.adapters.langchain import RecollectdChatMessageHistory
from recollectd.testing import Daemon

# LangChain announces the end of its interface for histories, in a version to come.
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")

texts = st.text(st.characters(), max_size=20) | st.just("half an emoji: \ud83d")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
maps = st.dictionaries(texts, json_values, max_size=2)
messages: st.SearchStrategy[BaseMessage] = st.one_of(
    st.builds(HumanMessage, content=texts, name=st.none() | texts, additional_kwargs=maps),
    st.builds(SystemMessage, content=texts),
    st.builds(ToolMessage, content=texts, tool_call_id=texts, artifact=json_values),
    st.builds(ChatMessage, content=texts, role=texts),
    st.builds(
        lambda text, arguments, metadata: AIMessage(
            content=[{"type": "text", "text": text}],
            tool_calls=[{"name": "tool", "args": arguments, "id": "1"}],
            response_metadata=metadata,
        ),
        *(texts, maps, maps),
    ),
)
Step = tuple[str, Any]
NOTHING: Final = st.none()
steps: st.SearchStrategy[Step] = st.one_of(
    *(st.tuples(st.just(name), st.lists(messages, max_size=3)) for name in ("add_messages", "aadd_messages")),
    *(st.tuples(st.just(name), texts) for name in ("add_user_message", "add_ai_message")),
    *(st.tuples(st.just(name), NOTHING) for name in ("clear", "aclear", "messages", "aget_messages")),
)


def take(history: BaseChatMessageHistory, name: str, argument: Any) -> Any:
    if name == "messages":
        return list(history.messages)
    method = getattr(history, name)
    done = method() if argument is None else method(argument)
    return list(asyncio.run(done) or ()) if asyncio.iscoroutine(done) else done


def test_random_lives_are_the_same(daemon: Daemon) -> None:
    numbers = count()

    @settings(max_examples=60)
    @given(st.lists(steps, min_size=1, max_size=8))
    def run(life: list[Step]) -> None:
        theirs = InMemoryChatMessageHistory()
        with daemon.client(namespace=("conformance", "langchain-history")) as client:
            ours = RecollectdChatMessageHistory(f"session {next(numbers)}", client)
            for name, argument in life:
                assert take(ours, name, argument) == take(theirs, name, argument), name
                assert ours.messages == theirs.messages, name
            assert str(ours) == str(theirs)
            assert ours.newest(2) == theirs.messages[-2:]

    run()
