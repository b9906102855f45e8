"""Messages about conversations. Tags 48-63 (requests), 48-63 (replies)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from recollectd.protocol import limits
from recollectd.protocol.messages.fields import (
    ConversationId,
    Count,
    Cursor,
    MessageId,
    Metadata,
    Namespace,
    OptionalPosition,
    OptionalTime,
    PageLimit,
    Part,
    Position,
    Reply,
    Request,
    Revision,
    Time,
    Vectors,
    Write,
    nil_to_none,
)

Role = Annotated[Literal["user", "assistant"], Meta(description="who speaks")]


class ConversationCreate(Write, frozen=True, tag=48):
    """Begins a conversation. Answered by `ConversationCreated`; a known id is `ALREADY_EXISTS`."""

    namespace: Namespace
    conversation_id: Annotated[str | None, Meta(description="the caller's id, or nil for one from the daemon")] = None
    metadata: Metadata = None

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")


class ConversationCreated(Reply, frozen=True, tag=48):
    """Answers `ConversationCreate`."""

    conversation_id: ConversationId
    created_at: Time


class NewMessage(Part, frozen=True):
    """One message to append."""

    role: Role
    content: Annotated[
        str, Meta(min_length=1, description=f"not empty, at most {limits.CONTENT_BYTES_MAX} bytes of UTF-8")
    ]
    message_id: Annotated[str | None, Meta(description="the caller's id, or nil for one from the daemon")] = None
    valid_at: OptionalTime = None
    metadata: Metadata = None
    vectors: Vectors = None

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")


class ConversationAppend(Write, frozen=True, tag=49):
    """Appends messages, all or none. Answered by `MessagesStored`; the conversation must exist (`NOT_FOUND`).

    So must the vector spaces that vectors are told for. A message that is left out as a duplicate keeps the vectors it
    has.
    """

    namespace: Namespace
    conversation_id: ConversationId
    messages: Annotated[tuple[NewMessage, ...], Meta(description="at least one")]
    skip_duplicates: Annotated[
        bool, Meta(description="leave out messages whose id is known, instead of `ALREADY_EXISTS`")
    ] = False


class MessageStored(Part, frozen=True):
    """Where one message came to lie."""

    message_id: MessageId
    role: Role
    stored_at: Time
    position: Position
    duplicate: Annotated[bool, Meta(description="true: the id was known; nothing was written")] = False


class MessagesStored(Reply, frozen=True, tag=49):
    """Answers `ConversationAppend`, in the order sent."""

    conversation_id: ConversationId
    messages: Annotated[tuple[MessageStored, ...], Meta(description="one for each message sent")]


class ConversationHistory(Request, frozen=True, tag=50):
    """Reads messages in order. Answered by `History`; the conversation must exist (`NOT_FOUND`).

    At most one of last, before, after, before_id and after_id. before: the `limit` messages that lie before the
    position; after: those that lie behind it; before_id and after_id the same by message id; last: the newest so
    many (at most `limit`); none: from the first.
    """

    namespace: Namespace
    conversation_id: ConversationId
    last: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="the newest so many")] = None
    before: OptionalPosition = None
    after: OptionalPosition = None
    before_id: Annotated[str | None, Meta(description="a message id, or nil")] = None
    after_id: Annotated[str | None, Meta(description="a message id, or nil")] = None
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT


class Message(Part, frozen=True):
    """One message of a conversation."""

    message_id: MessageId
    role: Role
    content: Annotated[str, Meta(description="what was said")]
    timestamp: Time
    position: Position
    valid_at: OptionalTime = None
    metadata: Metadata = None

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")


class History(Reply, frozen=True, tag=50):
    """Answers `ConversationHistory`. Ends early after `page_bytes_max` bytes; for before and last it begins late."""

    conversation_id: ConversationId
    messages: Annotated[tuple[Message, ...], Meta(description="in the order of their positions")]
    total_messages: Count
    revision: Revision


class ConversationList(Request, frozen=True, tag=51):
    """Walks a namespace's conversations, the last used first (to the second). Answered by `ConversationPage`."""

    namespace: Namespace
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Cursor = b""


class ConversationInfo(Reply, frozen=True, tag=51):
    """What a conversation's head says."""

    conversation_id: ConversationId
    created_at: Time
    last_used_at: Time
    total_messages: Count
    metadata: Metadata
    revision: Revision

    def __post_init__(self) -> None:
        nil_to_none(self, "metadata")


class ConversationPage(Reply, frozen=True, tag=52):
    """Answers `ConversationList`."""

    conversations: Annotated[tuple[ConversationInfo, ...], Meta(description="the last used first")]
    cursor: Cursor


class ConversationHead(Request, frozen=True, tag=52):
    """Asks for one conversation's times and size. Answered by `ConversationInfo` or `Absent`."""

    namespace: Namespace
    conversation_id: ConversationId


class ConversationDelete(Write, frozen=True, tag=53):
    """Deletes a conversation and its messages. Answered by `Deleted`."""

    namespace: Namespace
    conversation_id: ConversationId


class ConversationVectors(Request, frozen=True, tag=54):
    """Reads the vectors of messages. Answered by `MessageVectors`; the conversation must exist (`NOT_FOUND`)."""

    namespace: Namespace
    conversation_id: ConversationId
    first: Annotated[int, Meta(ge=0, description="position of the first message to look at")] = 0
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_ITEMS_MAX, description="how many messages to look at, at most")] = (
        limits.PAGE_ITEMS_DEFAULT
    )


class VectorsOfMessage(Part, frozen=True):
    """The vectors of one message."""

    position: Position
    message_id: MessageId
    vectors: Vectors


class MessageVectors(Reply, frozen=True, tag=54):
    """Answers `ConversationVectors`. Ends early after `page_bytes_max` bytes."""

    messages: Annotated[
        tuple[VectorsOfMessage, ...], Meta(description="those that have vectors, in the order of their positions")
    ]
    next: Annotated[int, Meta(ge=0, description="the first position that was not looked at")]
