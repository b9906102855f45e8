"""What calls return: frozen structures with times as ISO-8601 text in UTC (`2026-01-31T12:00:00.000000Z`).

`datetime.fromisoformat` reads the times and `msgspec.json.encode` writes the structures. Fields with a default are
left out of the JSON while they have it.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from msgspec import Struct

from recollectd.client.reading import StateRecord
from recollectd.client.times import Moment, iso_time, optional_iso_time


class Record:
    """A state record: `value` as it was put (arrays as lists), `version` counting from 1.

    Made by the client from what the daemon sent. Frozen like the other structures and written by msgspec like them; its
    times become text when they are asked for: many records are read for their values alone.
    """

    __slots__ = ("_stored",)
    __match_args__ = ("key", "value", "version", "created_at", "updated_at", "expires_at")
    # msgspec writes what has this as a map of these attributes.
    __dataclass_fields__: ClassVar[dict[str, Any]] = dict.fromkeys(__match_args__)

    def __init__(self, stored: StateRecord) -> None:
        self._stored = stored

    @property
    def key(self) -> str:
        """The record's key."""
        return self._stored.key

    @property
    def value(self) -> Any:
        """The value."""
        return self._stored.value

    @property
    def version(self) -> int:
        """The version."""
        return self._stored.version

    @property
    def created_at(self) -> str:
        """When the record was first written."""
        return iso_time(self._stored.created_at)

    @property
    def updated_at(self) -> str:
        """When this version was written."""
        return iso_time(self._stored.updated_at)

    @property
    def expires_at(self) -> str | None:
        """When the record will be gone; None: never."""
        return optional_iso_time(self._stored.expires_at)

    def _fields(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field) for field in self.__match_args__)

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, Record) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{field}={getattr(self, field)!r}' for field in self.__match_args__)})"


class Version(Struct, frozen=True):
    """One version of a state record; with `deleted` the record was absent from `updated_at` on."""

    version: int
    value: Any
    updated_at: str
    expires_at: str | None
    deleted: bool


class Page(Struct, frozen=True):
    """Some records of a scan; an empty `cursor` means that there are no more."""

    records: list[Record]
    cursor: bytes


class LogAppended(Struct, frozen=True):
    """Where appended items lie: at `first` to `next` - 1."""

    first: int
    next: int
    stored_at: str


class LogItem(Struct, frozen=True):
    """One item of a log."""

    position: int
    stored_at: str
    value: Any


class LogPage(Struct, frozen=True):
    """Some items of a log, and its bounds: positions `first` to `next` - 1 exist."""

    items: list[LogItem]
    first: int
    next: int


class LogInfo(Struct, frozen=True):
    """A log's bounds and times."""

    log_id: str
    first: int
    next: int
    created_at: str
    updated_at: str


class Conversation(Struct, frozen=True):
    """A conversation that was created."""

    conversation_id: str
    created_at: str


class NewMessage(Struct, frozen=True):
    """A message to append; without `message_id` the daemon gives one."""

    role: str
    content: str
    message_id: str | None = None
    valid_at: Moment | None = None
    metadata: dict[str, Any] | None = None
    vectors: dict[str, Any] | None = None


class StoredMessage(Struct, frozen=True, omit_defaults=True):
    """A message that was stored; `duplicate`: its id was known, and nothing was written."""

    message_id: str
    conversation_id: str
    role: str
    stored_at: str
    duplicate: bool = False


class Message(Struct, frozen=True, omit_defaults=True):
    """A message of a conversation; `timestamp` is when it was stored, `valid_at` when it was true, if given.

    vectors: by space, where they were asked for and there are any.
    """

    message_id: str
    role: str
    content: str
    timestamp: str
    valid_at: str | None = None
    metadata: dict[str, Any] | None = None
    vectors: dict[str, list[float]] | None = None


class History(Struct, frozen=True):
    """Messages of a conversation in order, and how many it has in all."""

    conversation_id: str
    messages: list[Message]
    total_messages: int


class ConversationInfo(Struct, frozen=True, omit_defaults=True):
    """A conversation's times and size."""

    conversation_id: str
    created_at: str
    last_used_at: str
    total_messages: int
    metadata: dict[str, Any] | None = None


class NewMemory(Struct, frozen=True, omit_defaults=True):
    """A memory to add; without `memory_id` the daemon gives one. See Memories.add."""

    text: str
    memory_id: str | None = None
    kind: str = ""
    metadata: dict[str, Any] | None = None
    importance: float | None = None
    pinned: bool = False
    valid_at: Moment | None = None
    place: tuple[float, float] | None = None
    derived_from: tuple[str, ...] = ()
    conversation_id: str | None = None
    vectors: dict[str, Any] | None = None
    ttl: float | None = None


