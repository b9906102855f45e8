"""Messages that carry several operations, and watches. Tags 64-95 (requests), 64-95 (replies)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from recollectd.protocol import limits
from recollectd.protocol.messages.connection import Deleted, Done, ErrorReply, NamespaceConfigure
from recollectd.protocol.messages.conversations import (
    ConversationAppend,
    ConversationCreate,
    ConversationCreated,
    ConversationDelete,
    MessagesStored,
)
from recollectd.protocol.messages.fields import JournalPosition, Kind, Message, Namespace, Reply, Revision, Time, Write
from recollectd.protocol.messages.logs import (
    LogAppend,
    LogAppended,
    LogDelete,
    LogInfo,
    LogTruncate,
)
from recollectd.protocol.messages.memories import (
    MemoriesStored,
    MemoryAdd,
    MemoryDelete,
    MemoryForget,
    MemoryMarked,
    MemoryReplace,
    MemorySupersede,
)
from recollectd.protocol.messages.search_settings import SearchConfigure, SearchSettings
from recollectd.protocol.messages.state import (
    StateDelete,
    StatePut,
    StatePutMany,
    StateStored,
    StateStoredMany,
    StateTouch,
    StateTouched,
)
from recollectd.protocol.messages.vector_spaces import SpaceAlias, SpaceCreate, SpaceDrop

KINDS = ", ".join(f"{kind.value} {kind.name.lower()}" for kind in Kind)
KindField = Annotated[int, Meta(description=f"the kind of record: {KINDS}")]


class RecordGuard(Message, frozen=True, tag=1):
    """Holds if the record's last change is the one that was read."""

    kind: KindField
    namespace: Namespace
    key: Annotated[str, Meta(description="the record's key or id")]
    revision: Revision


class RangeGuard(Message, frozen=True, tag=2):
    """Holds if nothing of this kind in this namespace has changed or expired since it was read."""

    kind: KindField
    namespace: Namespace
    position: Annotated[int, Meta(ge=0, description="the reply's position of the earliest read of the range")]
    valid_until: Annotated[int, Meta(ge=0, description="the earliest expiry among what was seen")] = limits.TIME_US_MAX


Guard = RecordGuard | RangeGuard

Operation = (
    StatePut
    | StateDelete
    | StatePutMany
    | StateTouch
    | LogAppend
    | LogTruncate
    | LogDelete
    | ConversationCreate
    | ConversationAppend
    | ConversationDelete
    | NamespaceConfigure
    | MemoryAdd
    | MemoryReplace
    | MemoryForget
    | MemorySupersede
    | MemoryDelete
    | SpaceCreate
    | SpaceDrop
    | SpaceAlias
    | SearchConfigure
)

OperationReply = (
    StateStored
    | StateStoredMany
    | StateTouched
    | LogAppended
    | LogInfo
    | ConversationCreated
    | MessagesStored
    | MemoriesStored
    | MemoryMarked
    | SearchSettings
    | Deleted
    | Done
    | ErrorReply
)

OPERATIONS_ALLOWED = f"up to {limits.OPERATIONS_PER_FRAME_MAX} writes, each with its tag"


class Transaction(Write, frozen=True, tag=64):
    """Carries out all operations in order if all guards hold, or none. Answered by `Results`.

    Serializable. A guard that does not hold is `TRANSACTION_CONFLICT`; an operation that is refused refuses all, with
    `operations[i]` in front of the field. All namespaces share their first labels (`CROSS_SHARD`).
    """

    guards: Annotated[tuple[Guard, ...], Meta(description="what was read and must still hold")]
    operations: Annotated[tuple[Operation, ...], Meta(description=OPERATIONS_ALLOWED)]


class Results(Reply, frozen=True, tag=64):
    """Answers `Transaction` and `Batch`: one reply for each operation, in order."""

    results: Annotated[tuple[OperationReply, ...], Meta(description="one for each operation")]


class Batch(Write, frozen=True, tag=65):
    """Carries out operations in order, each on its own: one that is refused does not stop the others.

    What is carried out becomes durable in one commit. Answered by `Results`, `ErrorReply` for what was refused.
    """

    operations: Annotated[tuple[Operation, ...], Meta(description=OPERATIONS_ALLOWED)]


class Watch(Message, frozen=True, tag=80):
    """Asks to be told of changes, from behind a journal position on. Answered by `Watching`, then `Changes`.

    All answers carry this request's id until `Unwatch` or the connection's end. `RESYNC` ends it: the position is
    trimmed, or the watcher did not keep up.
    """

    namespace: Annotated[tuple[str, ...], Meta(description="changes in this namespace and all below it")]
    prefix: Annotated[str, Meta(description="only keys and ids beginning with this")] = ""
    kinds: Annotated[tuple[int, ...], Meta(description="only these kinds; empty: all")] = ()
    position: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="tell of everything behind this position; nil: from now on")
    ] = None
    values: Annotated[bool, Meta(description="send values of state, items of logs and messages along")] = False


class Watching(Reply, frozen=True, tag=80):
    """The watch is in place: everything behind this position will be told."""

    position: JournalPosition


class Change(Message, frozen=True, tag=1):
    """One record changed."""

    position: JournalPosition
    kind: KindField
    operation: Annotated[str, Meta(description="put, delete, expire, touch, append, truncate, create, or configure")]
    namespace: Namespace
    key: Annotated[str, Meta(description="the record's key or id")]
    time: Time
    version: Annotated[int, Meta(description="state: the version; logs and conversations: the next position")]
    data: Annotated[
        bytes | None,
        Meta(description="msgpack: a state's value, or an array of a log's items or a conversation's messages"),
    ] = None


class Changes(Reply, frozen=True, tag=81):
    """Changes, in journal order. Everything up to `position` has been told."""

    changes: Annotated[tuple[Change, ...], Meta(description="in the order of their positions")]
    position: JournalPosition


class Unwatch(Message, frozen=True, tag=81):
    """Ends a watch. Answered by `Done`; changes already on their way may still arrive."""

    request_id: Annotated[int, Meta(ge=0, description="the request id of the watch")]
