"""What a kind of record is made of.

A kind declares, in its own package:

- its head, the small row by which a record is found, and its events;
- for each event a function `apply(event, commit, writes)`: it turns the event into rows without reading anything, so
  that the same events give the same rows at run time, after a crash, on a replica and in a restore;
- for each request that changes something a `WriteOperation`, run by the sequencer;
- for each request that reads a `ReadOperation`, run on a worker thread;
- what the value cache learns of its events and of its reads.

A new kind of record is a new package and a line in `recollectd.memory.commits`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from recollectd.protocol.messages.fields import Kind, Reply, Request
from recollectd.protocol.messages.fields import Write as WriteRequest
from recollectd.storage.keyspace import Family, Write

if TYPE_CHECKING:
    from recollectd._native.hot_reads import HotReads
    from recollectd._native.value_cache import ValueCache
    from recollectd.memory.memories.views import MemoryViews
    from recollectd.memory.settings.events import HistoryPolicy

NEVER: Final = 0  # "no expiry", in heads and events


class Head(Struct, frozen=True, array_like=True, gc=False):
    """Base of heads. Fields are only ever appended, with a default: heads are on disk."""


class Event(Struct, frozen=True, array_like=True, gc=False):
    """Base of events. Tags and fields are in the journal: tags are never given twice, fields only appended."""

    key: bytes

    @property
    def alters(self) -> bool:
        """Whether a reader of a range could see the change: what guards look for."""
        return True


class Mark(NamedTuple):
    """The commit an event belongs to: its sequence number and its time in microseconds."""

    seq: int
    time: int


# A fact is a row the sequencer decides by: a head, or a row of the message-id index. Its key says which.
Fact = object


class Facts(Protocol):
    """What the sequencer knows of the rows a write needs: committed ones, under those sequenced but not yet applied."""

    def knows(self, key: bytes) -> bool:
        """Return whether the row's state (present or absent) is at hand."""

    def get(self, key: bytes) -> Any:
        """Return the row at hand, decoded, or None where there is none."""


class Draft(Facts, Protocol):
    """One commit in the making: reads what is sequenced so far, its own changes first; nothing leaves it if refused."""

    seq: int
    time: int

    def put(self, key: bytes, fact: Fact | None) -> None:
        """Say what the row will be once this commit is applied."""

    def withdraw(self, prefix: bytes) -> None:
        """Say that the rows below a prefix that this commit has put will not be there."""

    def emit(self, event: Event) -> None:
        """Add an event to the commit."""

    def changed_since(self, prefix: bytes, position: int) -> bool:
        """Return whether anything in the kind and namespace of this prefix may have changed behind a position."""

    def history_policy(self, key: bytes) -> HistoryPolicy:
        """Return how much history the state record of this key keeps."""

    def draw_id(self) -> str:
        """Return a fresh id: 28 hexadecimal digits, the first 16 ordered by time."""

    shard_labels: int

    def savepoint(self) -> object:
        """Return where the draft stands, for `restore`."""

    def restore(self, savepoint: object) -> None:
        """Undo everything since the savepoint."""


class Fetch(NamedTuple):
    """What a read asks the executor for: rows by key. Fetches of reads that run together become one list get."""

    family: Family
    keys: Sequence[bytes]


Rows = list[bytes | None]
Reading = Generator[Fetch, Rows, Reply]


class View(Protocol):
    """What reads may see beside the rows they fetch: applied state only."""

    time: int  # journal time
    settled: int  # of the last applied commit: what is applied later was not written before
    position: int
    store_id: bytes
    memories: MemoryViews | None  # keywords and vectors, where there are any

    def touched(self, key: bytes, expires_at: int) -> None:
        """Say that a sliding record, or one whose reads count, was read: an event says so later, and delays nobody."""

    def found(self, fill: Fill) -> None:
        """Say how the value cache takes up what was read; it does if nothing was changed there meanwhile."""

    def walk(
        self, family: Family, start: bytes, stop: bytes, *, reverse: bool = False, keys_max: int
    ) -> list[tuple[bytes, bytes]]:
        """Return one bounded step of rows in [start, stop)."""


