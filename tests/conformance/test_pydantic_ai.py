"""Random lives of conversations, in ours and in Pydantic AI's store in memory: what is seen and refused is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import example, given, settings
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationStore, InMemoryConversationStore
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import BinaryContent, ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.usage import RunUsage

from recollectd.adapters.pydantic_ai import RecollectdConversationStore
from recollectd.client import Client
from recollectd.testing import Daemon

IDS: Final = ("a", "c/b", "r/*\0é")
SCOPES: Final = (None, "x", "x/", "xy")
Step = tuple[Any, ...]

ids = st.sampled_from(IDS)
scopes = st.sampled_from(SCOPES)
few = st.integers(0, 6)
limits = st.none() | few
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("add"), ids, st.integers(0, 3), scopes),
    st.tuples(st.just("add_to_window"), ids, st.integers(0, 3), few),
    st.tuples(st.just("rewrite"), ids, few, st.integers(1, 2)),
    st.tuples(st.just("save_stale"), ids),
    st.tuples(st.just("branch"), ids, st.integers(0, 6), scopes),
    st.tuples(st.just("branch_back"), ids, few, few),
    st.tuples(st.just("fork"), ids, ids, st.none() | st.integers(0, 6), scopes),
    st.tuples(st.just("fork_from_branch"), ids, ids, few, few),
    st.tuples(st.just("load"), ids, limits, scopes),
    st.tuples(st.just("list"), scopes, limits),
    st.tuples(st.just("delete"), ids, scopes),
)

A, B, C = IDS
# Without these most lives would be of conversations that are not there.
BEGINNINGS: Final[tuple[list[Step], ...]] = (
    [],
    [("add", A, 3, "x"), ("branch", A, 1, None), ("add", A, 2, None)],
    [("add", A, 3, "x"), ("fork", A, B, 2, None), ("add", B, 2, None)],
    [
        ("add", A, 2, None),
        ("fork", A, B, None, "xy"),
        ("add", B, 3, None),
        ("fork", B, C, 3, None),
        ("add", C, 2, None),
    ],
    [("add", B, 3, None), ("rewrite", B, 1, 2), ("fork_from_branch", B, A, 1, 2), ("add", A, 1, None)],
)
lives = st.builds(
    lambda beginning, life: [*beginning, *life], st.sampled_from(BEGINNINGS), st.lists(steps, min_size=2, max_size=12)
)


class Life:
    """Steps on one store. Entry ids are the store's own, so steps name entries by where they lie."""

    def __init__(self, store: ConversationStore) -> None:
        self.store = store
        self.count = 0

    def new(self, number: int) -> list[ModelMessage]:
        made: list[ModelMessage] = []
        for _ in range(number):
            self.count += 1
            if self.count % 2:
                file = BinaryContent(data=bytes([self.count % 256, 255]), media_type="application/pdf")
                made.append(ModelRequest(parts=[UserPromptPart(content=[f"question {self.count}", file])]))
            else:
                made.append(ModelResponse(parts=[TextPart(content=f"answer {self.count} 😊")]))
        return made

    async def add(self, name: str, number: int, scope: str | None) -> Any:
        conversation = await self.store.load(name) or Conversation(conversation_id=name)
        conversation.messages.extend(self.new(number))
        conversation.usage = conversation.usage + RunUsage(requests=1)
        return len(await self.store.save(conversation, scope=scope))

    async def add_to_window(self, name: str, number: int, limit: int) -> Any:
        conversation = await self.store.load(name, limit=limit)
        if conversation is None:
            return None
        conversation.messages.extend(self.new(number))
        return len(await self.store.save(conversation))

    async def rewrite(self, name: str, keep: int, number: int) -> Any:
        loaded = await self.store.load(name)
        if loaded is None:
            return None
        messages = [*loaded.messages[:keep], *self.new(number)]
        conversation = Conversation(conversation_id=name, messages=messages, revision=loaded.revision)
        return len(await self.store.save(conversation))

    async def save_stale(self, name: str) -> Any:
        conversation = await self.store.load(name)
        if conversation is None:
            return None
        await self.add(name, 1, None)
        conversation.messages.extend(self.new(1))
        return await self.store.save(conversation)

    async def branch(self, name: str, at: int, scope: str | None) -> Any:
        record = await self.store.read_record(name)
        revision = "none" if record is None else record.revision
        return texts(await self.store.branch(name, at=at, expected_revision=revision, scope=scope))

    async def _entry(self, name: str, which: int, index: int) -> str:
        record = await self.store.read_record(name)
        tips = [] if record is None else [record.head_id, *record.branches]
        line = await self.store.read_history(tips[which % len(tips)]) if tips else []
        return line[index % len(line)].id if line else "none"

    async def branch_back(self, name: str, which: int, index: int) -> Any:
        entry = await self._entry(name, which, index)
        record = await self.store.read_record(name)
        revision = "none" if record is None else record.revision
        return texts(await self.store.branch(name, from_entry=entry, expected_revision=revision))

    async def fork(self, name: str, new: str, at: int | None, scope: str | None) -> Any:
        return texts(await self.store.fork(name, at=at, new_conversation_id=new, scope=scope))

    async def fork_from_branch(self, name: str, new: str, which: int, index: int) -> Any:
        entry = await self._entry(name, which, index)
        return texts(await self.store.fork(name, from_entry=entry, new_conversation_id=new))

    async def load(self, name: str, limit: int | None, scope: str | None) -> Any:
        conversation = await self.store.load(name, limit=limit, scope=scope)
        return None if conversation is None else (texts(conversation), conversation.usage)

    async def list(self, scope: str | None, limit: int | None) -> Any:
        records = await self.store.list_conversations(scope=scope, limit=limit)
        return [(each.conversation_id, each.scope, each.forked_from, len(each.branches)) for each in records]

    async def delete(self, name: str, scope: str | None) -> Any:
        return await self.store.delete(name, scope=scope)

    async def everything(self) -> Any:
        found: list[Any] = [await self.list(None, None)]
        for name in IDS:
            record = await self.store.read_record(name)
            for tip in [] if record is None else [record.head_id, *record.branches]:
                found.append([text_of(entry.message) for entry in await self.store.read_history(tip)])
        return found


