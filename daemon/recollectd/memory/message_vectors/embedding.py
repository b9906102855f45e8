"""Vectors given to messages that are there: how conversations move into another vector space.

A message is named by conversation, incarnation and position, where nothing ever changes. The vectors of a message are
one row, so giving it one more means to read the others first; the head tells when any were rewritten since.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

from msgspec import Raw

from recollectd.memory.conversations.events import ConversationHead
from recollectd.memory.conversations.events import decode_head as decode_conversation
from recollectd.memory.kind import Draft, Facts, Fetch, Rows, Stale, View, WriteOperation
from recollectd.memory.memories import spaces
from recollectd.memory.memories.checks import check_dimensions, check_vectors
from recollectd.memory.memories.embedding import Vectors, remaining
from recollectd.memory.memories.heads import StoredVector, beside, pack_vectors, unpack_vectors
from recollectd.memory.message_vectors import attaching, rows
from recollectd.memory.message_vectors.events import MessageVectorsHead
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import vector_spaces as messages
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family, message_vectors_key, path, record_key, row_key

_Place = tuple[bytes, int]  # the conversation's key, position


class _Prepared(NamedTuple):
    """What was read of a conversation: its incarnation and next position, and when vectors of it were rewritten."""

    incarnation: int
    next: int
    rewritten: int


_ABSENT: Final = _Prepared(0, 0, 0)


class EmbedMessages(WriteOperation[messages.SpaceEmbedMessages]):
    """Gives messages a vector each, in one space."""

    __slots__ = ("_as_of", "_beside", "_conversations", "_places", "_prepared")

    def __init__(self, request: messages.SpaceEmbedMessages) -> None:
        super().__init__(request)
        spaces.space_key(request.namespace, request.space, "space")
        if not 1 <= len(request.vectors) <= limits.EMBEDDED_MAX:
            raise errors.InvalidArgument(
                f"must be 1 to {limits.EMBEDDED_MAX} vectors, not {len(request.vectors)}", field="vectors"
            )
        self._places: list[_Place] = []
        for index, vector in enumerate(request.vectors):
            check_vectors({request.space: vector.components}, f"vectors[{index}]")
            field = f"vectors[{index}].conversation_id"
            key = record_key(Kind.CONVERSATION, request.namespace, vector.conversation_id, field)
            self._places.append((key, vector.position))
        if len(set(self._places)) < len(self._places):
            raise errors.InvalidArgument("a message is there twice", field="vectors")
        self._conversations = tuple(dict.fromkeys(key for key, _ in self._places))
        self.keys = (*self._conversations, *map(message_vectors_key, self._conversations))
        self._prepared: dict[bytes, _Prepared] = {}
        self._beside: dict[_Place, Vectors] = {}
        self._as_of = 0

    @property
    def prepares(self) -> bool:
        """It reads the vectors there are."""
        return True

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Read the vectors of spaces that are still there, and as of when they are."""
        self._as_of = view.position
        alive = spaces.living(view, self._conversations[0])
        vectors_keys = [message_vectors_key(key) for key in self._conversations]
        vectors_heads = yield from rows.heads_of(vectors_keys)
        conversations = yield Fetch(Family.HEADS, self._conversations)
        self._prepared = {}
        for key, vectors_key, row in zip(self._conversations, vectors_keys, conversations, strict=True):
            if row is not None:
                head, vectors = decode_conversation(row), vectors_heads.get(vectors_key)
                rewritten = 0 if vectors is None else vectors.rewritten
                self._prepared[key] = _Prepared(head.incarnation, head.next, rewritten)
        keys = [row_key(path(message_vectors_key(key)), position) for key, position in self._places]
        found = yield Fetch(Family.ENTRIES, keys)
        self._beside = {
            place: {} if row is None else remaining(unpack_vectors(row), alive)
            for place, row in zip(self._places, found, strict=True)
        }

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the heads of conversations, vectors and spaces, and the settings."""
        key = self._conversations[0]
        needed = spaces.needs(key, {self.request.space: b""}, facts)
        return (*(self.keys or ()), attaching.settings_key_of(key), *needed)

    def write(self, draft: Draft) -> messages.Embedded:
        """Write the vectors of messages that are there."""
        request, key = self.request, self._conversations[0]
        name, space = spaces.resolve_name(draft, key, request.space, "space")
        if draft.changed_since(beside(key, Kind.VECTOR_SPACE, b""), self._as_of):
            raise Stale  # what was found beside the messages may be of a space dropped meanwhile
        embedded: list[bool] = []
        written: dict[bytes, dict[int, Raw]] = {}
        for index, (place, vector) in enumerate(zip(self._places, request.vectors, strict=True)):
            check_dimensions(vector.components, space, f"vectors[{index}].components")
            is_there = self._is_there(draft, place, vector.incarnation)
            embedded.append(is_there)
            made = StoredVector(space.incarnation, vector.components)
            if is_there and self._beside[place].get(name) != made:
                written.setdefault(place[0], {})[place[1]] = self._together(place, name, made, index)
        for conversation, by_position in written.items():
            incarnation = self._prepared[conversation].incarnation
            attaching.attach(draft, conversation, incarnation, by_position, rewritten=True)
        return messages.Embedded(tuple(embedded))

    def _is_there(self, draft: Draft, place: _Place, incarnation: int) -> bool:
        """Tell whether a message is there, and was when its vectors were read. Raises Stale if those have changed."""
        key, position = place
        head: ConversationHead | None = draft.get(key)
        prepared = self._prepared.get(key, _ABSENT)
        if head is None or head.incarnation != incarnation or prepared.incarnation != incarnation:
            return False
        if not head.first <= position < prepared.next:
            return False
        vectors: MessageVectorsHead | None = draft.get(message_vectors_key(key))
        if (0 if vectors is None else vectors.rewritten) != prepared.rewritten:
            raise Stale
        return True

    def _together(self, place: _Place, name: str, vector: StoredVector, index: int) -> Raw:
        together = {**self._beside[place], name: vector}
        if len(together) > limits.VECTORS_PER_MEMORY_MAX:
            raise errors.InvalidArgument(
                f"the message has vectors in {limits.VECTORS_PER_MEMORY_MAX} spaces; drop one",
                field=f"vectors[{index}]",
            )
        return pack_vectors(together)
