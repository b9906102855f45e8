"""What searches find, compared with the records themselves: words by splitting texts, vectors by computing scores."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from bench.crash.memory_workload import WORDS
from bench.wire import AsyncConnection
from recollectd.protocol import errors
from recollectd.protocol.messages import conversations, memories, vector_spaces

Namespace = tuple[str, ...]
Scores = dict[str, float]
_RESULTS: Final = 500
_RESULTS_MAX: Final = 1_000  # of one search
_TOLERANCE: Final = 1e-5
_SITTING_US: Final = 6 * 3_600_000_000
_REACH: Final = 2


class Held(NamedTuple):
    """What a namespace holds that searches are about. conversations: by id; vectors: of messages, by conversation and
    position, then by space; spaces: with aliases; messages: whether they are searched."""

    namespace: Namespace
    memories: Sequence[memories.Memory]
    conversations: Mapping[str, Sequence[conversations.Message]]
    vectors: Mapping[tuple[str, int], Mapping[str, bytes]]
    spaces: Mapping[str, vector_spaces.Space]
    messages: bool


async def listed(connection: AsyncConnection, namespace: Namespace, limit: int) -> AsyncIterator[memories.Memory]:
    """Yield all memories, hidden ones too, with their vectors."""
    cursor = b""
    while True:
        page = await connection.call(memories.MemoryList(namespace, "", True, limit, cursor, True))
        assert isinstance(page, memories.MemoryPage)
        for memory in page.memories:
            yield memory
        if not (cursor := page.cursor):
            return


async def find(connection: AsyncConnection, held: Held) -> dict[str, Scores]:
    """Return what every search of a namespace finds, with the scores, by the search in words."""
    found: dict[str, Scores] = {}
    for word in WORDS:
        found[f"{word} among memories"] = await _search(connection, _asked(held, word))
        if held.messages:
            found[f"{word} among messages"] = await _search(connection, _asked(held, word, among="messages"))
    for name in held.spaces:
        if (space := _space_of(held, name)) is not None:
            ones = struct.pack(f"<{space.dimensions}f", *(1.0 for _ in range(space.dimensions)))
            found[f"vectors of {name}"] = await _search(connection, _asked(held, "", vectors={name: ones}))
            if held.messages:
                among = _asked(held, "", vectors={name: ones}, among="messages")
                found[f"vectors of {name} among messages"] = await _search(connection, among)
    return found


def check(held: Held, found: Mapping[str, Scores]) -> list[str]:
    """Return where an arm found something else than the records have."""
    trouble: list[str] = []
    for word in WORDS:
        wanted = {each.memory_id for each in held.memories if word in each.text.split()}
        trouble += _compare(held, f"{word} among memories", wanted, found)
        if held.messages:
            said = {
                f"{conversation_id}\0{position}"
                for conversation_id, messages in held.conversations.items()
                for position in _saying(messages, word)
            }
            trouble += _compare(held, f"{word} among messages", said, found)
    for name in held.spaces:
        if (space := _space_of(held, name)) is None:
            continue
        vectors = {
            each.memory_id: each.vectors[space.name]
            for each in held.memories
            if each.vectors and space.name in each.vectors
        }
        trouble += _compare_vectors(held, f"vectors of {name}", vectors, found)
        if held.messages:
            said_with = {
                f"{conversation_id}\0{position}": vectors[space.name]
                for (conversation_id, position), vectors in held.vectors.items()
                if space.name in vectors
            }
            trouble += _compare_vectors(held, f"vectors of {name} among messages", said_with, found)
    return trouble


def differences(before: Mapping[str, Scores], after: Mapping[str, Scores]) -> list[str]:
    """Return where the same searches found something else, or scored it otherwise."""
    return [
        f"search for {search} found {after.get(search)!r:.400}, before {before.get(search)!r:.400}"
        for search in {**before, **after}
        if not _same(before.get(search, {}), after.get(search, {}))
    ]


def _same(before: Scores, after: Scores) -> bool:
    if max(len(before), len(after)) >= _RESULTS_MAX:
        return len(before) == len(after)  # which of equal ones are the last is open
    return before.keys() == after.keys() and all(abs(before[key] - after[key]) <= _TOLERANCE for key in before)


def _asked(
    held: Held, text: str, *, vectors: dict[str, bytes] | None = None, among: str = "memories"
) -> memories.MemorySearch:
    """Return a search by one arm alone, with the arm's own scores."""
    return memories.MemorySearch(
        held.namespace,
        text,
        vectors,
        limit=_RESULTS,
        hidden=True,
        exact=True,
        neighbours=0.0,
        speaker=0.0,
        expansion=0.0,
        turns=0.0,
        among=among,
    )


async def _search(connection: AsyncConnection, request: memories.MemorySearch) -> Scores:
    """Search over all pages, waiting while the namespace is indexed anew."""
    found: Scores = {}
    while True:
        try:
            page = await connection.call(request)
        except errors.Busy as busy:
            await asyncio.sleep(busy.retry_after_ms / 1_000)
            continue
        assert isinstance(page, memories.MemoryResults), page
        for each in page.results:
            name = each.memory.memory_id
            if request.among == "messages":
                name = f"{each.memory.conversation_id}\0{each.memory.position}"
            assert name not in found, f"{request} found {name!r} twice"
            found[name] = each.score
        if not page.cursor:
            return found
        request = structs.replace(request, cursor=page.cursor)


def _space_of(held: Held, name: str) -> vector_spaces.Space | None:
    """Return the space that a name stands for, if it is there."""
    space = held.spaces.get(name)
    if space is not None and space.alias_of:
        space = held.spaces.get(space.alias_of)
    return None if space is None or space.alias_of else space


def _saying(messages: Sequence[conversations.Message], word: str) -> set[int]:
    """Return the positions of messages of a conversation that say a word, or were said beside one that does."""
    found: set[int] = set()
    for index, one in enumerate(messages):
        if word in one.content.split():
            near = messages[max(0, index - _REACH) : index + _REACH + 1]
            found |= {other.position for other in near if abs(_said_at(one) - _said_at(other)) <= _SITTING_US}
    return found


def _said_at(message: conversations.Message) -> int:
    return message.timestamp if message.valid_at is None else message.valid_at


def _cosine(components: bytes) -> float:
    """Return the cosine of a vector and the one of ones."""
    floats: tuple[float, ...] = struct.unpack(f"<{len(components) // 4}f", components)
    return sum(floats) / (math.hypot(*floats) * math.sqrt(len(floats)))


def _compare(held: Held, search: str, wanted: set[str], found: Mapping[str, Scores]) -> list[str]:
    answered = found[search].keys()
    same = answered == wanted if len(wanted) <= _RESULTS_MAX else len(answered) == _RESULTS_MAX and answered <= wanted
    if same:
        return []
    more, less = sorted(answered - wanted), sorted(wanted - answered)
    return [f"{held.namespace}, {search}: found {more!r:.300} that are not there, did not find {less!r:.300}"]


def _compare_vectors(held: Held, search: str, vectors: Mapping[str, bytes], found: Mapping[str, Scores]) -> list[str]:
    """Compare what a search by vectors found with the vectors that there are."""
    scores = found[search]
    return _compare(held, search, set(vectors), found) + [
        f"{held.namespace}, {search}: {name!r} has the score {scores[name]}, its record {_cosine(each)}"
        for name, each in vectors.items()
        if name in scores and not abs(scores[name] - _cosine(each)) <= _TOLERANCE
    ]