def text_of(message: ModelMessage) -> Any:
    return [getattr(part, "content", None) for part in message.parts]


def texts(conversation: Conversation) -> list[Any]:
    return [text_of(message) for message in conversation.messages]


async def outcome(step: Callable[..., Awaitable[Any]], arguments: Step) -> Any:
    try:
        return await step(*arguments)
    except UserError as error:  # ConversationConflict is one
        return type(error)


async def live(client: Client, life: list[Step]) -> None:
    theirs, ours = Life(InMemoryConversationStore()), Life(RecollectdConversationStore(client))
    for name, *arguments in life:
        expected = await outcome(getattr(theirs, name), tuple(arguments))
        assert await outcome(getattr(ours, name), tuple(arguments)) == expected, name
        assert await ours.everything() == await theirs.everything(), name
    for name in IDS:
        await ours.store.delete(name)
    assert list(client.with_namespace(*client.namespace, "pydantic-ai").state.scan()) == []
    assert list(client.with_namespace(*client.namespace, "pydantic-ai").logs.list()) == []


def test_random_lives_are_the_same(daemon: Daemon) -> None:
    """In the end, all conversations deleted, nothing is left of them."""
    numbers = count()

    # One fork's entries are needed by two ways, both of which end with it.
    @example(
        [
            *(("add", "a", 2, None), ("fork", "a", "c/b", None, "xy"), ("add", "c/b", 3, None)),
            *(("fork", "c/b", "r/*\0é", 3, None), ("add", "r/*\0é", 2, None), ("branch_back", "r/*\0é", 4, 0)),
            *(("fork_from_branch", "r/*\0é", "r/*\0é", 2, 0), ("rewrite", "r/*\0é", 2, 2)),
            *(("branch", "c/b", 1, None), ("rewrite", "r/*\0é", 6, 2)),
        ]
    )
    @settings(max_examples=60)
    @given(lives)
    def run(life: list[Step]) -> None:
        with daemon.client(namespace=("conformance", "pydantic-ai", str(next(numbers)))) as client:
            asyncio.run(live(client, life))

    run()
