"""What the model keeps of each record, and one commit in the making."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from msgspec import Raw, Struct

from recollectd.protocol import errors
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.fields import Message, Reply

Key = tuple[int, tuple[str, ...], str]


class Span(NamedTuple):
    """A time that is known only to lie within these bounds, in microseconds."""

    earliest: int
    latest: int


Timed = int | Span


class Perhaps(NamedTuple):
    """No time, or one that is not before another, in microseconds."""

    earliest: int


class Version(NamedTuple):
    """One version of a state record; value None: deleted or expired."""

    version: int
    value: bytes | None
    updated_at: Timed
    expires_at: int | None


class State(NamedTuple):
    """A state record, also after its deletion. versions: those kept, oldest first."""

    versions: tuple[Version, ...]
    created_at: int
    expires_at: int | None
    sliding: bool
    revision: int

    @property
    def newest(self) -> Version:
        """The newest version."""
        return self.versions[-1]

    def alive(self, time: int) -> bool:
        """Whether the record is there at a time."""
        return self.newest.value is not None and (self.expires_at is None or time < self.expires_at)

    def revision_at(self, time: int) -> int:
        """The revision a reader is told: 0 where there is no record."""
        return self.revision if self.alive(time) else 0


class Entry(NamedTuple):
    """One item of a log (value: bytes of msgpack) or one message of a conversation (value: its fields)."""

    stored_at: int
    value: Any


class Log(NamedTuple):
    """A log: the items from position `first` on."""

    first: int
    items: tuple[Entry, ...]
    created_at: int
    updated_at: Timed
    revision: int

    @property
    def next(self) -> int:
        """The position the next item gets."""
        return self.first + len(self.items)

    def revision_at(self, time: int) -> int:
        """The revision a reader is told."""
        return self.revision


class Conversation(NamedTuple):
    """A conversation; value of an entry: (message_id, role, content, valid_at, metadata).

    incarnation: the commit that made it.
    """

    items: tuple[Entry, ...]
    created_at: int
    updated_at: int
    metadata: bytes | None
    revision: int
    incarnation: int

    def revision_at(self, time: int) -> int:
        """The revision a reader is told."""
        return self.revision


class Vector(NamedTuple):
    """A vector of a memory or a message. incarnation: the commit that made its space; it is gone with that."""

    incarnation: int
    components: bytes


class MessageVectors(NamedTuple):
    """The vectors of a conversation's messages, by position and the space's own name; those of dropped spaces too."""

    by_position: Mapping[int, Mapping[str, Vector]]
    revision: int

    def revision_at(self, time: int) -> int:
        """The revision; nobody is told it."""
        return self.revision


class Memory(NamedTuple):
    """A memory, also after its deletion (text None). noted: when it began to say its text, by commit and place.

    vectors: by the space's own name, those of dropped spaces too.
    """

    text: str | None
    version: int
    created_at: int
    updated_at: Timed
    revision: int
    noted: tuple[int, int]
    forgotten_at: Timed | None = None
    superseded_at: Timed | None = None
    superseded_by: str | None = None
    vectors: dict[str, Vector] = {}  # noqa: RUF012  # never changed in place

    @property
    def hidden(self) -> bool:
        """Whether it is forgotten or superseded."""
        return self.forgotten_at is not None or self.superseded_at is not None

    def revision_at(self, time: int) -> int:
        """The revision a reader is told: 0 where there is no memory."""
        return 0 if self.text is None else self.revision


class Space(NamedTuple):
    """A vector space, or an alias of one. revision: the commit that made it."""

    dimensions: int
    created_at: Timed
    revision: int
    alias_of: str = ""

    def revision_at(self, time: int) -> int:
        """The revision a reader is told."""
        return self.revision


class Settings(NamedTuple):
    """How a namespace is searched. counted: whether accesses ever were counted there."""

    language: str
    stemming: bool
    stop_words: bool
    messages: bool
    accesses: bool
    revision: int
    counted: bool = False

    def revision_at(self, time: int) -> int:
        """The revision a reader is told."""
        return self.revision


Record = State | Log | Conversation | MessageVectors | Memory | Space | Settings


class Refused(Exception):
    """The operation is refused; field "" compares with any field."""

    def __init__(self, error: type[errors.RecollectdError], field: str = "") -> None:
        super().__init__(error.row.name)
        self.error = error
        self.field = field

    @property
    def reply(self) -> ErrorReply:
        """What the daemon answers; the text is its own."""
        return ErrorReply(self.error.row.code, "", self.field)


class Context:
    """One commit in the making: changes lie over the records until they are joined.

    time: the moment tried for this commit; stamp: what is known of it, for what is stored; places: where each cursor of
    a delete by prefix stands; changed: the last commit that changed anything in a kind and namespace.
    """

    def __init__(
        self,
        records: Mapping[Key, Record],
        seq: int,
        time: int,
        stamp: Timed,
        history_count: Callable[[tuple[str, ...]], int],
        places: dict[bytes, str],
        changed: Mapping[tuple[int, tuple[str, ...]], int],
    ) -> None:
        self._records = records
        self.seq = seq
        self.time = time
        self.stamp = stamp
        self.history_count = history_count
        self.places = places
        self._changed = changed
        self.changes: dict[Key, Record | None] = {}

    def get(self, key: Key) -> Record | None:
        """Return the record as this commit has left it so far."""
        return self.changes[key] if key in self.changes else self._records.get(key)

    def put(self, key: Key, record: Record | None) -> None:
        """Say what the record will be; None: gone without a trace."""
        self.changes[key] = record

    def changed_since(self, kind: int, namespace: tuple[str, ...], position: int) -> bool:
        """Return whether a record of a kind in a namespace changed behind a position, by this commit too."""
        here = any(key[:2] == (kind, namespace) for key in self.changes)
        return here or self._changed.get((kind, namespace), 0) > position

    def everything(self) -> set[Key]:
        """Return the keys of all records there are."""
        return ({*self._records} | {*self.changes}) - {key for key, record in self.changes.items() if record is None}

    def part(self) -> Context:
        """Return a commit within this one, that may be dropped on its own."""
        below = {**self._records, **{key: record for key, record in self.changes.items() if record is not None}}
        for key, record in self.changes.items():
            if record is None:
                below.pop(key, None)
        return Context(below, self.seq, self.time, self.stamp, self.history_count, self.places, self._changed)


Operations = dict[type[Message], Callable[[Context, Any, object], Reply]]


def commit(records: MutableMapping[Key, Record], changes: Mapping[Key, Record | None]) -> None:
    """Make changes lasting."""
    for key, record in changes.items():
        if record is None:
            records.pop(key, None)
        else:
            records[key] = record


def difference(expected: object, actual: object, where: str = "") -> str:
    """Return "" if what was answered is what was expected, else the first place where it is not, in words."""
    if isinstance(expected, Span):
        inside = isinstance(actual, int) and expected.earliest <= actual <= expected.latest
        return "" if inside else f"{where}: {actual} is not within {expected}"
    if isinstance(expected, Perhaps):
        later = actual is None or (isinstance(actual, int) and actual >= expected.earliest)
        return "" if later else f"{where}: {actual} is not {expected}"
    if isinstance(expected, ErrorReply) and isinstance(actual, ErrorReply):
        same = expected.code == actual.code and expected.field in ("", actual.field)
        return "" if same else f"{where}: expected {_error(expected)}, got {_error(actual)}"
    if isinstance(expected, Struct):
        if type(expected) is not type(actual):
            return f"{where or 'reply'}: expected {expected!r:.300}, got {actual!r:.300}"
        fields = ((f"{where}.{name}", name) for name in expected.__struct_fields__)
        found = (difference(getattr(expected, name), getattr(actual, name), path) for path, name in fields)
        return next((text for text in found if text), "")
    if isinstance(expected, tuple) and isinstance(actual, tuple):
        if len(expected) != len(actual):
            return f"{where}: expected {len(expected)} elements, got {len(actual)}"
        pairs = enumerate(zip(expected, actual, strict=True))
        return next((text for index, pair in pairs if (text := difference(*pair, f"{where}[{index}]"))), "")
    if isinstance(expected, bytes) and isinstance(actual, Raw):
        actual = bytes(actual)
    return "" if expected == actual else f"{where}: expected {expected!r:.300}, got {actual!r:.300}"


def _error(reply: ErrorReply) -> str:
    known = errors.ERROR_BY_CODE.get(reply.code)
    return f"{known.row.name if known else reply.code} ({reply.field or 'no field'})"
