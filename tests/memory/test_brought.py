"""What commits bring of the memories they wrote is what would be read from the records, or is not brought."""

from __future__ import annotations

import pytest
from msgspec import Raw

from memory.harness import Store, finish
from recollectd.memory import commits
from recollectd.memory.memories import indexing
from recollectd.memory.memories.brought import Brought
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.heads import memory_key
from recollectd.protocol import table
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.fields import Message
from recollectd.protocol.messages.vector_spaces import MemoryVector, SpaceCreate, SpaceEmbed

NS = ("n",)
VECTOR = b"\0\0\x80?" * 4
OTHER = VECTOR[:8] + bytes(8)
ADD = messages.MemoryAdd(NS, (messages.NewMemory("tea", memory_id="a", vectors={"texts": VECTOR}),))


class Noted:
    """A store, and what its commits brought."""

    def __init__(self, bytes_max: int = 1 << 20) -> None:
        self.store = Store()
        self.brought = Brought(bytes_max)
        self.write(SpaceCreate(NS, "texts", 4))

    def write(self, request: Message) -> int:
        """Write, note the commit, return its number."""
        self.store.write(request)
        seq = self.store.position
        self.brought.note(seq, commits.decode(self.store.journal[seq - 1]).events)
        return seq

    def read(self, memory_id: str) -> Found:
        key = memory_key(NS, memory_id)
        (found,) = finish(indexing.all_found([key], vectors=True), self.store.engine).values()
        return found


def same(one: Found, other: Found) -> bool:
    bodies = [table.encode(each.subject.body) for each in (one, other)]
    heads = [each.subject.head for each in (one, other)]
    return (one.key, one.subject.memory_id, one.vectors) == (other.key, other.subject.memory_id, other.vectors) and (
        bodies[0] == bodies[1] and heads[0] == heads[1]
    )


def test_what_is_brought_is_what_would_be_read() -> None:
    noted = Noted()
    rich = messages.NewMemory(
        "said", memory_id="b", conversation_id="talk", valid_at=5, metadata=Raw(b"\x81\xa1n\x01"), pinned=True
    )
    seq = noted.write(messages.MemoryAdd(NS, (*ADD.memories, rich)))
    keys = [memory_key(NS, memory_id) for memory_id in ("a", "b", "absent")]
    brought = noted.brought.take(seq, keys)
    assert list(brought) == keys[:2]
    assert all(same(brought[memory_key(NS, memory_id)], noted.read(memory_id)) for memory_id in ("a", "b"))
    assert not noted.brought.take(seq, keys)


def test_the_newest_counts_and_only_up_to_what_is_told() -> None:
    noted, key = Noted(), memory_key(NS, "a")
    before = noted.write(ADD)
    after = noted.write(messages.MemoryReplace(NS, messages.NewMemory("cake", memory_id="a")))
    assert not noted.brought.take(before, [key])
    assert same(noted.brought.take(after, [key])[key], noted.read("a"))


@pytest.mark.parametrize(
    "otherwise",
    [
        messages.MemoryDelete(NS, "a"),
        messages.MemoryForget(NS, "a"),
        messages.MemoryReplace(NS, messages.NewMemory("tea", memory_id="a", pinned=True)),  # it keeps its vectors
        SpaceEmbed(NS, "texts", (MemoryVector("a", 1, OTHER),)),
    ],
    ids=["deleted", "forgotten", "vectors kept", "vector given later"],
)
def test_what_is_not_known_whole_is_not_brought(otherwise: Message) -> None:
    noted, key = Noted(), memory_key(NS, "a")
    noted.write(ADD)
    assert not noted.brought.take(noted.write(otherwise), [key])
    assert len(noted.brought) == 0


def test_it_keeps_to_its_memory() -> None:
    noted = Noted(5_000)
    many = tuple(messages.NewMemory("x" * 300, memory_id=f"m{number}") for number in range(20))
    seq = noted.write(messages.MemoryAdd(NS, many))
    keys = [memory_key(NS, each.memory_id or "") for each in many]
    kept = len(noted.brought)
    assert 2 <= kept <= 5
    assert len(noted.brought.take(seq, keys)) == kept
    assert len(noted.brought.take(noted.write(messages.MemoryReplace(NS, many[0])), keys)) == 1