# Puts what a read found into the value cache; the number is the commit that was the last one applied when it began.
Fill = Callable[["ValueCache", int], object]
# Tells the value cache what an event of a commit (its number) has changed.
Follow = Callable[["ValueCache", int, Any], None]

RequestT = TypeVar("RequestT", bound=Request)


class Operation(ABC, Generic[RequestT]):
    """A checked request. The constructor refuses what is out of bounds, naming the field.

    keys: record keys it touches, for the order of replies; None where it may touch any.
    """

    __slots__ = ("keys", "request")

    keys: tuple[bytes, ...] | None

    def __init__(self, request: RequestT) -> None:
        self.request = request
        self.keys = ()


class ReadOperation(Operation[RequestT]):
    """A read."""

    __slots__ = ()

    def cached(self, reads: HotReads) -> bytes | None:
        """Return the reply's bytes if the value cache has it. On the event loop, where `read` is not."""
        return None

    @property
    def joins(self) -> bool:
        """Whether `read_together` may answer it: cheap reads that are asked for by the thousand."""
        return False

    @staticmethod
    def read_together(operations: Sequence[Any], view: View) -> list[bytes | None]:
        """Return the replies of reads of this type that join, None for those that `read` must answer."""
        return [None] * len(operations)

    @abstractmethod
    def read(self, view: View) -> Reading:
        """Yield fetches, receive rows, return the reply. May run again from the start; has no effect."""


class Stale(Exception):
    """What a write prepared is outdated by the time it is sequenced; it is prepared again."""


class WriteOperation(Operation[RequestT]):
    """A write."""

    __slots__ = ()

    @property
    def frees(self) -> bool:
        """Whether it only gives room back, so that it is accepted when the disk is nearly full."""
        return False

    @property
    def prepares(self) -> bool:
        """Whether `prepare` must run before: it needs more than facts."""
        return False

    @property
    def idle(self) -> bool:
        """Whether, once prepared, there is nothing to do: then there is no commit. For the daemon's own writes."""
        return False

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Read what `write` needs, in applied state, on a worker."""
        yield from ()
        raise AssertionError(f"{type(self).__name__} prepares nothing")

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the rows that `write` will ask for, as far as can be said from what is known."""
        assert self.keys is not None
        return self.keys

    @abstractmethod
    def write(self, draft: Draft) -> Reply:
        """Decide and emit events. Raises a RequestError to refuse, Stale to be prepared again."""


Apply = Callable[[Any, Mark, list[Write]], None]


class Description(NamedTuple):
    """One event in plain words, for watchers and inspection. data: msgpack of what was written, or None."""

    operation: str
    version: int
    data: bytes | None = None


EventFunctions = tuple[Apply, Callable[[Any], Description]]


def _nothing_more(facts: Facts, key: bytes) -> Sequence[bytes]:
    return ()


class KindSpec(NamedTuple):
    """Everything about one kind of record.

    follows: the events that change what the value cache may hold; settle_expiry: makes an expiry that has come an
    event, for records that the expiry index names; expiry_needs: the rows that takes beside the record's head; refresh:
    notes that a record was read, for those that reads say it of (`View.touched`).
    """

    kind: Kind
    head: type[Head]
    events: dict[type[Event], EventFunctions]
    follows: dict[type[Event], Follow]
    writes: dict[type[WriteRequest], type[WriteOperation[Any]]]
    reads: dict[type[Request], type[ReadOperation[Any]]]
    settle_expiry: Callable[[Draft, bytes], object] | None = None
    expiry_needs: Callable[[Facts, bytes], Sequence[bytes]] = _nothing_more
    refresh: Callable[[Draft, bytes], object] | None = None