class StoredMemory(Struct, frozen=True, omit_defaults=True):
    """A memory that was stored; `duplicate`: nothing was written, this memory says the same."""

    memory_id: str
    version: int
    created_at: str
    updated_at: str
    duplicate: bool = False


class Erasure(Struct, frozen=True, omit_defaults=True):
    """How erasing stands: what commits up to asked_seq deleted is to be erased, up to erased_seq it is.

    failure: why the last attempt did not succeed; the daemon tries again.
    """

    asked_seq: int
    erased_seq: int
    running: bool
    failure: str | None = None

    @property
    def done(self) -> bool:
        """Whether all that was asked for is erased."""
        return self.erased_seq >= self.asked_seq


class Memory(Struct, frozen=True, omit_defaults=True):
    """A memory, or a message of a conversation that a search found: that has a `role`, and `message` as its kind.

    position: its place in its conversation, from 0; vectors: by space, None where not asked for; access_count,
    last_accessed: how often it was found, where the namespace counts that (`configure_search`).
    """

    memory_id: str
    text: str
    version: int
    created_at: str
    updated_at: str
    kind: str = ""
    metadata: dict[str, Any] | None = None
    importance: float | None = None
    pinned: bool = False
    valid_at: str | None = None
    place: tuple[float, float] | None = None
    derived_from: tuple[str, ...] = ()
    conversation_id: str | None = None
    position: int = 0
    expires_at: str | None = None
    forgotten_at: str | None = None
    superseded_at: str | None = None
    superseded_by: str | None = None
    vectors: dict[str, list[float]] | None = None
    role: str = ""
    access_count: int = 0
    last_accessed: str | None = None


class MemoryPage(Struct, frozen=True):
    """Some memories of a walk; an empty `cursor` means that there are no more."""

    memories: list[Memory]
    cursor: bytes


class MemoryVersion(Struct, frozen=True):
    """One version of a memory, without vectors; with `memory` None it was absent from `updated_at` on."""

    version: int
    updated_at: str
    memory: NewMemory | None


class SearchSettings(Struct, frozen=True):
    """How a namespace is searched by words. indexing: something is being indexed anew, which searches wait for."""

    language: str
    stemming: bool
    stop_words: bool
    messages: bool
    indexing: bool
    accesses: bool = False


class ScoreDetail(Struct, frozen=True):
    """What one arm of a search said of a result: `keyword`, or a vector space.

    rank: its place there, from 1; raw: the arm's own score; normalised: between the worst (0) and the best (1) of those
    it looked at; weight: of the arm.
    """

    arm: str
    rank: int
    raw: float
    normalised: float
    weight: float


class ScoreDetails(Struct, frozen=True):
    """How a score came to be: the weighted mean of the arms' normalised scores plus `neighbours`, times the factors.

    reranker: the score of the caller's reranker, which the results are ordered by; first_score: that of the search.
    """

    arms: list[ScoreDetail]
    neighbours: float = 0.0
    speaker: float = 1.0
    recency: float = 1.0
    importance: float = 1.0
    access: float = 1.0
    turn: float = 1.0
    reranker: float | None = None
    first_score: float | None = None


class MemoryHit(Struct, frozen=True, omit_defaults=True):
    """A result of a search. With `explain`, also how its score came to be and where its text has words of the query."""

    memory: Memory
    score: float
    score_details: ScoreDetails | None = None
    highlights: list[tuple[int, int]] | None = None


class MemoryHits(Struct, frozen=True):
    """Results of a search, the best first; an empty `cursor` means that there are no more."""

    hits: list[MemoryHit]
    cursor: bytes


class MemoryRank(NamedTuple):
    """A result of `rank`: a memory's id and its score."""

    memory_id: str
    score: float


class MemoryContext(Struct, frozen=True):
    """Memories put together within a budget: one a line with its date, in the order of time."""

    text: str
    memory_ids: tuple[str, ...]
    tokens: int


class VectorSpace(Struct, frozen=True, omit_defaults=True):
    """A vector space, or with `alias_of` a name that stands for one."""

    name: str
    dimensions: int
    metric: str
    precision: str
    model: str
    created_at: str
    alias_of: str = ""


class Change(Struct, frozen=True):
    """One change a watch tells of.

    kind: `state`, `log`, `conversation`, `memory`, `vector_space` or `settings`; operation: put, delete, expire, touch,
    append, truncate, create, forget, remember, supersede, alias, drop or configure; version: a state record's or
    memory's version, a log's or conversation's next position; data: with `values=True` the state's value, or the list
    of appended items or messages.
    """

    position: int
    kind: str
    operation: str
    namespace: tuple[str, ...]
    key: str
    time: str
    version: int
    data: Any = None
